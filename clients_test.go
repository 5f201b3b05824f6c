package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheCallsOfGimletsClients makes the calls that Gimlet's command line makes, in the order of a pipeline, with what a
// real one sent (an empty chart, null values, an id with an unescaped slash).
func TestTheCallsOfGimletsClients(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	ship := func(sha, message string) string {
		return s.post(fmt.Appendf(nil, `{"version":{"repositoryName":"me/cliapp","sha":%q,"created":1602071729,"branch":"main","authorName":"A","authorEmail":"a@x","committerName":"C","committerEmail":"c@x","message":%q,"url":"https://x/%s"},"context":{"A":"b=c","GIT_SHA":%q},"environments":[{"app":"cliapp","env":"staging","namespace":"team","deploy":{"branch":"main","event":"push"},"chart":{"repository":"","name":"","version":""},"values":null,"strategicMergePatches":"","json6902Patches":null,"manifests":"---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cliapp\ndata:\n  sha: \"{{ .GIT_SHA }}\"\n"},{"app":"cliapp","env":"production","namespace":"team","chart":{"repository":"","name":"","version":""},"values":null,"strategicMergePatches":"","json6902Patches":null,"manifests":"---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cliapp\ndata:\n  sha: \"{{ .GIT_SHA }}\"\n"}],"items":[{"name":"CI","url":"https://ci/1"}],"vars":{"A":"b=c","name":"CI"}}`,
			sha, message, sha, sha))
	}
	type tracked struct {
		Status, StatusDesc string
		Results            []struct{ App, Env, Hash, Status, StatusDesc, GitopsCommitStatus, GitopsCommitStatusDesc string }
	}
	type listedRelease struct {
		App, Env, ArtifactID, TriggeredBy, GitopsRef, GitopsCommitStatus string
		Created                                                          int64
		RolledBack                                                       bool
		Version                                                          struct{ SHA string }
	}
	first := ship("aaaaaaaa11111111111111111111111111111111", "msg one")
	second := ship("bbbbbbbb11111111111111111111111111111111", "msg two")
	s.typed("# settled?")

	var byArtifact tracked
	get(t, s, "/api/eventArtifactTrack?artifactId="+first, &byArtifact) // the slash is not escaped
	if byArtifact.Status != "processed" || len(byArtifact.Results) != 1 || byArtifact.Results[0].Status != "success" ||
		byArtifact.Results[0].GitopsCommitStatus != "ReconciliationSucceeded" || len(byArtifact.Results[0].Hash) != 40 {
		t.Errorf("got %+v", byArtifact)
	}
	var artifacts []struct{ ID string }
	get(t, s, "/api/artifacts?limit=2&since=2020-01-01T00%3A00%3A00Z&until=2130-01-01T00%3A00%3A00%2B01%3A00&repository=me/cliapp&branch=main&event=push&sha=aaaaaaaa11111111111111111111111111111111", &artifacts)
	if len(artifacts) != 1 || artifacts[0].ID != first {
		t.Errorf("got %+v", artifacts)
	}

	ask := func(method, path, body string) string {
		t.Helper()
		status, answer, err := s.call(method, path, []byte(body))
		var made struct{ ID, Type string }
		if err != nil || status != http.StatusCreated || json.Unmarshal(answer, &made) != nil || made.ID == "" {
			t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
		}
		s.typed("# settled?")
		return made.ID
	}
	for _, artifact := range []string{first, second} {
		id := ask(http.MethodPost, "/api/releases", `{"env":"production","artifactId":"`+artifact+`","triggeredBy":""}`)
		var byRelease tracked
		get(t, s, "/api/eventReleaseTrack?id="+id, &byRelease)
		if byRelease.Status != "processed" || len(byRelease.Results) != 1 || byRelease.Results[0].Env != "production" || byRelease.Results[0].Status != "success" {
			t.Errorf("got %+v", byRelease)
		}
	}
	var releases []listedRelease
	get(t, s, "/api/releases?limit=3&app=cliapp&env=production&git-repo=me/cliapp", &releases)
	if len(releases) != 2 || releases[0].ArtifactID != second || releases[0].TriggeredBy != "admin" || releases[0].GitopsCommitStatus != "ReconciliationSucceeded" || releases[0].Created == 0 {
		t.Fatalf("got %+v", releases)
	}
	ask(http.MethodPost, "/api/rollback?env=production&app=cliapp&sha="+releases[1].GitopsRef[:8], "")
	var status map[string]*listedRelease
	get(t, s, "/api/status?env=production", &status)
	if status["cliapp"] == nil || status["cliapp"].ArtifactID != first || len(status["cliapp"].Version.SHA) != 40 {
		t.Errorf("got %+v", status["cliapp"])
	}
	get(t, s, "/api/status?env=production&app=nothing", &status)
	if live, asked := status["nothing"]; live != nil || !asked {
		t.Errorf("an app that was never released: %+v", status)
	}
	get(t, s, "/api/releases?env=production", &releases)
	var rolledBack []bool
	for _, r := range releases {
		rolledBack = append(rolledBack, r.RolledBack)
	}
	if diff := cmp.Diff([]bool{false, true, false}, rolledBack); diff != "" {
		t.Error(diff)
	}
	s.stop()
}
