package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// draft is an artifact in a file, before it is shipped. Whatever is in it already stays as it is, to the letter: a number that no float
// can hold, or what a later client knows.
type draft map[string]json.RawMessage

func readDraft(file string) (d draft, err error) {
	text, err := os.ReadFile(file) //nolint:gosec // the path is what the operator gave
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &d); err != nil || d["version"] == nil {
		return nil, fmt.Errorf("%s is no artifact such as `artifact create` begins: %w", file, cmp.Or(err, errors.New("it has no version")))
	}
	return d, nil
}

// put sets a field.
func (d draft) put(field string, value any) error {
	text, err := json.Marshal(value)
	d[field] = text
	return err
}

// edit changes a field, which is of its zero value when it is not there.
func edit[T any](d draft, field string, change func(T) T) error {
	var value T
	if text, ok := d[field]; ok {
		if err := json.Unmarshal(text, &value); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return d.put(field, change(value))
}

// add appends to a field that is a list.
func (d draft) add(field string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return edit(d, field, func(all []json.RawMessage) []json.RawMessage { return append(all, text) })
}

// set adds to a field of names and values.
func (d draft) set(field string, values map[string]string) error {
	return edit(d, field, func(all map[string]json.RawMessage) map[string]json.RawMessage {
		if all == nil {
			all = map[string]json.RawMessage{}
		}
		for name, value := range values {
			all[name], _ = json.Marshal(value) // a string always can be
		}
		return all
	})
}

// write writes all of it or, when that fails, nothing.
func (d draft) write(file string) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if at, err := filepath.EvalSymlinks(file); err == nil {
		file = at
	}
	if there, err := os.Stat(file); err == nil && !there.Mode().IsRegular() { // a pipe, or /dev/stdout
		return os.WriteFile(file, text, 0)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".artifact-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

type artifactAdd struct {
	File     string   `short:"f" help:"The file." required:"" type:"existingfile"`
	Field    []string `help:"What CI wants to say: name=value. All of one call are one item, such as a name and a url." placeholder:"K=V" sep:"none"`
	EnvFile  []string `help:"A manifest, or several in one file: YAML, or CUE." name:"envFile" type:"existingfile" placeholder:"FILE" sep:"none"`
	Var      []string `help:"A variable of manifests: NAME=value." placeholder:"K=V" sep:"none"`
	VarsFile []string `help:"A file of variables: NAME=value in each line." name:"varsFile" type:"existingfile" placeholder:"FILE" sep:"none"`
}

// Run adds to the file.
func (a artifactAdd) Run() error {
	d, err := readDraft(a.File)
	if err != nil {
		return err
	}
	item := map[string]string{}
	if err := readPairs(a.Field, "name=value", item); err != nil {
		return fmt.Errorf("--field: %w", err)
	}
	if len(item) > 0 {
		if err := d.add("items", item); err != nil {
			return err
		}
	}
	vars := map[string]string{}
	for _, file := range a.VarsFile {
		if err := readVars(file, vars); err != nil {
			return err
		}
	}
	if err := readPairs(a.Var, "NAME=value", vars); err != nil {
		return fmt.Errorf("--var: %w", err)
	}
	if len(vars) > 0 {
		if err := d.set("vars", vars); err != nil {
			return err
		}
	}
	for _, file := range a.EnvFile {
		if err := d.addManifests(file); err != nil {
			return err
		}
	}
	return d.write(a.File)
}

// readPairs reads what is of the form, such as NAME=value.
func readPairs(all []string, form string, into map[string]string) error {
	for _, pair := range all {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not %s", pair, form)
		}
		into[name] = value
	}
	return nil
}

// readVars reads lines of NAME=value; a value may be quoted, a line may be a comment.
func readVars(file string, into map[string]string) error {
	f, err := os.Open(file) //nolint:gosec // the path is what the operator gave
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	scanner := bufio.NewScanner(f)
	const longest = 1 << 20
	scanner.Buffer(nil, longest)
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimPrefix(strings.TrimSpace(scanner.Text()), "export ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" {
			return fmt.Errorf("%s:%d: %q is not NAME=value", file, n, line)
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		} else if len(value) > 1 && value[0] == '\'' && value[len(value)-1] == '\'' {
			value = value[1 : len(value)-1]
		}
		into[strings.TrimSpace(name)] = value
	}
	return scanner.Err()
}

// addManifests adds each manifest of a file. Their variables are resolved by the server.
func (d draft) addManifests(file string) error {
	text, err := os.ReadFile(file) //nolint:gosec // the path is what the operator gave
	if err != nil {
		return err
	}
	if filepath.Ext(file) == ".cue" {
		return d.add("cueEnvironments", string(text))
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for n := 0; ; n++ {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s: is empty", file)
		case err != nil:
			return fmt.Errorf("%s: is not a manifest: %w", file, err)
		}
		manifest, err := asJSON(&document)
		if err != nil {
			return fmt.Errorf("%s: manifest %d: %w", file, n+1, err)
		}
		if string(manifest) == "null" {
			continue
		}
		if err := d.add("environments", manifest); err != nil {
			return err
		}
	}
}

// asJSON reads YAML as Helm reads values.
func asJSON(document *yaml.Node) (json.RawMessage, error) {
	text, err := yaml.Marshal(document)
	if err != nil {
		return nil, err
	}
	return sigsyaml.YAMLToJSONStrict(text)
}
