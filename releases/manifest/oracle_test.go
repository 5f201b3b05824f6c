package manifest_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/releases/manifest"

	"github.com/google/go-cmp/cmp"
)

// helm builds the helm command of the version in go.mod.
func helm(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "tool", "-n", "helm").Output()
	if err != nil {
		t.Fatalf("go tool -n helm: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func TestChartsRenderAsHelmTemplateDoes(t *testing.T) {
	binary := helm(t)
	for _, c := range []struct{ name, chart, values, kube, api string }{
		{"defaults and hooks and notes and files", "web", `{}`, "v1.33.0", ""},
		{"values of all kinds", "web", `{"replicas": 3, "limit": 12345678901, "labels": {"a": "b", "c": "1"}, "ingress": {"enabled": true, "host": "x.example"}, "vars": {"ONE": 1, "F": 0.1, "E": 1e21, "T": true, "N": null, "S": "a: b"}}`, "v1.29.4", ""},
		{"capabilities", "web", `{}`, "v1.31.2", "monitoring.coreos.com/v1"},
		{"CRDs", "operator", `{"scope": "Cluster"}`, "v1.33.0", ""},
		{"subcharts and conditions and alias and imports and library", "umbrella", `{}`, "v1.33.0", ""},
		{"subcharts turned on and off", "umbrella", `{"cache": {"enabled": true, "size": 7}, "tags": {"extras": false}, "global": {"domain": "other"}}`, "v1.33.0", ""},
		{"schema", "strict", `{"replicas": 4, "tier": "back"}`, "v1.33.0", ""},
		{"lookup and lists and empty templates", "peek", `{"items": ["x", "y"], "big": 98765432101, "nested": {"z": [{"q": null}]}}`, "v1.33.0", ""},
		{"API v1 chart and order of kinds", "legacy", `{"mode": "new"}`, "v1.33.0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			values := filepath.Join(dir, "values.json")
			if err := os.WriteFile(values, []byte(c.values), 0o600); err != nil {
				t.Fatal(err)
			}
			location := filepath.Join("testdata/charts", c.chart)
			args := []string{"template", "shop", location, "--namespace", "team", "--include-crds", "-f", values, "--kube-version", c.kube}
			var apis []string
			if c.api != "" {
				args, apis = append(args, "--api-versions", c.api), []string{c.api}
			}
			cmd := exec.Command(binary, args...)
			cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+dir, "HELM_CONFIG_HOME="+dir, "HELM_DATA_HOME="+dir)
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, func() *exec.ExitError {
					target := &exec.ExitError{}
					_ = errors.As(err, &target)
					return target
				}().Stderr)
			}
			var tree any
			if err := json.Unmarshal([]byte(c.values), &tree); err != nil {
				t.Fatal(err)
			}
			got, err := manifest.Template(location, "shop", "team", tree, c.kube, apis)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
