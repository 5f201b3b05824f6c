package manifest

import "strings"

// ResolveRaw is what a worker does with raw YAML.
func ResolveRaw(text string, vars map[string]string) ([]byte, error) {
	return newResolver(vars).raw(text)
}

// Template prints the chart as `helm template` does.
func Template(location, name, namespace string, values any, kubeVersion string, apis []string) (string, error) {
	docs, err := renderChart(location, name, namespace, values, cluster{kubeVersion, apis})
	var manifests, hooks strings.Builder
	for _, d := range docs {
		if d.hook {
			hooks.WriteString(d.String())
		} else {
			manifests.WriteString(d.String())
		}
	}
	return strings.TrimSpace(manifests.String()) + "\n" + hooks.String(), err
}
