package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gimletd/releases/gitops/gittest"
)

// TestAnArtifactWithCUEIsReleased ships two apps that one CUE source makes, and releases them after a restart, too.
func TestAnArtifactWithCUEIsReleased(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	w.extra = "roles: [{name: elsewhere, members: [\"token:elsewhere\"], can: [ship], environments: [production]}]\n"
	s := w.start()
	source := fmt.Sprintf(`
_shop: {
	namespace: "shop"
	chart: {repository: %q, name: "webapp", version: "1.0.0"}
	values: image: {repository: "registry.example/shop", tag: "{{ .SHA }}"}
}
configs: [
	for name in ["shop-a", "shop-b"] {_shop, app: name, env: "staging", deploy: {branch: "main", event: "push"}},
	{_shop, app: "shop-a", env: "production"},
]
`, w.charts)
	ship := func(sha string, cue ...string) []byte {
		return w.artifact("web", long(sha), func(a map[string]any) { a["cueEnvironments"], a["environments"] = cue, nil })
	}
	refuse := func(says string, body []byte) {
		t.Helper()
		if status, text, err := s.call(http.MethodPost, "/api/artifact", body); err != nil || status != http.StatusBadRequest || !strings.Contains(string(text), says) {
			t.Errorf("%d %s %v, not %s", status, text, err, says)
		}
	}
	refuse(`cueEnvironments[0]: line 1: configs.0.env: conflicting values`, ship("1111111", `configs: [{env: "staging", env: "production"}]`))
	refuse(`manifest 4 of cueEnvironments: app \"shop-a\" in \"staging\" is also manifest 1 of cueEnvironments`, ship("1111111", source, source))
	refuse("cueEnvironments[1]: configs: missing", ship("1111111", source, "apps: []"))

	// Who may ship nothing has nothing evaluated; who may somewhere is told where not.
	for name, says := range map[string]string{"nobody": "you may not ship anything anywhere", "elsewhere": "you may not ship shop-a in staging: "} {
		status, text, err := s.call(http.MethodPost, "/api/tokens", fmt.Appendf(nil, `{"name": %q}`, name))
		var made struct{ Token string }
		if err != nil || status != http.StatusCreated || json.Unmarshal(text, &made) != nil {
			t.Fatalf("%d %s %v", status, text, err)
		}
		if status, text, err := s.callAs(made.Token, http.MethodPost, "/api/artifact", ship("1111111", source)); err != nil || status != http.StatusForbidden || !strings.Contains(string(text), says) {
			t.Errorf("%s: %d %s %v", name, status, text, err)
		}
	}
	id := s.post(ship("1111111", source))
	s.typed("# settled?")
	for _, app := range []string{"shop-a", "shop-b"} {
		if text := gittest.Git(t, w.remote, "show", "main:staging/"+app+"/deployment.yaml"); !strings.Contains(text, "registry.example/shop:"+long("1111111")) {
			t.Errorf("%s: %s", app, text)
		}
	}
	s.stop()
	s = w.start()
	status, text, err := s.call(http.MethodPost, "/api/releases", fmt.Appendf(nil, `{"env": "production", "artifactId": %q}`, id))
	if err != nil || status != http.StatusCreated {
		t.Fatalf("%d %s %v", status, text, err)
	}
	s.typed("# settled?")
	if files := gittest.Git(t, w.remote, "ls-tree", "--name-only", "-r", "main", "production/"); !strings.Contains(files, "production/shop-a/deployment.yaml") || strings.Contains(files, "shop-b") {
		t.Errorf("production holds %s", files)
	}
	// It is kept as it was shipped: shipped again, it is the same.
	status, text, err = s.call(http.MethodPost, "/api/artifact", ship("1111111", source))
	if err != nil || status != http.StatusOK || !strings.Contains(string(text), id) || !strings.Contains(string(text), "_shop, app: name") {
		t.Errorf("%d %s %v", status, text, err)
	}
	s.stop()
}
