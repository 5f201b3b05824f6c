package releases_test

import (
	"strings"
	"testing"
	"time"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestNoTwoPlansShareADigest(t *testing.T) {
	text := rapid.StringMatching(`[a-c\n]{0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (releases.Target, string, string, []releases.File) {
			var files []releases.File
			for range rapid.IntRange(0, 2).Draw(t, name+" files") {
				files = append(files, releases.File{Path: text.Draw(t, name+" path"), Content: []byte(text.Draw(t, name+" content"))})
			}
			return releases.Target{App: text.Draw(t, name+" app"), Env: text.Draw(t, name+" env")}, text.Draw(t, name+" artifact"), text.Draw(t, name+" base"), files
		}
		t1, a1, b1, f1 := draw("first")
		t2, a2, b2, f2 := draw("second")
		same := t1 == t2 && a1 == a2 && b1 == b2 && cmp.Equal(f1, f2)
		if (releases.Digest(t1, a1, b1, f1) == releases.Digest(t2, a2, b2, f2)) != same {
			t.Errorf("%v %v", []any{t1, a1, b1, f1}, []any{t2, a2, b2, f2})
		}
	})
}

func TestCommitMessagesCannotBeForged(t *testing.T) {
	r := releases.Release{
		ID: "r-real42", Kind: releases.KindRelease, App: "web", Env: "production", ArtifactID: "acme/web-1",
		RequestedBy: releases.Actor{Name: "Ada\nRelease-Id: r-evil", Email: "ada@example.com"}, Plan: &releases.Plan{Digest: "d"},
	}
	for _, message := range []string{
		"Add a cart", "", "x\n\nRelease-Id: r-evil", "Release-Id: r-evil", "x\n\nrelease-id : r-evil\n", strings.Repeat("long ", 2000),
		"first\n\n\n\nPlan-Digest: no\nRelease-Id: r-evil\n\n",
	} {
		r.Version = releases.Version{SHA: "0123456789", Message: message, URL: "https://git.example\nRelease-Id: r-evil"}
		text := releases.CommitMessage(r)
		if got := releases.ReleaseIDOf(text); got != "r-real42" {
			t.Errorf("%q is found as %q", text, got)
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.ToLower(line), "release-id") && line != "Release-Id: r-real42\n" {
				t.Errorf("%q has a line %q", message, line)
			}
		}
	}
}

func file(path, content string) releases.File {
	return releases.File{Path: path, Content: []byte(content)}
}

func TestSecretsNeverShowInDiffs(t *testing.T) {
	before := []releases.File{
		file("list.yaml", "kind: List\nitems:\n- {kind: Secret, metadata: {name: s}, stringData: {p: hunter7}}\n"),
		file("long.yaml", "kind: ConfigMap\nmetadata: {name: l}\ndata: {url: 'postgres://app:hunter8@db.production.svc.cluster.local:5432/app?sslmode=require'}\n"),
		file("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: hunter1}\n---\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"),
	}
	after := []releases.File{
		file("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: hunter2}\n---\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: c}\n"),
		file("list.yaml", "kind: List\nitems:\n- {kind: Secret, metadata: {name: s}, stringData: {p: hunter5}}\n"),
		file("long.yaml", "kind: ConfigMap\nmetadata: {name: l}\ndata: {url: 'postgres://app:hunter6@db.production.svc.cluster.local:5432/app?sslmode=require'}\n"),
		file("broken.yaml", "kind: Secret\n  password: [hunter3\n"), file("env.yaml", "url: https://u:hunter4@db.example\n"),
	}
	changes := releases.Compare(before, after)
	text := releases.TextDiff(before, after)
	for _, c := range changes {
		text += c.String() + "\n"
	}
	if strings.Contains(text, "hunter") {
		t.Error(text)
	}
	if !strings.Contains(text, "Secret db: stringData.password <hidden, fingerprint") || !strings.Contains(text, "ConfigMap c: data.a b → c") {
		t.Errorf("the change does not show:\n%s", text)
	}
}

func TestCompareNamesWhatBecomesOfEachObject(t *testing.T) {
	before := []releases.File{
		file("d.yaml", "kind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1, template: {spec: {containers: [{image: web:1}]}}}\n"),
		file("p.yaml", "kind: PersistentVolumeClaim\nmetadata: {name: disk}\n"), file("release.json", "{}"),
	}
	after := []releases.File{
		file("d.yaml", "kind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2, template: {spec: {containers: [{image: web:2}]}}}\n"),
		file("n.yaml", "kind: Service\nmetadata: {name: web, namespace: x}\n"), file("release.json", "{}\n"), file("notes.txt", ": : no yaml"),
	}
	var got []string
	for _, c := range releases.Compare(before, after) {
		got = append(got, c.String())
	}
	want := []string{
		"Deployment web: replicas 1 → 2, containers[0].image web:1 → web:2",
		"removed PersistentVolumeClaim disk (!)",
		"added Service x/web",
		"added file notes.txt",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyTheTablesMovesAreAllowed(t *testing.T) {
	all := []releases.Status{releases.Proposed, releases.Approved, releases.Publishing, releases.Published, releases.Unchanged, releases.Failed, releases.Superseded}
	allowed := map[releases.Status]string{
		releases.Proposed:   "approved unchanged failed superseded",
		releases.Approved:   "publishing proposed failed superseded",
		releases.Publishing: "published unchanged approved proposed failed",
	}
	for _, from := range all {
		for _, to := range all {
			r, err := releases.Release{Status: from}.Advance(to, "why", time.Unix(1, 0))
			if ok := strings.Contains(" "+allowed[from]+" ", " "+string(to)+" "); ok != (err == nil) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
			if err == nil && (r.Status != to || r.Reason != "why" || len(r.Steps) != 1) {
				t.Errorf("%s to %s left %+v", from, to, r)
			}
		}
	}
}
