package gitops_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gimletd/releases"
	"gimletd/releases/gitops"
	"gimletd/releases/gitops/gittest"

	"github.com/google/go-cmp/cmp"
)

// remote is one place where a GitOps repository can be.
type remote struct {
	dir    string // the bare repository itself
	config gitops.Config
}

// remotes makes a repository with the files behind each kind of remote.
func remotes(t *testing.T, files map[string]string) map[string]remote {
	t.Helper()
	cache := func() string { return filepath.Join(t.TempDir(), "clone.git") }
	server := gittest.Serve(t)
	overHTTP := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, overHTTP, files)
	ssh := gittest.ServeSSH(t)
	overSSH := filepath.Join(ssh.Root, "gitops.git")
	gittest.Bare(t, overSSH, files)
	here := filepath.Join(t.TempDir(), "gitops.git")
	gittest.Bare(t, here, files)
	return map[string]remote{
		"http":  {overHTTP, gitops.Config{URL: server.URL + "/gitops.git", Cache: cache()}},
		"ssh":   {overSSH, gitops.Config{URL: ssh.URL + "/gitops.git", Cache: cache(), Auth: gitops.AuthConfig{SSHKeyFile: ssh.KeyFile, KnownHostsFile: ssh.KnownHosts}}},
		"local": {here, gitops.Config{URL: here}},
	}
}

func open(tb testing.TB, c gitops.Config) *gitops.Repository {
	tb.Helper()
	c = c.WithDefaults("main", tb.TempDir())
	if err := c.Validate(); err != nil {
		tb.Fatal(err)
	}
	r, err := gitops.New("main", c, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

// draft is a release of an app whose one file has the content.
func draft(id, folder, base, content string) releases.Draft {
	return releases.Draft{
		ReleaseID: id, Folder: folder, BaseTree: base,
		Files:   []releases.File{{Path: "app.yaml", Content: []byte(content)}, {Path: "release.json", Content: []byte("{}\n")}},
		Message: "Release " + folder + "\n\nRelease-Id: " + id + "\n",
		Author:  releases.Person{Name: "Ada", Email: "ada@example.com"},
		At:      time.Unix(1_800_000_000, 0),
	}
}

func publish(tb testing.TB, r *gitops.Repository, drafts ...releases.Draft) []releases.Result {
	tb.Helper()
	results, err := r.Publish(tb.Context(), drafts)
	if err != nil {
		tb.Fatal(err)
	}
	return results
}

func read(tb testing.TB, r *gitops.Repository, folder string) releases.Folder {
	tb.Helper()
	f, err := r.Read(tb.Context(), folder)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestPublishWritesOneCommitThatTouchesOnlyItsFolder(t *testing.T) {
	start := map[string]string{"README.md": "hello", "staging/other/app.yaml": "other", "staging/web/old.yaml": "stale", "staging/web/app.yaml": "v1"}
	for name, remote := range remotes(t, start) {
		t.Run(name, func(t *testing.T) {
			r := open(t, remote.config)
			base := read(t, r, "staging/web")
			if len(base.Files) != 2 || string(base.Files[0].Content) != "v1" {
				t.Fatalf("read %+v", base)
			}
			got := publish(t, r, draft("r-1", "staging/web", base.Tree, "v2"))[0]
			if got.Written != releases.Committed {
				t.Fatalf("got %+v", got)
			}
			gittest.Git(t, remote.dir, "fsck", "--strict")
			files := gittest.Git(t, remote.dir, "ls-tree", "-r", "--name-only", "main")
			if diff := cmp.Diff("README.md\nstaging/other/app.yaml\nstaging/web/app.yaml\nstaging/web/release.json", files); diff != "" {
				t.Error(diff)
			}
			for path, want := range map[string]string{"README.md": "hello", "staging/other/app.yaml": "other", "staging/web/app.yaml": "v2"} {
				if text := gittest.Git(t, remote.dir, "show", "main:"+path); text != want {
					t.Errorf("%s is %q, want %q", path, text, want)
				}
			}
			if head := gittest.Git(t, remote.dir, "rev-parse", "main"); head != got.Commit {
				t.Errorf("main is %s, the result says %s", head, got.Commit)
			}
			if tree := gittest.Git(t, remote.dir, "rev-parse", "main:staging/web"); tree != got.Tree {
				t.Errorf("the folder's tree is %s, the result says %s", tree, got.Tree)
			}
			who := gittest.Git(t, remote.dir, "log", "-1", "--format=%an <%ae> %cn <%ce> %(trailers:key=Release-Id,valueonly)", "main")
			if strings.TrimSpace(who) != "Ada <ada@example.com> GimletD <gimletd@localhost> r-1" {
				t.Errorf("commit is by %s", who)
			}
			if count := gittest.Git(t, remote.dir, "rev-list", "--count", "main"); count != "2" {
				t.Errorf("%s commits, want 2", count)
			}
		})
	}
}

func TestPublishIntoAnEmptyRepositoryMakesItsFirstCommit(t *testing.T) {
	for name, remote := range remotes(t, nil) {
		t.Run(name, func(t *testing.T) {
			r := open(t, remote.config)
			publish(t, r, draft("r-1", "production/web", "", "v1"), draft("r-2", "production/api", "", "v1"))
			if n := gittest.Git(t, remote.dir, "rev-list", "--count", "main"); n != "2" {
				t.Errorf("%s commits, want 2", n)
			}
			if again := read(t, open(t, remote.config), "production/api"); len(again.Files) != 2 {
				t.Errorf("read %+v", again)
			}
		})
	}
}

func TestPublishOfTheSameFilesMakesNoCommit(t *testing.T) {
	for name, remote := range remotes(t, map[string]string{"a": "a"}) {
		t.Run(name, func(t *testing.T) {
			r := open(t, remote.config)
			first := publish(t, r, draft("r-1", "staging/web", "", "v1"))[0]
			second := publish(t, r, draft("r-2", "staging/web", first.Tree, "v1"))[0]
			if second.Written != releases.NothingToDo {
				t.Errorf("got %+v", second)
			}
			if head := gittest.Git(t, remote.dir, "rev-parse", "main"); head != first.Commit {
				t.Error("there is another commit")
			}
		})
	}
}

func TestPublishRefusesAFolderThatMoved(t *testing.T) {
	for name, remote := range remotes(t, map[string]string{"staging/web/app.yaml": "v1"}) {
		t.Run(name, func(t *testing.T) {
			r := open(t, remote.config)
			base := read(t, r, "staging/web")
			work := gittest.Clone(t, remote.dir)
			commitFile(t, work, "staging/web/app.yaml", "edited by hand")
			results := publish(t, r, draft("r-1", "staging/web", base.Tree, "v2"), draft("r-2", "staging/api", "", "v1"))
			if results[0].Written != releases.BaseMoved || results[1].Written != releases.Committed {
				t.Errorf("got %+v", results)
			}
			if text := gittest.Git(t, remote.dir, "show", "main:staging/web/app.yaml"); text != "edited by hand" {
				t.Errorf("the edit was overwritten: %q", text)
			}
		})
	}
}

func commitFile(tb testing.TB, work, path, content string) {
	tb.Helper()
	full := filepath.Join(work, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	gittest.Git(tb, work, "add", "-A")
	gittest.Git(tb, work, "commit", "--quiet", "-m", "by hand")
	gittest.Git(tb, work, "push", "--quiet", "origin", "HEAD:main")
}

func TestPublishBuildsAgainOnAHeadThatMovedElsewhere(t *testing.T) {
	for name, remote := range remotes(t, map[string]string{"staging/web/app.yaml": "v1"}) {
		t.Run(name, func(t *testing.T) {
			r := open(t, remote.config)
			base := read(t, r, "staging/web")
			work := gittest.Clone(t, remote.dir)
			for round := range 3 {
				commitFile(t, work, "staging/other/app.yaml", fmt.Sprint(round))
				got := publish(t, r, draft(fmt.Sprint("r-", round), "staging/web", base.Tree, fmt.Sprint("v", round+2)))[0]
				if got.Written != releases.Committed {
					t.Fatalf("round %d: %+v", round, got)
				}
				base.Tree = got.Tree
				gittest.Git(t, work, "pull", "--quiet", "--rebase")
			}
			if n := gittest.Git(t, remote.dir, "rev-list", "--count", "main"); n != "7" {
				t.Errorf("%s commits, want 7", n)
			}
			gittest.Git(t, remote.dir, "fsck", "--strict")
		})
	}
}

func TestABatchLeavesInOnePushWithACommitEach(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, bigEnvironment(3000))
	r := open(t, gitops.Config{URL: server.URL + "/gitops.git"})
	var drafts []releases.Draft
	for i := range 120 { // more than git unpacks: it keeps the pack, deltas and all
		app := fmt.Sprintf("staging/app-%05d", i*7)
		drafts = append(drafts, draft(fmt.Sprint("r-", i), app, read(t, r, app).Tree, fmt.Sprint("new ", i)))
	}
	before := server.Requests()
	for i, result := range publish(t, r, drafts...) {
		if result.Written != releases.Committed {
			t.Fatalf("draft %d: %+v", i, result)
		}
	}
	if n := server.Requests() - before; n != 1 {
		t.Errorf("%d requests, want one push", n)
	}
	if n := gittest.Git(t, dir, "rev-list", "--count", "main"); n != "121" {
		t.Errorf("%s commits, want 121", n)
	}
	gittest.Git(t, dir, "fsck", "--strict")
	if text := gittest.Git(t, dir, "show", "main:staging/app-00833/app.yaml"); text != "new 119" {
		t.Errorf("last app holds %q", text)
	}
	// What was pushed is what a copy made from memory and one made from the remote both hold.
	for _, again := range []*gitops.Repository{r, open(t, gitops.Config{URL: server.URL + "/gitops.git"})} {
		if f := read(t, again, "staging/app-00007"); string(f.Files[0].Content) != "new 1" {
			t.Errorf("read %q", f.Files[0].Content)
		}
	}
}

// bigEnvironment is an environment folder with n apps.
func bigEnvironment(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("staging/app-%05d/app.yaml", i)] = fmt.Sprintf("replicas: %d", i)
	}
	return files
}

func TestAPushSendsLittleMoreThanTheChangedFiles(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, bigEnvironment(5000))
	r := open(t, gitops.Config{URL: server.URL + "/gitops.git"})
	base := read(t, r, "staging/app-02500")
	before := server.Received()
	publish(t, r, draft("r-1", "staging/app-02500", base.Tree, "small"))
	if sent := server.Received() - before; sent > 5<<10 {
		t.Errorf("sent %d bytes for a file of 5", sent)
	}
}

func TestAFullPackGoesOutWhenTheRemoteCannotResolveAThinOne(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, bigEnvironment(200))
	r := open(t, gitops.Config{URL: server.URL + "/gitops.git"})
	base := read(t, r, "staging/app-00001")
	var pushes atomic.Int64
	server.Before(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, "/git-receive-pack") {
			return false
		}
		pushes.Add(1)
		body, _ := io.ReadAll(req.Body)
		_, thin := findDelta(body)
		if thin {
			w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
			inner := fmt.Sprintf("%04xunpack unresolved deltas left\n", len("unpack unresolved deltas left\n")+4) +
				fmt.Sprintf("%04xng refs/heads/main unpacker error\n", len("ng refs/heads/main unpacker error\n")+4) + "0000"
			fmt.Fprintf(w, "%04x\x01%s0000", len(inner)+5, inner)
			return true
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		return false
	})
	got := publish(t, r, draft("r-1", "staging/app-00001", base.Tree, "v2"))[0]
	if got.Written != releases.Committed || pushes.Load() != 2 {
		t.Errorf("got %+v after %d pushes, want two", got, pushes.Load())
	}
	gittest.Git(t, dir, "fsck", "--strict")
}

// findDelta walks the pack in a push's body and reports whether it holds a REF_DELTA.
func findDelta(body []byte) (int, bool) {
	start := bytes.Index(body, []byte("PACK"))
	if start < 0 {
		return 0, false
	}
	count := int(body[start+11])
	at := start + 12
	for range count {
		kind := body[at] >> 4 & 7
		for body[at]&0x80 != 0 {
			at++
		}
		at++
		if kind == 7 {
			return at, true
		}
		n := zlibLength(body[at:])
		at += n
	}
	return at, false
}

func TestARefusalOfAHookIsToldInItsWords(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, map[string]string{"a": "a"})
	gittest.Hook(t, dir, "pre-receive", "echo 'main is protected, ask ops' >&2; exit 1\n")
	r := open(t, gitops.Config{URL: server.URL + "/gitops.git"})
	_, err := r.Publish(t.Context(), []releases.Draft{draft("r-1", "staging/web", "", "v1")})
	if releases.KindOf(err) != releases.Conflict || !strings.Contains(err.Error(), "main is protected, ask ops") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "hooks", "pre-receive")); err != nil {
		t.Fatal(err)
	}
	publish(t, r, draft("r-1", "staging/web", "", "v1"))
}

func TestARemoteThatMovesOnAtEveryPushIsFollowed(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, map[string]string{"a": "a"})
	r := open(t, gitops.Config{URL: server.URL + "/gitops.git"})
	rivals := 6
	n := 0
	server.Before(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "/git-receive-pack") && n < rivals {
			n++
			gittest.FastImport(t, dir, fmt.Sprintf("commit refs/heads/main\ncommitter R <r@x> 1700000%03d +0000\ndata 1\nx\nfrom refs/heads/main^0\nM 100644 inline rival\ndata 7\n%07d\n", n%1000, n))
		}
		return false
	})
	if got := publish(t, r, draft("r-1", "staging/web", "", "v1"))[0]; got.Written != releases.Committed {
		t.Errorf("got %+v", got)
	}
	if count := gittest.Git(t, dir, "rev-list", "--count", "main"); count != fmt.Sprint(rivals+2) {
		t.Errorf("%s commits, want %d", count, rivals+2)
	}
	rivals = 1 << 20 // for ever
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if results, err := r.Publish(ctx, []releases.Draft{draft("r-2", "staging/api", "", "v1")}); err == nil {
		t.Errorf("got %+v", results)
	}
}

func TestHTTPWithAToken(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, map[string]string{"a": "a"})
	server.Before(func(w http.ResponseWriter, req *http.Request) bool {
		user, password, _ := req.BasicAuth()
		if user == "x-access-token" && password == "hush" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
		return true
	})
	publish(t, open(t, gitops.Config{URL: server.URL + "/gitops.git", Auth: gitops.AuthConfig{Password: "hush"}}), draft("r-1", "staging/web", "", "v1"))
	_, err := open(t, gitops.Config{URL: server.URL + "/gitops.git", Auth: gitops.AuthConfig{Password: "wrong-hush"}}).Read(t.Context(), "staging/web")
	if releases.KindOf(err) != releases.Unavailable || !strings.Contains(err.Error(), "does not accept our credentials") || strings.Contains(err.Error(), "wrong-hush") {
		t.Errorf("got %v", err)
	}
}

func TestALostAnswerIsSettledByTheRefs(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, map[string]string{"a": "a"})
	r := open(t, gitops.Config{URL: server.URL + "/gitops.git"})
	work := gittest.Clone(t, dir)
	for _, pushedOnTop := range []bool{false, true} {
		var once atomic.Bool
		server.Before(func(_ http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, "/git-receive-pack") || once.Swap(true) {
				return false
			}
			recorder := &discard{header: http.Header{}}
			server.Backend(recorder, req) // the push arrives …
			if pushedOnTop {
				gittest.Git(t, work, "pull", "--quiet", "--rebase")
				commitFile(t, work, "other", "on top")
			}
			panic(http.ErrAbortHandler) // … and its answer does not
		})
		id := fmt.Sprintf("r-%v", pushedOnTop)
		got := publish(t, r, draft(id, "staging/"+id[2:], "", "v1"))[0]
		if got.Written != releases.Committed || got.Tree == "" {
			t.Errorf("got %+v", got)
		}
		if n := strings.Count(gittest.Git(t, dir, "log", "--format=%(trailers:key=Release-Id,valueonly)", "main"), id); n != 1 {
			t.Errorf("%d commits of %s, want 1", n, id)
		}
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

func TestFindSeesACommitOfAnEarlierLifeAndNothingElse(t *testing.T) {
	for name, remote := range remotes(t, map[string]string{"a": "a"}) {
		t.Run(name, func(t *testing.T) {
			first := open(t, remote.config)
			since := read(t, first, "staging/web").Head
			want := publish(t, first, draft("r-1", "staging/web", "", "v1"))[0]
			publish(t, first, draft("r-2", "staging/api", "", "v1"))

			fresh := remote.config
			fresh.Cache = filepath.Join(t.TempDir(), "another.git") // its clone starts at the head: history must be fetched
			for _, c := range []gitops.Config{remote.config, fresh} {
				got, err := open(t, c).Find(t.Context(), since, map[string]string{"r-1": "staging/web", "r-9": "staging/web"})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(map[string]releases.Result{"r-1": want}, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestARewrittenHistoryIsFollowed(t *testing.T) {
	for name, remote := range remotes(t, map[string]string{"staging/web/app.yaml": "v1"}) {
		t.Run(name, func(t *testing.T) {
			r := open(t, remote.config)
			base := read(t, r, "staging/web")
			publish(t, r, draft("r-1", "staging/web", base.Tree, "v2"))
			work := gittest.Clone(t, remote.dir)
			gittest.Git(t, work, "reset", "--quiet", "--hard", "HEAD~1")
			gittest.Git(t, work, "commit", "--quiet", "--amend", "-m", "rewritten")
			gittest.Git(t, work, "push", "--quiet", "--force", "origin", "HEAD:main")
			gittest.Git(t, remote.dir, "reflog", "expire", "--expire=now", "--all")
			gittest.Git(t, remote.dir, "gc", "--quiet", "--prune=now")
			if now := read(t, r, "staging/web"); now.Tree != base.Tree {
				t.Errorf("read %+v", now)
			}
			got := publish(t, r, draft("r-2", "staging/web", base.Tree, "v3"))[0]
			if got.Written != releases.Committed {
				t.Errorf("got %+v", got)
			}
			gittest.Git(t, remote.dir, "fsck", "--strict")
		})
	}
}

func TestADamagedCloneHealsItself(t *testing.T) {
	server := gittest.Serve(t)
	dir := filepath.Join(server.Root, "gitops.git")
	gittest.Bare(t, dir, bigEnvironment(50))
	c := gitops.Config{URL: server.URL + "/gitops.git", Cache: filepath.Join(t.TempDir(), "clone.git")}
	for name, damage := range map[string]func(path string) error{
		"truncated pack": func(path string) error {
			packs, _ := filepath.Glob(filepath.Join(path, "objects/pack/*.pack"))
			for _, p := range packs {
				if err := os.Chmod(p, 0o600); err != nil {
					return err
				}
				if err := os.Truncate(p, 40); err != nil {
					return err
				}
			}
			return nil
		},
		"no objects": func(path string) error { return os.RemoveAll(filepath.Join(path, "objects")) },
		"empty ref":  func(path string) error { return os.WriteFile(filepath.Join(path, "refs/heads/main"), nil, 0o600) },
		"no HEAD":    func(path string) error { return os.Remove(filepath.Join(path, "HEAD")) },
	} {
		t.Run(name, func(t *testing.T) {
			first := open(t, c)
			read(t, first, "staging/app-00001")
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(c.Cache); err != nil {
				t.Fatal(err)
			}
			r := open(t, c)
			base := read(t, r, "staging/app-00001")
			if got := publish(t, r, draft("r-"+name, "staging/app-00001", base.Tree, name))[0]; got.Written != releases.Committed {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestCommitsAreSignedWithAnSSHKey(t *testing.T) {
	key, public := gittest.NewKey(t)
	for name, remote := range remotes(t, map[string]string{"a": "a"}) {
		t.Run(name, func(t *testing.T) {
			remote.config.Signing.SSHKeyFile = key
			publish(t, open(t, remote.config), draft("r-1", "staging/web", "", "v1"))
			allowed := filepath.Join(t.TempDir(), "allowed")
			if err := os.WriteFile(allowed, []byte("gimletd@localhost "+public+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out := gittest.Git(t, remote.dir, "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", "-v", "main")
			if !strings.Contains(out, `Good "git" signature for gimletd@localhost`) {
				t.Error(out)
			}
		})
	}
}

func TestAnUnknownHostKeyIsRefused(t *testing.T) {
	ssh := gittest.ServeSSH(t)
	gittest.Bare(t, filepath.Join(ssh.Root, "gitops.git"), map[string]string{"a": "a"})
	r := open(t, gitops.Config{URL: ssh.URL + "/gitops.git", Auth: gitops.AuthConfig{SSHKeyFile: ssh.KeyFile, KnownHostsFile: ssh.Strangers}})
	_, err := r.Read(t.Context(), "staging/web")
	if releases.KindOf(err) != releases.Unavailable || !strings.Contains(err.Error(), "knownHostsFile") {
		t.Errorf("got %v", err)
	}
}

func TestLocalRefLockIsRespected(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gitops.git")
	gittest.Bare(t, dir, map[string]string{"a": "a"})
	r := open(t, gitops.Config{URL: dir})
	lock := filepath.Join(dir, "refs/heads/main.lock")
	if err := os.MkdirAll(filepath.Dir(lock), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if results, err := r.Publish(ctx, []releases.Draft{draft("r-1", "staging/web", "", "v1")}); err == nil {
		t.Fatalf("pushed past another process's lock: %+v", results)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	publish(t, r, draft("r-1", "staging/web", "", "v1"))

	// A lock that we held when we were killed is ours to remove.
	if err := os.WriteFile(filepath.Join(dir, "gimletd.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "gimletd.lock"), lock); err != nil {
		t.Fatal(err)
	}
	publish(t, open(t, gitops.Config{URL: dir}), draft("r-2", "staging/api", "", "v1"))
}
