package manifest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const patchedObjects = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team, labels: {a: b}}
spec:
  replicas: 1 # one is enough
  template:
    spec:
      containers:
        - {name: web, image: "web:1", env: [{name: A, value: "1"}], ports: [{containerPort: 80, protocol: TCP}]}
        - {name: sidecar, image: "s:1"}
      volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: team}
spec: {ports: [{port: 80, protocol: TCP}], selector: {app: web}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: team}
data: {mode: "on", "off": "yes", number: "08"}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: team}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: listed, namespace: team}, data: {a: b}}
`

// objectsOf are the objects of YAML documents, by kind and name.
func objectsOf(t *testing.T, text string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for doc := range strings.SplitSeq("\n"+text, "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		if object != nil {
			all[fmt.Sprint(object["kind"], " ", object["metadata"].(map[string]any)["name"])] = object
		}
	}
	return all
}

// TestPatchesAreAppliedAsKustomizeDoes compares with kustomize itself, in memory.
func TestPatchesAreAppliedAsKustomizeDoes(t *testing.T) {
	for _, c := range []struct {
		name, merge string
		patches     []releases.JSONPatch
	}{
		{"a field", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: team}\nspec: {replicas: 3}\n", nil},
		{"lists by their keys", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: team}\nspec: {template: {spec: {containers: [{name: web, env: [{name: A, value: '2'}, {name: B, value: x}]}, {name: new, image: n}]}}}\n", nil},
		{"a deletion in a list, and of a field", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: team, labels: {a: null, c: d}}\nspec: {template: {spec: {containers: [{name: sidecar, $patch: delete}]}}}\n", nil},
		{"a replacement", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: team}\ndata: {$patch: replace, only: this}\n", nil},
		{"an object that goes", "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: team}\n$patch: delete\n", nil},
		{"an object of a list", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: team}\nautomountServiceAccountToken: false\n", []releases.JSONPatch{
			{Patch: `[{"op": "replace", "path": "/data/a", "value": "c"}]`, Target: releases.PatchTarget{Version: "v1", Kind: "ConfigMap", Name: "listed"}},
		}},
		{"an object of a list that goes", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: team}\n$patch: delete\n", nil},
		{"several", "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: team}\nspec: {type: LoadBalancer}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: team}\ndata: {more: 'true'}\n", nil},
		{"JSON patches", "", []releases.JSONPatch{
			{Patch: `[{"op": "replace", "path": "/spec/replicas", "value": 5}, {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "C", "value": "y"}}]`, Target: releases.PatchTarget{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web"}},
			{Patch: "- op: remove\n  path: /data/off\n- {op: test, path: /data/mode, value: 'on'}\n", Target: releases.PatchTarget{Version: "v1", Kind: "ConfigMap", Name: "settings"}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rendered, err := renderer(t).Render(t.Context(), target(), releases.Manifest{Manifests: patchedObjects, StrategicMergePatches: c.merge, JSON6902Patches: c.patches}, nil)
			files := rendered.Files
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			fs := filesys.MakeFsInMemory()
			kustomization := map[string]any{"resources": []string{"all.yaml"}}
			write := func(name, text string) {
				if err := fs.WriteFile(name, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			write("all.yaml", patchedObjects)
			var patches []any
			for i, one := range strings.Split(c.merge, "\n---\n") {
				if one != "" {
					write(fmt.Sprintf("merge-%d.yaml", i), one)
					patches = append(patches, map[string]any{"path": fmt.Sprintf("merge-%d.yaml", i)})
				}
			}
			for _, p := range c.patches {
				patches = append(patches, map[string]any{"patch": p.Patch, "target": p.Target})
			}
			kustomization["patches"] = patches
			text, err := json.Marshal(kustomization)
			if err != nil {
				t.Fatal(err)
			}
			write("kustomization.yaml", string(text))
			made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(fs, ".")
			if err != nil {
				t.Fatal(err)
			}
			want, err := made.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(objectsOf(t, string(want)), objectsOf(t, string(files[0].Content))); diff != "" {
				t.Errorf("%s\n%s", diff, files[0].Content)
			}
		})
	}
}

// TestWhatHasItemsAndIsNoListStaysWhole has objects that only look like lists, and a list whose parts stand for each other.
func TestWhatHasItemsAndIsNoListStaysWhole(t *testing.T) {
	const allowed = "apiVersion: example.com/v1\nkind: IPAllowList\nmetadata: {name: office}\nitems:\n- 10.0.0.0/8\n- 192.168.0.0/16\n"
	const aliases = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: &d {x: y}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: *d}\n"
	const other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"
	m := releases.Manifest{Manifests: allowed + other, StrategicMergePatches: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {x: z}\n---\napiVersion: example.com/v1\nkind: IPAllowList\nmetadata: {name: office, labels: {a: b}}\n"}
	rendered, err := renderer(t).Render(t.Context(), target(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := objectsOf(t, string(rendered.Files[0].Content)); len(got) != 2 || fmt.Sprint(got["IPAllowList office"].(map[string]any)["items"]) != "[10.0.0.0/8 192.168.0.0/16]" {
		t.Errorf("%s", rendered.Files[0].Content)
	}
	m.Manifests, m.StrategicMergePatches = aliases+other, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {x: z}\n"
	if rendered, err = renderer(t).Render(t.Context(), target(), m, nil); err != nil || !strings.Contains(string(rendered.Files[0].Content), "kind: List") {
		t.Errorf("%s %v", rendered.Files, err)
	}
	m.StrategicMergePatches = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: z}\n"
	if _, err = renderer(t).Render(t.Context(), target(), m, nil); err == nil || !strings.Contains(err.Error(), "matches nothing") {
		t.Error(err)
	}
}

// TestPatchesLeaveTheRestAlone has numbers that no float can hold, and an object that leaves out its namespace.
func TestPatchesLeaveTheRestAlone(t *testing.T) {
	const object = "apiVersion: v1\nkind: Thing\nmetadata:\n  name: web\nspec:\n  big: 9007199254740993\n  gid: 1000680000\n  number: \"1.10\"\n  one: 1\n  word: \"no\"\n"
	changed := strings.Replace(object, "one: 1", "one: 2", 1)
	for _, m := range []releases.Manifest{
		{JSON6902Patches: []releases.JSONPatch{{Patch: `[{"op": "replace", "path": "/spec/one", "value": 2}]`, Target: releases.PatchTarget{Kind: "Thing", Name: "web"}}}},
		{StrategicMergePatches: "apiVersion: v1\nkind: Thing\nmetadata: {name: web, namespace: team}\nspec: {one: 2}\n"},
	} {
		m.Manifests = object
		rendered, err := renderer(t).Render(t.Context(), target(), m, nil)
		files := rendered.Files
		if err != nil {
			t.Fatal(err)
		}
		want := changed
		if m.StrategicMergePatches != "" {
			want = strings.Replace(changed, "name: web\n", "name: web\n  namespace: team\n", 1)
		}
		if diff := cmp.Diff(want, strings.TrimPrefix(string(files[0].Content), "---\n")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPatchesOfACharts(t *testing.T) {
	m := chart(shipped(t), "web", `{}`)
	before, err := renderer(t, shipped(t)).Render(t.Context(), target(), m, nil)
	plain := before.Files
	if err != nil {
		t.Fatal(err)
	}
	m.StrategicMergePatches = "apiVersion: v1\nkind: Service\nmetadata: {name: '{{ .NAME }}'}\nspec: {externalName: '{{ .HOST }}'}\n"
	vars := map[string]string{"NAME": serviceName(t, plain), "HOST": "x.example\"\nspec: {type: NodePort"}
	after, err := renderer(t, shipped(t)).Render(t.Context(), target(), m, vars)
	patched := after.Files
	if err != nil {
		t.Fatal(err)
	}
	for i := range plain {
		same := string(plain[i].Content) == string(patched[i].Content)
		if concerned := strings.Contains(string(plain[i].Content), "kind: Service\n"); same == concerned {
			t.Errorf("%s is the same: %v", plain[i].Path, same)
		} else if concerned && (strings.Contains(string(patched[i].Content), "type: NodePort\n") || !strings.Contains(string(patched[i].Content), "# Source: ")) {
			t.Errorf("a variable got out of its string, or what the file says of itself is gone:\n%s", patched[i].Content)
		}
	}
}

func serviceName(t *testing.T, files []releases.File) string {
	t.Helper()
	for _, f := range files {
		for name := range objectsOf(t, string(f.Content)) {
			if kind, rest, _ := strings.Cut(name, " "); kind == "Service" {
				return rest
			}
		}
	}
	t.Fatal("there is no Service")
	return ""
}

func TestPatchesThatCannotBeMeantAreRefused(t *testing.T) {
	deployment := releases.PatchTarget{Kind: "Deployment", Name: "web"}
	for _, c := range []struct {
		name, merge string
		patch       *releases.JSONPatch
		want        string
	}{
		{"nothing that it matches", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n", nil, "strategicMergePatches: patch 1 matches nothing: there is no Deployment other (apps/v1)"},
		{"another version", "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: web}\n", nil, "matches nothing"},
		{"another namespace", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: other}\n", nil, "matches nothing"},
		{"no name", "kind: Deployment\nspec: {}\n", nil, "does not say what it is for"},
		{"no YAML", "a: [", nil, "strategicMergePatches: line 1"},
		{"a missing variable", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: '{{ .NOPE }}'}\n", nil, "variable NOPE is missing"},
		{"a JSON patch for nothing", "", &releases.JSONPatch{Patch: "[]", Target: releases.PatchTarget{Kind: "Deployment", Name: "other"}}, "json6902Patches[0]: matches nothing: there is no Deployment other"},
		{"a JSON patch of another group", "", &releases.JSONPatch{Patch: "[]", Target: releases.PatchTarget{Group: "batch", Kind: "Deployment", Name: "web"}}, "matches nothing"},
		{"no value", "", &releases.JSONPatch{Patch: `[{"op": "replace", "path": "/spec/replicas"}]`, Target: deployment}, "json6902Patches[0]: patch: operation 1 (replace) has no value"},
		{"the whole by nothing", "", &releases.JSONPatch{Patch: `[{"op": "replace", "path": "", "value": null}]`, Target: deployment}, "json6902Patches[0]: "},
		{"the whole by a list", "", &releases.JSONPatch{Patch: `[{"op": "replace", "path": "", "value": [1]}]`, Target: deployment}, "what it would leave is no object"},
		{"a path that is not there", "", &releases.JSONPatch{Patch: `[{"op": "remove", "path": "/spec/nope"}]`, Target: deployment}, "json6902Patches[0]: "},
		{"a test that fails", "", &releases.JSONPatch{Patch: `[{"op": "test", "path": "/spec/replicas", "value": 9}]`, Target: deployment}, "json6902Patches[0]: "},
		{"no patch at all", "", &releases.JSONPatch{Patch: "just words", Target: deployment}, "json6902Patches[0]: "},
		{"all that goes", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n$patch: delete\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n$patch: delete\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n$patch: delete\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n$patch: delete\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: listed}\n$patch: delete\n", nil, "renders to nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := releases.Manifest{Manifests: patchedObjects, StrategicMergePatches: c.merge}
			if c.patch != nil {
				m.JSON6902Patches = []releases.JSONPatch{*c.patch}
			}
			_, err := renderer(t).Render(t.Context(), target(), m, nil)
			if err == nil || releases.KindOf(err) != releases.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
