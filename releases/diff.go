package releases

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"go.yaml.in/yaml/v3"
)

// Change is what a plan does to one Kubernetes object, or to a file that holds none.
type Change struct {
	Action string   `json:"action"` // added, changed, removed
	Object string   `json:"object"` // Deployment frontend
	Fields []string `json:"fields,omitempty"`
	Risky  bool     `json:"risky,omitempty"` // a kind, or a removal, that deserves a second look
}

func (c Change) String() string {
	text := c.Action + " " + c.Object
	if len(c.Fields) > 0 {
		text = c.Object + ": " + strings.Join(c.Fields, ", ")
	}
	if c.Risky {
		text += " (!)"
	}
	return text
}

// maxFields is how many changed fields of an object are named; the whole diff has them all.
const maxFields = 4

// Compare lists what becomes of each object between two versions of a folder. Values of Secrets are never part
// of it.
func Compare(before, after []File) []Change {
	old, now := objects(before), objects(after)
	var names []string
	for name := range old {
		names = append(names, name)
	}
	for name := range now {
		if _, both := old[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	changes := []Change{}
	for _, name := range names {
		was, had := old[name]
		is, has := now[name]
		kind, _, _ := strings.Cut(name, " ")
		switch {
		case !had:
			changes = append(changes, Change{Action: "added", Object: name, Risky: riskyKind(kind)})
		case !has:
			changes = append(changes, Change{Action: "removed", Object: name, Risky: true})
		case !reflect.DeepEqual(was, is):
			fields := fieldChanges("", was, is)
			if len(fields) > maxFields {
				fields = append(fields[:maxFields], fmt.Sprintf("and %d more", len(fields)-maxFields))
			}
			changes = append(changes, Change{Action: "changed", Object: name, Fields: fields, Risky: riskyKind(kind)})
		}
	}
	return changes
}

func riskyKind(kind string) bool {
	switch kind {
	case "CustomResourceDefinition", "PersistentVolumeClaim", "Secret", "Namespace", "ClusterRole", "ClusterRoleBinding":
		return true
	}
	return false
}

// objects indexes the documents of the files by kind and name. A file that is not YAML counts as one object.
func objects(files []File) map[string]any {
	found := map[string]any{}
	for _, f := range files {
		if f.Path == ReleaseFile {
			continue
		}
		docs, err := documents(f.Content)
		if err != nil {
			found["file "+f.Path] = string(f.Content)
			continue
		}
		for i, doc := range docs {
			name := objectName(doc)
			if name == "" {
				name = fmt.Sprintf("file %s#%d", f.Path, i+1)
			}
			for base, n := name, 2; found[name] != nil; n++ {
				name = fmt.Sprintf("%s#%d", base, n)
			}
			found[name] = hideSecret(doc)
		}
	}
	return found
}

func documents(content []byte) ([]map[string]any, error) {
	var docs []map[string]any
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc map[string]any
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		if doc != nil {
			docs = append(docs, doc)
		}
	}
}

func objectName(doc map[string]any) string {
	kind, _ := doc["kind"].(string)
	metadata, _ := doc["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if kind == "" || name == "" {
		return ""
	}
	if namespace, _ := metadata["namespace"].(string); namespace != "" {
		name = namespace + "/" + name
	}
	return kind + " " + name
}

// hideSecret replaces the values of a Secret, also of one inside a list of objects, by a fingerprint, so that a change
// shows and the value does not.
func hideSecret(doc map[string]any) map[string]any {
	items, _ := doc["items"].([]any)
	for _, item := range items {
		if object, ok := item.(map[string]any); ok {
			hideSecret(object)
		}
	}
	if doc["kind"] != "Secret" {
		return doc
	}
	for _, section := range []string{"data", "stringData"} {
		values, _ := doc[section].(map[string]any)
		for key, value := range values {
			sum := sha256.Sum256([]byte(fmt.Sprint(value)))
			values[key] = fmt.Sprintf("<hidden, fingerprint %x>", sum[:3])
		}
	}
	return doc
}

func fieldChanges(path string, was, is any) []string {
	if reflect.DeepEqual(was, is) {
		return nil
	}
	oldMap, ok1 := was.(map[string]any)
	newMap, ok2 := is.(map[string]any)
	if ok1 && ok2 {
		var all []string
		names := sortedKeys(oldMap)
		for _, name := range sortedKeys(newMap) {
			if _, both := oldMap[name]; !both {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			all = append(all, fieldChanges(join(path, name), oldMap[name], newMap[name])...)
		}
		return all
	}
	oldList, ok1 := was.([]any)
	newList, ok2 := is.([]any)
	if ok1 && ok2 && len(oldList) == len(newList) {
		var all []string
		for i := range oldList {
			all = append(all, fieldChanges(fmt.Sprintf("%s[%d]", path, i), oldList[i], newList[i])...)
		}
		return all
	}
	return []string{fmt.Sprintf("%s %s → %s", shortPath(path), shortValue(was), shortValue(is))}
}

// shortPath keeps the end of a path, which is what people look for.
func shortPath(path string) string {
	path = strings.TrimPrefix(path, "spec.template.spec.")
	return strings.TrimPrefix(path, "spec.")
}

var longHash = regexp.MustCompile(`\b[0-9a-f]{40}\b`)

func shortValue(value any) string {
	const most = 60
	switch value.(type) {
	case nil:
		return "(none)"
	case map[string]any, []any:
		return "…"
	}
	short := longHash.ReplaceAllStringFunc(Redact(fmt.Sprint(value)), ShortSHA)
	text := []rune(strings.ReplaceAll(short, "\n", "⏎"))
	if len(text) > most {
		return string(text[:most-1]) + "…"
	}
	return string(text)
}

// maxDiff bounds the diff that is kept with a release, in bytes.
const maxDiff = 1 << 20

func shorten(diff string) string {
	if len(diff) <= maxDiff {
		return diff
	}
	return strings.ToValidUTF8(diff[:maxDiff], "") + "\n… the rest is too long to be kept\n"
}

// TextDiff is the unified diff of two versions of a folder, without release.json and with Secrets hidden.
func TextDiff(before, after []File) string {
	var paths []string
	old, now := map[string]string{}, map[string]string{}
	for _, side := range []struct {
		files []File
		into  map[string]string
	}{{before, old}, {after, now}} {
		for _, f := range side.files {
			if f.Path == ReleaseFile {
				continue
			}
			side.into[f.Path] = hideSecrets(f.Content)
			paths = append(paths, f.Path)
		}
	}
	slices.Sort(paths)
	var out strings.Builder
	for _, path := range slices.Compact(paths) {
		from, to := "a/"+path, "b/"+path
		if _, had := old[path]; !had {
			from = "/dev/null"
		}
		if _, has := now[path]; !has {
			to = "/dev/null"
		}
		out.WriteString(udiff.Unified(from, to, old[path], now[path]))
	}
	return out.String()
}

func holdsSecret(doc map[string]any) bool {
	items, _ := doc["items"].([]any)
	return doc["kind"] == "Secret" || slices.ContainsFunc(items, func(item any) bool {
		object, ok := item.(map[string]any)
		return ok && holdsSecret(object)
	})
}

// hideSecrets returns the file as it is unless it holds a Secret; then its documents are written anew without
// the Secret's values. A file that cannot be read and may hold a Secret is not shown at all.
func hideSecrets(content []byte) string {
	if !bytes.Contains(content, []byte("Secret")) {
		return Redact(string(content))
	}
	docs, err := documents(content)
	if err != nil {
		return "# not shown: it cannot be read as YAML and may hold a Secret\n"
	}
	if !slices.ContainsFunc(docs, holdsSecret) {
		return Redact(string(content))
	}
	var out strings.Builder
	for _, doc := range docs {
		text, err := yaml.Marshal(hideSecret(doc))
		if err != nil {
			return "# not shown: it may hold a Secret\n"
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return Redact(out.String())
}
