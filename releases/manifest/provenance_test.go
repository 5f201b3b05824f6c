package manifest_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"gimletd/releases"
	"gimletd/releases/manifest"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// signer is somebody who signs charts with helm.
type signer struct {
	name   string
	secret string // file of the private key
	public string // file of the public key, as gpg --export writes it
}

func newSigner(t *testing.T, name string) signer {
	t.Helper()
	entity, err := openpgp.NewEntity(name, "", name+"@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := signer{name: name, secret: filepath.Join(t.TempDir(), "secret.gpg"), public: filepath.Join(t.TempDir(), "public.gpg")}
	var secret, public bytes.Buffer
	if err := entity.SerializePrivate(&secret, nil); err != nil {
		t.Fatal(err)
	}
	if err := entity.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	for file, key := range map[string][]byte{s.secret: secret.Bytes(), s.public: public.Bytes()} {
		if err := os.WriteFile(file, key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// packaged has helm package a version of a chart into the folder; signed when there is somebody who does.
func packaged(t *testing.T, binary, chart, dir, version string, by *signer) {
	t.Helper()
	args := []string{"package", chart, "--version", version, "--destination", dir}
	if by != nil {
		args = append(args, "--sign", "--key", by.name, "--keyring", by.secret)
	}
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		t.Fatalf("helm %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func edit(t *testing.T, file string, change func(text string) string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOnlySignedChartsAreTaken has helm sign charts, and somebody change what it has signed.
func TestOnlySignedChartsAreTaken(t *testing.T) {
	binary := helm(t)
	ours, stranger := newSigner(t, "releases"), newSigner(t, "stranger")
	dir := t.TempDir()
	for _, version := range []string{"1.0.0", "1.3.0", "1.4.0", "1.6.0+b1"} {
		packaged(t, binary, "testdata/charts/web", dir, version, &ours)
	}
	packaged(t, binary, "testdata/charts/web", dir, "1.1.0", &stranger)
	packaged(t, binary, "testdata/charts/web", dir, "1.2.0", nil)
	at := func(name string) string { return filepath.Join(dir, name) }
	// 1.3.0 comes with the signature of 1.0.0, and 1.4.0 with one that says something else.
	edit(t, at("web-1.3.0.tgz.prov"), func(string) string {
		text, err := os.ReadFile(at("web-1.0.0.tgz.prov"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	})
	edit(t, at("web-1.4.0.tgz.prov"), func(text string) string { return strings.Replace(text, "name: web", "name: wab", 1) })
	// 1.5.0 is 1.0.0 by another name, with its good signature.
	for _, ext := range []string{".tgz", ".tgz.prov"} {
		text, err := os.ReadFile(at("web-1.0.0" + ext))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at("web-1.5.0"+ext), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(binary, "repo", "index", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	edit(t, at("index.yaml"), func(text string) string {
		text = strings.Replace(text, "web-1.6.0+b1.tgz", "web-1.6.0%2Bb1.tgz", 1)
		return strings.Replace(text, "    urls:\n    - web-1.5.0.tgz\n    version: 1.0.0\n", "    urls:\n    - web-1.5.0.tgz\n    version: 1.5.0\n", 1)
	})
	var down atomic.Bool
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down.Load():
			http.Error(w, "down", http.StatusBadGateway)
		case r.URL.Path == "/web-1.2.0.tgz.prov": // as some stores of objects say that there is none
			http.Error(w, "AccessDenied", http.StatusForbidden)
		case strings.Contains(r.RequestURI, "+"): // which means a blank there
			http.NotFound(w, r)
		default:
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)

	registry := newOCIRegistry(t)
	registry.push(t, "web", "1.2.0")
	registry.pushFile(t, at("web-1.0.0.tgz"))
	registry.pushFile(t, at("web-1.1.0.tgz"))
	oci := "oci://" + registry.host + "/acme/charts"
	// A chart that is signed is called by another one's name, by a tag; and one is called latest that may be.
	admin := filepath.Join(t.TempDir(), "web-admin")
	if err := os.CopyFS(admin, os.DirFS("testdata/charts/web")); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(admin, "Chart.yaml"), func(text string) string { return strings.Replace(text, "name: web\n", "name: web-admin\n", 1) })
	packaged(t, binary, admin, dir, "0.1.0", &ours)
	registry.pushFile(t, at("web-admin-0.1.0.tgz"))
	registry.tag(t, "web-admin", "0.1.0", "web", "stolen")
	registry.tag(t, "web", "1.0.0", "web", "latest")

	sources := func(keyring string) []manifest.Source {
		return []manifest.Source{{URL: server.URL, Keyring: keyring}, {URL: oci, Username: "ci", Password: "hush", Keyring: keyring}, {URL: "file://" + dir, Keyring: keyring}}
	}
	cache := t.TempDir()
	r := rendererIn(t, cache, sources(ours.public)...)
	render := func(r *manifest.Renderer, repository, version string) error {
		_, err := r.Render(t.Context(), target(), releases.Manifest{Chart: releases.Chart{Repository: repository, Name: "web", Version: version}}, nil)
		return err
	}
	for _, c := range []struct{ version, says string }{
		{"1.0.0", ""},
		{"1.1.0", "openpgp: signature made by unknown entity"},
		{"1.2.0", "it is not signed"},
		{"1.3.0", "its signature is that of web-1.0.0.tgz"},
		{"1.4.0", "openpgp: invalid signature"},
		{"1.5.0", "its signature is that of web-1.0.0.tgz"},
		{"1.6.0+b1", ""},
		{"~1.1.0", "openpgp: signature made by unknown entity"},
		{"~1.0.0", ""},
	} {
		repositories := []string{server.URL, oci, "file://" + dir}
		if c.version > "1.2.0" { // these are there only
			repositories = repositories[:1]
		}
		for _, repository := range repositories {
			if strings.HasPrefix(c.version, "~") && strings.HasPrefix(repository, "file:") {
				continue // a folder has no index
			}
			err := render(r, repository, c.version)
			if c.says == "" && err != nil {
				t.Errorf("%s of %s: %v", c.version, repository, err)
			}
			if c.says != "" && (releases.KindOf(err) != releases.Invalid || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "is refused")) {
				t.Errorf("%s of %s: %v, not %s", c.version, repository, err, c.says)
			}
		}
	}
	for tag, says := range map[string]string{"stolen": "its signature is that of web-admin-0.1.0.tgz", "latest": ""} {
		err := render(r, oci, tag)
		if (says == "" && err != nil) || (says != "" && (err == nil || !strings.Contains(err.Error(), says))) {
			t.Errorf("%s: %v", tag, err)
		}
	}
	// What was proven needs no network; who is no longer trusted is not, whatever is kept.
	down.Store(true)
	registry.down.Store(true)
	for _, repository := range []string{server.URL, oci} {
		if err := render(r, repository, "1.0.0"); err != nil {
			t.Errorf("what is kept of %s: %v", repository, err)
		}
	}
	down.Store(false)
	registry.down.Store(false)
	other := rendererIn(t, cache, sources(stranger.public)...)
	for _, repository := range []string{server.URL, oci} {
		if err := render(other, repository, "1.0.0"); releases.KindOf(err) != releases.Invalid {
			t.Errorf("a key that was taken away, of %s: %v", repository, err)
		}
	}
	// Without a keyring nobody asks.
	if err := render(rendererIn(t, cache, sources("")...), server.URL, "1.2.0"); err != nil {
		t.Error(err)
	}
}
