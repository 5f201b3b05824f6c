package releases

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Hazards says why going from what is live back to earlier files may not bring back what was: what they cannot undo, and
// what they would destroy. It looks at the objects themselves, whatever made them.
func Hazards(live, back []File) (all []string) {
	now, then := objects(live), objects(back)
	for _, name := range sortedKeys(now) {
		kind, _, _ := strings.Cut(name, " ")
		is, was := now[name], then[name]
		if reflect.DeepEqual(is, was) {
			continue
		}
		if text := hazard(kind, name, is, was); text != "" {
			all = append(all, text)
		}
	}
	for _, name := range sortedKeys(then) {
		kind, _, _ := strings.Cut(name, " ")
		if now[name] == nil && isJob(kind, then[name]) {
			all = append(all, fmt.Sprintf("%s comes back and would run again", name))
		}
	}
	return all
}

// hazardsBack are those of taking a plan back; there is no way back to nothing.
func hazardsBack(planned []File, was Folder) []string {
	if was.Tree == "" {
		return nil
	}
	return Hazards(planned, was.Files)
}

// hazard says what is dangerous about an object that changes back, or, when was is nil, would be deleted.
func hazard(kind, name string, is, was any) string {
	gone := was == nil
	switch {
	case kind == "CustomResourceDefinition" && gone:
		return fmt.Sprintf("%s would be deleted, and with it every object of its kind", name)
	case kind == "CustomResourceDefinition":
		return fmt.Sprintf("%s goes back; objects that were written since may not fit it", name)
	case kind == "PersistentVolumeClaim" && gone:
		return fmt.Sprintf("%s would be deleted, and its data may be lost", name)
	case kind == "PersistentVolumeClaim":
		return fmt.Sprintf("%s goes back; volumes do not shrink, and its data stays as it is", name)
	case isJob(kind, is):
		return fmt.Sprintf("%s has run; what it did (a migration?) is not undone", name)
	case kind == "Secret" && gone:
		return fmt.Sprintf("%s would be deleted; what was rotated does not come back", name)
	case kind == "Secret":
		return fmt.Sprintf("%s goes back to earlier values, which may have been rotated", name)
	case kind == "Namespace" && gone:
		return fmt.Sprintf("%s would be deleted, and with it all that is inside", name)
	case gone:
		return fmt.Sprintf("%s would be deleted", name)
	case kind == "StatefulSet" && !reflect.DeepEqual(dig(is, "spec", "volumeClaimTemplates"), dig(was, "spec", "volumeClaimTemplates")):
		return fmt.Sprintf("the volume claims of %s differ; Kubernetes refuses to change them", name)
	case kind == "StatefulSet" && !reflect.DeepEqual(dig(is, "spec", "template"), dig(was, "spec", "template")):
		return fmt.Sprintf("the pods of %s go back, the data on their volumes does not", name)
	}
	return ""
}

// isJob tells what runs once: a Job, or a hook of a chart.
func isJob(kind string, object any) bool {
	annotations, _ := dig(object, "metadata", "annotations").(map[string]any)
	return kind == "Job" || slices.ContainsFunc(sortedKeys(annotations), func(key string) bool {
		return key == "helm.sh/hook" || key == "argocd.argoproj.io/hook"
	})
}

// dig is object[a][b], or nil.
func dig(object any, a, b string) any {
	outer, _ := object.(map[string]any)
	inner, _ := outer[a].(map[string]any)
	return inner[b]
}
