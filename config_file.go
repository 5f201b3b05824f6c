package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gimletd/releases"

	"go.yaml.in/yaml/v3"
)

// document is a configuration file that is being read.
type document struct {
	file   string
	root   *yaml.Node
	faults []located
}

// located is a fault and its line; 0 when only the text knows it.
type located struct {
	line int
	text string
}

func (d *document) fault(line int, path string, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	d.faults = append(d.faults, located{line, fmt.Sprintf("%s:%d: %s", d.file, line, text)})
}

func (d *document) err() error {
	if len(d.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(d.faults, func(a, b located) int { return a.line - b.line })
	var lines []string
	for _, f := range d.faults {
		lines = append(lines, f.text)
	}
	return errors.New(strings.Join(lines, "\n"))
}

var envReference = regexp.MustCompile(`\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME} in every value; $$ is a dollar sign.
func (d *document) expand(n *yaml.Node, env func(string) (string, bool)) {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "$") {
		n.Value = envReference.ReplaceAllStringFunc(n.Value, func(found string) string {
			if found == "$$" {
				return "$"
			}
			name := found[2 : len(found)-1]
			value, ok := env(name)
			if !ok {
				d.fault(n.Line, "", "the environment variable %s is not set", name)
			}
			return value
		})
	}
	for _, child := range n.Content {
		d.expand(child, env)
	}
}

// unknown reports keys that the type does not have, with the nearest that it has.
func (d *document) unknown(path string, n *yaml.Node, t reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		for i, child := range n.Content {
			d.unknown(path+"["+strconv.Itoa(i)+"]", child, t.Elem())
		}
	case t.Kind() == reflect.Map && n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			d.unknown(under(path, n.Content[i].Value), n.Content[i+1], t.Elem())
		}
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		known := map[string]reflect.Type{}
		for field := range t.Fields() {
			known[field.Tag.Get("yaml")] = field.Type
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			field, ok := known[key.Value]
			if !ok {
				d.fault(key.Line, under(path, key.Value), "unknown key%s", nearest(key.Value, sortedNames(known)))
				continue
			}
			d.unknown(under(path, key.Value), n.Content[i+1], field)
		}
	}
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// nearest names the known key that was likely meant.
func nearest(word string, known []string) string {
	best, least := "", 4
	for _, k := range known {
		if n := distance(strings.ToLower(word), strings.ToLower(k)); n < least {
			best, least = k, n
		}
	}
	if best == "" {
		return "; there are: " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func (d *document) decode(c *Config) {
	err := d.root.Decode(c)
	var wrong *yaml.TypeError
	switch {
	case errors.As(err, &wrong):
		for _, text := range wrong.Errors {
			d.faults = append(d.faults, located{text: d.file + ":" + strings.TrimPrefix(text, "line ")})
		}
	case err != nil:
		d.faults = append(d.faults, located{text: d.file + ": " + err.Error()})
	}
}

// readSecrets fills each secret x from the file that xFile names.
func (d *document) readSecrets(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			d.readSecrets(path+"["+strconv.Itoa(i)+"]", v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(key))
			d.readSecrets(under(path, key.String()), element)
			v.SetMapIndex(key, element)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			d.readSecrets(path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Type != reflect.TypeFor[releases.Secret]() {
				d.readSecrets(under(path, field.Tag.Get("yaml")), v.Field(i))
				continue
			}
			d.readSecret(under(path, field.Tag.Get("yaml")), v.Field(i), v.FieldByName(field.Name+"File").String())
		}
	default: // holds no secret
	}
}

func (d *document) readSecret(path string, into reflect.Value, file string) {
	if file == "" {
		return
	}
	if into.String() != "" && into.Len() > 0 {
		d.fault(d.line(path), path, "is set, and %sFile too: one of them", path)
		return
	}
	text, err := os.ReadFile(file) //nolint:gosec // the path is what the operator configured
	switch {
	case err != nil:
		d.fault(d.line(path+"File"), path+"File", "%v", err)
	case strings.TrimSpace(string(text)) == "":
		d.fault(d.line(path+"File"), path+"File", "%s is empty", file)
	default:
		into.SetString(strings.TrimSpace(string(text)))
	}
}

func (d *document) check(faults []fault) {
	for _, f := range faults {
		path := f.path
		// A package's own fault begins with the key under its path.
		if key, _, ok := strings.Cut(f.err.Error(), ": "); ok && !strings.ContainsAny(key, " \"") {
			d.fault(d.line(path+"."+key), "", "%s.%v", path, f.err)
			continue
		}
		d.fault(d.line(path), path, "%v", f.err)
	}
}

// line is where the path stands in the file, or the nearest part of it that does.
func (d *document) line(path string) int {
	if len(d.root.Content) == 0 {
		return 1
	}
	n, line := d.root.Content[0], 1
	for part := range strings.SplitSeq(strings.ReplaceAll(path, "[", "."), ".") {
		if i, err := strconv.Atoi(strings.TrimSuffix(part, "]")); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			n = n.Content[i]
			line = n.Line
			continue
		}
		found := false
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				line, n, found = n.Content[i].Line, n.Content[i+1], true
				break
			}
		}
		if !found {
			return line
		}
	}
	return line
}
