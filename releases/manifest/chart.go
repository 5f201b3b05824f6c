package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/provenance"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

// document is one object of a rendered chart and the template that it came from.
type document struct {
	source  string
	content string
	hook    bool
}

func (d document) String() string { return "---\n# Source: " + d.source + "\n" + d.content + "\n" }

// cluster is what charts are told of the cluster that they are rendered for.
type cluster struct {
	KubeVersion string
	APIVersions []string
}

// renderChart renders the chart as `helm template NAME CHART --include-crds` does, in its order: CRDs, then manifests
// in the order of installation, then hooks.
func renderChart(location, name, namespace string, values any, c cluster) ([]document, error) {
	ch, err := loader.Load(location)
	if err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	vals, err := helmValues(values)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(c)
	if err != nil {
		return nil, err
	}
	if err := installable(ch, name, caps); err != nil {
		return nil, fmt.Errorf("chart %s: %w", ch.Name(), err)
	}
	if err := chartutil.ProcessDependenciesWithMerge(ch, vals); err != nil {
		return nil, fmt.Errorf("chart %s: %w", ch.Name(), err)
	}
	if err := refuseRemoteSchemas(ch); err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: name, Namespace: namespace, Revision: 1, IsInstall: true}
	input, err := chartutil.ToRenderValuesWithSchemaValidation(ch, vals, options, caps, false)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", ch.Name(), err)
	}
	rendered, err := engine.Engine{}.Render(ch, input)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", ch.Name(), err)
	}
	return inOrder(ch, rendered)
}

// chartDigest is a SHA-256: of an archive, or of all the files that make a chart in a folder.
func chartDigest(location string) (string, error) {
	info, err := os.Stat(location)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return provenance.DigestFile(location)
	}
	ch, err := loader.LoadDir(location)
	if err != nil {
		return "", err
	}
	slices.SortFunc(ch.Raw, func(a, b *chart.File) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, f := range ch.Raw {
		fmt.Fprintf(h, "%d %s %d ", len(f.Name), f.Name, len(f.Data))
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// helmValues brings the values into the form in which the helm command reads a values file: numbers as it sees them.
func helmValues(values any) (map[string]any, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	vals := map[string]any{}
	if err := yaml.Unmarshal(text, &vals); err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	if vals == nil {
		vals = map[string]any{}
	}
	return vals, nil
}

func capabilities(c cluster) (*chartutil.Capabilities, error) {
	caps := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(c.KubeVersion)
	if err != nil {
		return nil, fmt.Errorf("kubeVersion %q: %w", c.KubeVersion, err)
	}
	caps.KubeVersion = *version
	caps.APIVersions = append(caps.APIVersions, c.APIVersions...)
	return caps, nil
}

// installable makes the checks that the helm command makes before it renders.
func installable(ch *chart.Chart, name string, caps *chartutil.Capabilities) error {
	if err := chartutil.ValidateReleaseName(name); err != nil {
		return fmt.Errorf("the app's name cannot be a Helm release: %w", err)
	}
	if kind := ch.Metadata.Type; kind != "" && kind != "application" {
		return fmt.Errorf("it is a %s chart, which cannot be released by itself", kind)
	}
	if want := ch.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, caps.KubeVersion.String()) {
		return fmt.Errorf("it needs Kubernetes %s, the environment has %s (kubeVersion in the configuration)", want, caps.KubeVersion)
	}
	have := map[string]bool{}
	for _, sub := range ch.Dependencies() {
		have[sub.Metadata.Name] = true
	}
	var missing []string
	for _, need := range ch.Metadata.Dependencies {
		if !have[need.Name] {
			missing = append(missing, need.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("its charts/ folder lacks the dependencies %s (helm dependency build)", strings.Join(missing, ", "))
	}
	return nil
}

func inOrder(ch *chart.Chart, rendered map[string]string) ([]document, error) {
	for name := range rendered {
		if path.Base(name) == "NOTES.txt" || strings.HasSuffix(name, "NOTES.txt") {
			delete(rendered, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(rendered, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("chart %s renders something that is not a Kubernetes object: %w", ch.Name(), err)
	}
	var docs []document
	for _, crd := range ch.CRDObjects() {
		docs = append(docs, document{source: crd.Filename, content: string(crd.File.Data)})
	}
	for _, m := range manifests {
		docs = append(docs, document{source: m.Name, content: m.Content})
	}
	for _, h := range hooks {
		docs = append(docs, document{source: h.Path, content: h.Manifest, hook: true})
	}
	return docs, nil
}

// refuseRemoteSchemas keeps a chart's values.schema.json from making the validator read files or call out: a
// reference may only point into the schema itself.
func refuseRemoteSchemas(ch *chart.Chart) error {
	for _, sub := range ch.Dependencies() {
		if err := refuseRemoteSchemas(sub); err != nil {
			return err
		}
	}
	if len(ch.Schema) == 0 {
		return nil
	}
	var schema any
	if err := json.Unmarshal(ch.Schema, &schema); err != nil {
		return fmt.Errorf("chart %s: values.schema.json: %w", ch.Name(), err)
	}
	if err := localReferences(schema); err != nil {
		return fmt.Errorf("chart %s: values.schema.json: %w", ch.Name(), err)
	}
	return nil
}

func localReferences(node any) error {
	switch node := node.(type) {
	case []any:
		for _, element := range node {
			if err := localReferences(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, value := range node {
			text, isText := value.(string)
			switch {
			case isText && (key == "$ref" || key == "$dynamicRef" || key == "$recursiveRef") && !strings.HasPrefix(text, "#"):
				return fmt.Errorf("%s %q points outside the schema, which is not followed", key, text)
			case isText && key == "$schema" && !knownMetaSchema(text):
				return fmt.Errorf("$schema %q is not one that is known", text)
			}
			if err := localReferences(value); err != nil {
				return err
			}
		}
	}
	return nil
}

func knownMetaSchema(url string) bool {
	url = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://"), "#")
	switch url {
	case "json-schema.org/draft-04/schema", "json-schema.org/draft-06/schema", "json-schema.org/draft-07/schema",
		"json-schema.org/draft/2019-09/schema", "json-schema.org/draft/2020-12/schema", "json-schema.org/schema":
		return true
	}
	return false
}

var errTooLarge = errors.New("the output is larger than 16 MiB")
