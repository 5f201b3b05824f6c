package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gimletd/releases"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"sigs.k8s.io/kustomize/api/filters/patchstrategicmerge"
	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// Patches are applied by kustomize's own filters, object by object. kustomize itself would also fetch what a patch refers to.

// patched are the files with the manifest's patches applied. Files that no patch concerns stay as they are, to the byte.
func (j job) patched(files []releases.File, r *resolver) ([]releases.File, error) {
	m := j.Manifest
	if strings.TrimSpace(m.StrategicMergePatches) == "" && len(m.JSON6902Patches) == 0 {
		return files, nil
	}
	sources, err := readSources(files)
	if err != nil {
		return nil, err
	}
	if err := mergeAll(sources, m.StrategicMergePatches, j.Target.Namespace, r); err != nil {
		return nil, err
	}
	for i, p := range m.JSON6902Patches {
		if err := patchAll(sources, p, r); err != nil {
			return nil, fmt.Errorf("json6902Patches[%d]: %w", i, err)
		}
	}
	var all []releases.File
	for _, s := range sources {
		file, left, err := s.file()
		if err != nil {
			return nil, err
		}
		if left {
			all = append(all, file)
		}
	}
	return all, nil
}

// source is a file with its objects.
type source struct {
	releases.File
	objects []*kyaml.RNode // nil: a patch has deleted it
	touched bool
}

func readSources(files []releases.File) ([]*source, error) {
	var all []*source
	for _, f := range files {
		objects, err := (&kio.ByteReader{Reader: bytes.NewReader(f.Content), OmitReaderAnnotations: true, DisableUnwrapping: true}).Read()
		if err != nil {
			return nil, fmt.Errorf("%s: what is to be patched cannot be read: %w", f.Path, err)
		}
		s := &source{File: f}
		for _, object := range objects {
			s.objects = append(s.objects, listed(object)...)
		}
		all = append(all, s)
	}
	return all, nil
}

// listed are the objects of a list of kind List, or of such as a RoleList, each of which a patch may mean; or the object itself.
// Something else that has items, or in which parts stand for each other, stays one.
func listed(object *kyaml.RNode) []*kyaml.RNode {
	items, err := object.Pipe(kyaml.Lookup("items"))
	if err != nil || items == nil || !strings.HasSuffix(object.GetKind(), "List") || object.GetName() != "" || aliased(object.YNode()) {
		return []*kyaml.RNode{object}
	}
	elements, err := items.Elements()
	isNone := func(e *kyaml.RNode) bool { return e.GetKind() == "" || e.GetApiVersion() == "" }
	if err != nil || slices.ContainsFunc(elements, isNone) {
		return []*kyaml.RNode{object}
	}
	return elements
}

// aliased reports whether a part of the node stands for another.
func aliased(n *kyaml.Node) bool {
	return n.Kind == kyaml.AliasNode || slices.ContainsFunc(n.Content, aliased)
}

// file is what has become of it; left is false when nothing is.
func (s *source) file() (f releases.File, left bool, err error) {
	if !s.touched {
		return s.File, true, nil
	}
	var out bytes.Buffer
	for _, object := range s.objects {
		if object == nil {
			continue
		}
		text, err := object.String()
		if err != nil {
			return f, false, err
		}
		if !strings.HasPrefix(text, "---") {
			out.WriteString("---\n")
		}
		out.WriteString(text)
	}
	if out.Len() > maxOutput {
		return f, false, errTooLarge
	}
	return releases.File{Path: s.Path, Content: out.Bytes()}, out.Len() > 0, nil
}

// each does something with the objects that match, and reports whether there were any. What it returns takes the object's place.
func each(sources []*source, matches func(kyaml.ResourceMeta) bool, do func(*kyaml.RNode) (*kyaml.RNode, error)) (found bool, err error) {
	for _, s := range sources {
		for i, object := range s.objects {
			if object == nil {
				continue
			}
			meta, err := object.GetMeta()
			if err != nil || !matches(meta) { // what is no object is none that a patch could mean
				continue
			}
			found, s.touched = true, true
			if s.objects[i], err = do(object); err != nil {
				return true, err
			}
		}
	}
	return found, nil
}

// mergeAll applies strategic merge patches, each to the object that it names.
func mergeAll(sources []*source, text, namespace string, r *resolver) error {
	const field = "strategicMergePatches"
	resolved, err := r.field(field, text)
	if err != nil {
		return err
	}
	patches, err := (&kio.ByteReader{Reader: bytes.NewReader(resolved), OmitReaderAnnotations: true, DisableUnwrapping: true}).Read()
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	for i, patch := range patches {
		meta, err := patch.GetMeta()
		if err != nil || meta.APIVersion == "" || meta.Kind == "" || meta.Name == "" {
			return fmt.Errorf("%s: patch %d does not say what it is for: it needs apiVersion, kind and metadata.name", field, i+1)
		}
		found, err := each(sources, func(m kyaml.ResourceMeta) bool {
			if m.Namespace == "" { // most charts leave out where they are installed
				m.Namespace = namespace
			}
			return m.APIVersion == meta.APIVersion && m.Kind == meta.Kind && m.Name == meta.Name && (meta.Namespace == "" || m.Namespace == meta.Namespace)
		}, func(object *kyaml.RNode) (*kyaml.RNode, error) {
			merged, err := patchstrategicmerge.Filter{Patch: patch.Copy()}.Filter([]*kyaml.RNode{object})
			if err != nil || len(merged) == 0 {
				return nil, err
			}
			return merged[0], nil
		})
		if err != nil {
			return fmt.Errorf("%s: patch %d: %w", field, i+1, err)
		}
		if !found {
			return fmt.Errorf("%s: patch %d matches nothing: there is no %s %s (%s)", field, i+1, meta.Kind, meta.Name, meta.APIVersion)
		}
	}
	return nil
}

// patchAll applies a JSON patch (RFC 6902) to the objects that its target names. What the target leaves out may be anything.
func patchAll(sources []*source, p releases.JSONPatch, r *resolver) error {
	text, err := r.field("patch", p.Patch)
	if err != nil {
		return err
	}
	asJSON, err := sigsyaml.YAMLToJSON(text)
	if err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	patch, err := jsonpatch.DecodePatch(asJSON)
	if err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	for i, operation := range patch {
		kind := operation.Kind()
		if _, has := operation["value"]; !has && slices.Contains([]string{"add", "replace", "test"}, kind) {
			return fmt.Errorf("patch: operation %d (%s) has no value", i+1, kind)
		}
	}
	target := p.Target
	if target.Name, err = r.text(target.Name); err != nil {
		return fmt.Errorf("target.name: %w", err)
	}
	found, err := each(sources, func(m kyaml.ResourceMeta) bool {
		group, version, grouped := strings.Cut(m.APIVersion, "/")
		if !grouped {
			group, version = "", m.APIVersion
		}
		return m.Kind == target.Kind && m.Name == target.Name && (target.Group == "" || target.Group == group) && (target.Version == "" || target.Version == version)
	}, func(object *kyaml.RNode) (*kyaml.RNode, error) {
		return patchJSON(patch, object)
	})
	if err == nil && !found {
		err = fmt.Errorf("matches nothing: there is no %s %s", target.Kind, target.Name)
	}
	return err
}

// patchJSON applies a patch to an object. kustomize's own filter would have every number go through a float, and 1000680000 come out as
// 1.00068e+09; what the patch leaves alone stays as it is here.
func patchJSON(patch jsonpatch.Patch, object *kyaml.RNode) (patched *kyaml.RNode, err error) {
	errNoObject := errors.New("patch: what it would leave is no object")
	defer func() {
		if recover() != nil { // the library breaks on what replaces the whole by nothing, and such
			err = errNoObject
		}
	}()
	text, err := object.String()
	if err != nil {
		return nil, err
	}
	before, err := sigsyaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, err
	}
	out, err := sigsyaml.JSONToYAML(after)
	if err != nil {
		return nil, err
	}
	if patched, err = kyaml.Parse(string(out)); err == nil && patched.GetKind() == "" {
		err = errNoObject
	}
	return patched, err
}

// field resolves the variables in a field that holds YAML.
func (r *resolver) field(name, text string) ([]byte, error) {
	resolved, err := r.raw(text)
	if err != nil {
		return nil, errors.New(strings.Replace(err.Error(), "manifests:", name+":", 1))
	}
	return resolved, nil
}
