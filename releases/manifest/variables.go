package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"

	"gimletd/releases"

	"github.com/Masterminds/sprig/v3"
)

// surroundings are the functions of sprig that read the server's environment or network.
func surroundings() []string { return []string{"env", "expandenv", "getHostByName"} }

// nameFunctions are what an app, environment, namespace or chart location may use. They are resolved in the server's
// own process, so none of them can make a large or slow result from a small template.
func nameFunctions() []string {
	return []string{
		"default", "lower", "upper", "trim", "trimAll", "trimPrefix", "trimSuffix", "trunc", "substr", "nospace", "contains",
		"hasPrefix", "hasSuffix", "regexFind", "sha256sum", "ternary", "empty", "coalesce",
	}
}

// functions are what templates may call.
//
//nolint:gochecknoglobals // made once, never changed
var functions = sync.OnceValue(func() template.FuncMap {
	all := sprig.TxtFuncMap()
	for _, name := range surroundings() {
		delete(all, name)
	}
	all["sanitizeDNSName"] = SanitizeDNSName
	return all
})

var notDNS = regexp.MustCompile(`[^a-z0-9]+`)

// SanitizeDNSName makes a DNS-1123 label of a text: lower-case, each run of other characters one `-`, at most 53
// characters (what a Helm release's name may have), no `-` at either end.
func SanitizeDNSName(text string) string {
	const most = 53
	text = strings.Trim(notDNS.ReplaceAllString(strings.ToLower(text), "-"), "-")
	return strings.TrimRight(text[:min(most, len(text))], "-")
}

// resolver resolves variables in single strings.
type resolver struct {
	functions template.FuncMap
	vars      map[string]string
}

func newResolver(vars map[string]string) *resolver {
	return &resolver{functions: functions(), vars: vars}
}

var missingKey = regexp.MustCompile(`map has no entry for key "([^"]*)"`)

// text resolves one string.
func (r *resolver) text(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New("").Option("missingkey=error").Funcs(r.functions).Parse(text)
	if err != nil {
		return "", templateError(text, err)
	}
	return r.execute(t, text)
}

func (r *resolver) execute(t *template.Template, text string) (string, error) {
	var out strings.Builder
	if err := t.Execute(&limited{to: &out, left: maxOutput}, r.vars); err != nil {
		return "", templateError(text, err)
	}
	return out.String(), nil
}

// name resolves a string whose result decides where something goes. Its template may only be plain actions.
func (r *resolver) name(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if len(text) > maxName {
		return "", fmt.Errorf("%q: longer than %d bytes", cut(text), maxName)
	}
	// sprig's replace can make a text many times longer with each use; this one only swaps text for no longer one.
	allowed := template.FuncMap{"sanitizeDNSName": SanitizeDNSName, "replace": replaceShorter}
	for _, name := range nameFunctions() {
		if f, ok := r.functions[name]; ok {
			allowed[name] = f
		}
	}
	t, err := template.New("").Option("missingkey=error").Funcs(allowed).Parse(text)
	if err != nil {
		return "", templateError(text, err)
	}
	if err := plainOnly(t.Root); err != nil {
		return "", fmt.Errorf("%q: %w", text, err)
	}
	return r.execute(t, text)
}

// maxName bounds the template of a name, in bytes.
const maxName = 1000

// replaceShorter has the arguments of sprig's replace.
func replaceShorter(old, with, text string) (string, error) {
	if old == "" || len(with) > len(old) {
		return "", errors.New("replace in names needs a text to replace, and nothing longer in its place")
	}
	return strings.ReplaceAll(text, old, with), nil
}

// plainOnly refuses loops and nested templates, and printf, whose width makes megabytes of three characters.
func plainOnly(list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			if slices.ContainsFunc(node.Pipe.Cmds, func(c *parse.CommandNode) bool { return strings.Contains(c.String(), "printf") }) {
				return errors.New("printf is not available in names")
			}
		case *parse.IfNode:
			if err := errors.Join(plainOnly(node.List), plainOnly(node.ElseList)); err != nil {
				return err
			}
		default:
			return errors.New("loops and nested templates are not available in names")
		}
	}
	return nil
}

func templateError(text string, err error) error {
	if found := missingKey.FindStringSubmatch(err.Error()); found != nil {
		return fmt.Errorf("%q: variable %s is missing", cut(text), found[1])
	}
	return fmt.Errorf("%q: %s", cut(text), strings.TrimPrefix(err.Error(), "template: :1"))
}

func cut(text string) string {
	const most = 120
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// values resolves every string in a JSON object, keys included, and returns the tree.
func (r *resolver) values(raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var tree any
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	return r.tree("values", tree)
}

func (r *resolver) tree(path string, node any) (any, error) {
	switch node := node.(type) {
	case string:
		text, err := r.text(node)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return text, nil
	case []any:
		for i, element := range node {
			resolved, err := r.tree(fmt.Sprintf("%s[%d]", path, i), element)
			if err != nil {
				return nil, err
			}
			node[i] = resolved
		}
		return node, nil
	case map[string]any:
		out := make(map[string]any, len(node))
		for key, value := range node {
			name, err := r.text(key)
			if err != nil {
				return nil, fmt.Errorf("%s: key %w", path, err)
			}
			if _, twice := out[name]; twice {
				return nil, fmt.Errorf("%s: two keys become %q", path, name)
			}
			if out[name], err = r.tree(path+"."+name, value); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return node, nil
}

// target resolves where a manifest goes.
func (r *resolver) target(m releases.Manifest) (releases.Target, error) {
	var t releases.Target
	for _, field := range []struct {
		name string
		text string
		into *string
	}{{"app", m.App, &t.App}, {"env", m.Env, &t.Env}, {"namespace", m.Namespace, &t.Namespace}} {
		resolved, err := r.name(field.text)
		if err != nil {
			return t, fmt.Errorf("%s: %w", field.name, err)
		}
		*field.into = resolved
	}
	return t, t.Validate()
}
