package releases_test

import (
	"slices"
	"strings"
	"testing"

	"gimletd/releases"
)

func TestHazardsOfGoingBack(t *testing.T) {
	folder := func(docs ...string) []releases.File {
		return []releases.File{{Path: "all.yaml", Content: []byte(strings.Join(docs, "\n---\n"))}, {Path: releases.ReleaseFile, Content: []byte(`{"artifactId":"x"}`)}}
	}
	object := func(kind, rest string) string { return "kind: " + kind + "\nmetadata: {name: x}\n" + rest }
	hooked := func(image string) string {
		return "kind: Pod\nmetadata: {name: hook, annotations: {helm.sh/hook: pre-upgrade}}\nspec: {image: " + image + "}"
	}
	for _, c := range []struct {
		name       string
		live, back []releases.File
		want       []string // the beginnings
	}{
		{"nothing changes", folder(object("PersistentVolumeClaim", "spec: 1")), folder(object("PersistentVolumeClaim", "spec: 1")), nil},
		{"only a Deployment changes", folder(object("Deployment", "spec: {replicas: 2}")), folder(object("Deployment", "spec: {replicas: 1}")), nil},
		{"only release.json changes", []releases.File{{Path: releases.ReleaseFile, Content: []byte("a")}}, []releases.File{{Path: releases.ReleaseFile, Content: []byte("b")}}, nil},
		{"an object comes back", folder(object("ConfigMap", "data: {a: b}")), folder(object("ConfigMap", "data: {a: b}"), object("Service", "")), nil},
		{"a definition goes back", folder(object("CustomResourceDefinition", "spec: 2")), folder(object("CustomResourceDefinition", "spec: 1")), []string{"CustomResourceDefinition x goes back; objects that were written since may not fit it"}},
		{"a definition goes", folder(object("CustomResourceDefinition", "spec: 2"), object("Service", "")), folder(object("Service", "")), []string{"CustomResourceDefinition x would be deleted, and with it every object of its kind"}},
		{"a volume goes", folder(object("PersistentVolumeClaim", "spec: 1")), folder(), []string{"PersistentVolumeClaim x would be deleted, and its data may be lost"}},
		{"a volume changes", folder(object("PersistentVolumeClaim", "spec: 2")), folder(object("PersistentVolumeClaim", "spec: 1")), []string{"PersistentVolumeClaim x goes back; volumes do not shrink"}},
		{"a StatefulSet's pods change", folder(object("StatefulSet", "spec: {template: 2}")), folder(object("StatefulSet", "spec: {template: 1}")), []string{"the pods of StatefulSet x go back, the data on their volumes does not"}},
		{"a StatefulSet's claims change", folder(object("StatefulSet", "spec: {volumeClaimTemplates: [2]}")), folder(object("StatefulSet", "spec: {volumeClaimTemplates: [1]}")), []string{"the volume claims of StatefulSet x differ; Kubernetes refuses"}},
		{"a StatefulSet is only scaled", folder(object("StatefulSet", "spec: {replicas: 2}")), folder(object("StatefulSet", "spec: {replicas: 1}")), nil},
		{"a Secret changes", folder(object("Secret", "data: {a: Yg==}")), folder(object("Secret", "data: {a: YQ==}")), []string{"Secret x goes back to earlier values, which may have been rotated"}},
		{"a Secret goes", folder(object("Secret", "data: {a: Yg==}")), folder(), []string{"Secret x would be deleted; what was rotated does not come back"}},
		{"a Job has run", folder(object("Job", "spec: 1")), folder(), []string{"Job x has run; what it did (a migration?) is not undone"}},
		{"a Job comes back", folder(), folder(object("Job", "spec: 1")), []string{"Job x comes back and would run again"}},
		{"a hook of a chart has run", folder(hooked("b")), folder(hooked("a")), []string{"Pod hook has run"}},
		{"a namespace goes", folder(object("Namespace", "")), folder(), []string{"Namespace x would be deleted, and with it all that is inside"}},
		{"a Service goes", folder(object("Service", "")), folder(), []string{"Service x would be deleted"}},
	} {
		got := releases.Hazards(c.live, c.back)
		if len(got) != len(c.want) || !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
		for _, text := range got {
			if strings.Contains(text, "Yg==") || strings.Contains(text, "YQ==") {
				t.Errorf("%s: a Secret's value is shown: %s", c.name, text)
			}
		}
	}
}
