package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	action     = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	standIn    = regexp.MustCompile(`GIMLETD_ACTION_(\d+)_`)
	plainValue = regexp.MustCompile(`^(-?(0|[1-9][0-9]*)(\.[0-9]+)?|true|false)$`)
)

// raw resolves the variables in a text of YAML documents. The text is parsed with a stand-in for each `{{ … }}`, and
// each scalar that holds some is resolved by itself: whatever a variable holds, it stays inside that scalar. An
// unquoted scalar that becomes a number or a boolean is one, as its author wrote it to be.
func (r *resolver) raw(text string) ([]byte, error) {
	var actions []string
	marked := text
	if strings.Contains(text, "{{") {
		if standIn.MatchString(text) {
			return nil, errors.New("manifests: holds a reserved word, GIMLETD_ACTION_")
		}
		marked = action.ReplaceAllStringFunc(text, func(found string) string {
			actions = append(actions, found)
			return "GIMLETD_ACTION_" + strconv.Itoa(len(actions)-1) + "_"
		})
	}
	var docs []*yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(marked))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("manifests: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" {
			docs = append(docs, &doc)
		}
	}
	if len(docs) == 0 {
		return nil, nil
	}
	if len(actions) == 0 {
		return []byte(text), nil
	}
	return r.resolveDocs(docs, actions)
}

func (r *resolver) resolveDocs(docs []*yaml.Node, actions []string) ([]byte, error) {
	var out bytes.Buffer
	for _, doc := range docs {
		if err := r.node(doc, actions); err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		if err := errors.Join(encoder.Encode(doc), encoder.Close()); err != nil {
			return nil, fmt.Errorf("manifests: %w", err)
		}
	}
	return out.Bytes(), nil
}

func (r *resolver) node(n *yaml.Node, actions []string) error {
	restore := func(text string) string {
		return standIn.ReplaceAllStringFunc(text, func(found string) string {
			i, err := strconv.Atoi(standIn.FindStringSubmatch(found)[1])
			if err != nil || i >= len(actions) {
				return found
			}
			return actions[i]
		})
	}
	n.HeadComment, n.LineComment, n.FootComment = restore(n.HeadComment), restore(n.LineComment), restore(n.FootComment)
	if n.Kind == yaml.ScalarNode && standIn.MatchString(n.Value) {
		text, err := r.text(restore(n.Value))
		if err != nil {
			return fmt.Errorf("manifests: line %d: %w", n.Line, err)
		}
		n.Value, n.Tag = text, "!!str"
		switch {
		case n.Style == 0 && plainValue.MatchString(text):
			n.Tag = ""
		case n.Style == 0:
			n.Style = yaml.DoubleQuotedStyle // YAML 1.1, which Kubernetes reads, has more words for true than this writer knows
		}
	}
	if standIn.MatchString(n.Anchor) || standIn.MatchString(n.Tag) {
		return fmt.Errorf("manifests: line %d: a variable cannot be a YAML anchor or tag", n.Line)
	}
	for _, child := range n.Content {
		if err := r.node(child, actions); err != nil {
			return err
		}
	}
	return nil
}
