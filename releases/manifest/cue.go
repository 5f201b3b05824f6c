package manifest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gimletd/releases"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
)

// Expand returns the manifests that CUE sources make; see releases.Renderer. CUE can run for ever, so a worker does it.
func (r *Renderer) Expand(ctx context.Context, sources []string) ([]releases.Manifest, error) {
	if len(sources) == 0 {
		return nil, nil
	}
	select { // one at a time, so that charts have workers whatever is shipped
	case r.expanding <- struct{}{}:
		defer func() { <-r.expanding }()
	case <-time.After(expandWithin):
		return nil, releases.Errorf(releases.Unavailable, "cueEnvironments: others are being evaluated; try again in a moment")
	case <-ctx.Done():
		return nil, releases.Wrap(releases.Unavailable, ctx.Err(), "cueEnvironments: others are being evaluated")
	}
	a, err := r.pool.run(ctx, job{CUE: sources})
	if err != nil {
		return nil, fmt.Errorf("cueEnvironments: %w", err)
	}
	if a.Fault != "" {
		return nil, releases.Errorf(releases.Invalid, "%s", a.Fault)
	}
	var all []releases.Manifest
	for i, list := range a.Expanded {
		manifests, err := releases.DecodeManifests(list, fmt.Sprintf("cueEnvironments[%d].configs", i))
		if err != nil {
			return nil, err
		}
		all = append(all, manifests...)
	}
	return all, nil
}

// Limits of CUE: how long one waits for others, and how much all sources of an artifact may make.
const (
	expandWithin = 20 * time.Second
	maxExpanded  = 2 << 20
)

// expand is what a worker makes of CUE sources: of each, its list `configs` as JSON. https://cuelang.org/docs/reference/spec/
// A source stands for itself: beside CUE's own packages there is nothing that it could import.
func expand(sources []string) answer {
	a, size := answer{}, 0
	for i, source := range sources {
		list, err := evaluate(source)
		if size += len(list); err == nil && size > maxExpanded {
			err = fmt.Errorf("its manifests, and those before, are larger than %d MiB", maxExpanded>>20)
		}
		if err != nil {
			return answer{Fault: fmt.Sprintf("cueEnvironments[%d]: %v", i, err)}
		}
		a.Expanded = append(a.Expanded, list)
	}
	return a
}

func evaluate(source string) ([]byte, error) {
	whole := cuecontext.New().CompileString(source)
	if err := whole.Err(); err != nil {
		return nil, explainCUE(err)
	}
	configs := whole.LookupPath(cue.ParsePath("configs"))
	if !configs.Exists() {
		return nil, fmt.Errorf("configs: missing; it is the list of the manifests")
	}
	if configs.IncompleteKind() != cue.ListKind {
		return nil, fmt.Errorf("configs: is not a list of manifests")
	}
	if err := configs.Validate(cue.Concrete(true)); err != nil {
		return nil, explainCUE(err)
	}
	list, err := configs.MarshalJSON()
	if err != nil {
		return nil, explainCUE(err)
	}
	return versionsAsText(list)
}

// explainCUE is the first thing that is wrong, and where.
func explainCUE(err error) error {
	all := errors.Errors(err)
	if len(all) == 0 {
		return err
	}
	format, args := all[0].Msg()
	text := fmt.Sprintf(format, args...)
	if path := all[0].Path(); len(path) > 0 {
		text = strings.Join(path, ".") + ": " + text
	}
	if at := errors.Positions(all[0]); len(at) > 0 {
		text = fmt.Sprintf("line %d: %s", at[0].Line(), text)
	}
	return fmt.Errorf("%s", text)
}

// versionsAsText makes a text of a chart's version that was written as a number, such as 0.32.
func versionsAsText(list []byte) ([]byte, error) {
	var all []map[string]json.RawMessage
	if err := json.Unmarshal(list, &all); err != nil {
		return nil, fmt.Errorf("configs: is not a list of objects")
	}
	for _, one := range all {
		var chart map[string]json.RawMessage
		if json.Unmarshal(one["chart"], &chart) != nil {
			continue // that it is no chart is said when it is decoded
		}
		var version json.Number
		if json.Unmarshal(chart["version"], &version) != nil || chart["version"][0] == '"' {
			continue
		}
		chart["version"] = []byte(`"` + version.String() + `"`)
		text, err := json.Marshal(chart)
		if err != nil {
			return nil, err
		}
		one["chart"] = text
	}
	return json.Marshal(all)
}
