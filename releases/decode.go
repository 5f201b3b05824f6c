package releases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds how deeply an artifact's JSON may nest. Kubernetes objects in the wild stay below 30.
const maxDepth = 100

// DecodeArtifact decodes one JSON artifact. Unknown keys, wrong types, trailing data and excessive nesting are
// Invalid errors that name the path, such as `environments[1].deploy.branch`.
func DecodeArtifact(body []byte) (*Artifact, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, Errorf(Invalid, "the body is empty: expected a release artifact as JSON")
	}
	if err := checkDepth(body); err != nil {
		return nil, err
	}
	var a Artifact
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		return nil, explain(body, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, Errorf(Invalid, "unexpected data after the artifact, at byte %d", decoder.InputOffset())
	}
	return &a, nil
}

// DecodeManifests decodes a JSON list of manifests, as DecodeArtifact does. name is what it is called in errors.
func DecodeManifests(list []byte, name string) ([]Manifest, error) {
	const field = "environments"
	a, err := DecodeArtifact(slices.Concat([]byte(`{"`+field+`": `), list, []byte("}")))
	if err == nil {
		err = a.validateManifests()
	}
	if err != nil {
		text, isIn := strings.CutPrefix(err.Error(), field)
		if !isIn {
			text = ": " + text
		}
		return nil, Errorf(Invalid, "%s%s", name, text)
	}
	return a.Environments, nil
}

func checkDepth(body []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return Errorf(Invalid, "the JSON nests deeper than %d levels at byte %d", maxDepth, i)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// explain turns an error of encoding/json, which knows no list indexes and no paths of unknown keys, into one
// with the path. It decodes a second time, which only bad input pays for.
func explain(body []byte, err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return Errorf(Invalid, "not valid JSON at byte %d: %v", syntax.Offset, syntax)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return Errorf(Invalid, "the JSON ends in the middle, after %d bytes", len(body))
	}
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&tree) == nil {
		if problem := mismatch("", reflect.TypeFor[Artifact](), tree); problem != "" {
			return Errorf(Invalid, "%s", problem)
		}
	}
	return Errorf(Invalid, "not a release artifact: %v", err)
}

// mismatch describes the first place where the tree does not fit the type, or returns "".
func mismatch(path string, t reflect.Type, tree any) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if tree == nil || t == reflect.TypeFor[json.RawMessage]() || t.Kind() == reflect.Interface {
		return ""
	}
	switch t.Kind() {
	case reflect.Struct:
		return mismatchStruct(path, t, tree)
	case reflect.Slice:
		list, ok := tree.([]any)
		if !ok {
			return wrongType(path, "a list", tree)
		}
		for i, element := range list {
			if problem := mismatch(path+"["+strconv.Itoa(i)+"]", t.Elem(), element); problem != "" {
				return problem
			}
		}
	case reflect.Map:
		object, ok := tree.(map[string]any)
		if !ok {
			return wrongType(path, "an object", tree)
		}
		for _, name := range sortedKeys(object) {
			if problem := mismatch(join(path, name), t.Elem(), object[name]); problem != "" {
				return problem
			}
		}
	case reflect.String:
		if _, ok := tree.(string); !ok {
			return wrongType(path, "a string", tree)
		}
	case reflect.Bool:
		if _, ok := tree.(bool); !ok {
			return wrongType(path, "true or false", tree)
		}
	default:
		number, ok := tree.(json.Number)
		if !ok {
			return wrongType(path, "a whole number", tree)
		}
		if _, err := number.Int64(); err != nil {
			return fmt.Sprintf("%s: %s is not a whole number", path, number)
		}
	}
	return ""
}

func mismatchStruct(path string, t reflect.Type, tree any) string {
	object, ok := tree.(map[string]any)
	if !ok {
		return wrongType(path, "an object", tree)
	}
	fields := map[string]reflect.Type{}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields[strings.ToLower(name)] = field.Type
	}
	for _, name := range sortedKeys(object) {
		field, known := fields[strings.ToLower(name)]
		if !known {
			return fmt.Sprintf("%s: unknown key", join(path, name))
		}
		if problem := mismatch(join(path, name), field, object[name]); problem != "" {
			return problem
		}
	}
	return ""
}

func wrongType(path, want string, got any) string {
	have := "a number"
	switch got.(type) {
	case map[string]any:
		have = "an object"
	case []any:
		have = "a list"
	case string:
		have = "a string"
	case bool:
		have = "true or false"
	}
	if path == "" {
		path = "the artifact"
	}
	return fmt.Sprintf("%s: expected %s, got %s", path, want, have)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func sortedKeys(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
