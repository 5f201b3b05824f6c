package releases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Limits of what an artifact may hold, beside the size of the body.
const (
	maxEnvironments = 200
	maxCUE          = 20
	maxName         = 250 // repository, branch, tag: what git hosts allow
	maxText         = 64 << 10
)

var (
	dns1123Label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	shaPattern   = regexp.MustCompile(`^[0-9A-Za-z]{8,64}$`)
)

// Validate checks every field that does not depend on variables and returns the first fault with its path.
func (a *Artifact) Validate() error {
	if err := a.Version.validate(); err != nil {
		return err
	}
	if len(a.CueEnvironments) > maxCUE {
		return Errorf(Invalid, "cueEnvironments: %d sources, at most %d fit in one artifact", len(a.CueEnvironments), maxCUE)
	}
	return a.validateManifests()
}

func (a *Artifact) validateManifests() error {
	if len(a.Environments) > maxEnvironments {
		return Errorf(Invalid, "environments: %d manifests, at most %d fit in one artifact", len(a.Environments), maxEnvironments)
	}
	for i := range a.Environments {
		if err := a.Environments[i].validate(); err != nil {
			return Errorf(Invalid, "environments[%d].%v", i, err)
		}
	}
	return nil
}

func (v *Version) validate() error {
	switch {
	case v.RepositoryName == "":
		return Errorf(Invalid, "version.repositoryName: missing")
	case !printable(v.RepositoryName) || strings.ContainsAny(v.RepositoryName, " ?#%"):
		return Errorf(Invalid, "version.repositoryName: %q has characters that a repository's name cannot have", v.RepositoryName)
	case v.SHA == "":
		return Errorf(Invalid, "version.sha: missing")
	case !shaPattern.MatchString(v.SHA):
		return Errorf(Invalid, "version.sha: %q is not a commit hash of 8 to 64 letters and digits", v.SHA)
	case v.Created < 0:
		return Errorf(Invalid, "version.created: %d is not a time in Unix seconds", v.Created)
	}
	if err := v.Event.normalize(); err != nil {
		return Errorf(Invalid, "version.event: %v", err)
	}
	for _, field := range []struct {
		name, value string
		limit       int
	}{
		{"repositoryName", v.RepositoryName, maxName},
		{"branch", v.Branch, maxName},
		{"tag", v.Tag, maxName},
		{"sourceBranch", v.SourceBranch, maxName},
		{"targetBranch", v.TargetBranch, maxName},
		{"authorName", v.AuthorName, maxName},
		{"authorEmail", v.AuthorEmail, maxName},
		{"committerName", v.CommitterName, maxName},
		{"committerEmail", v.CommitterEmail, maxName},
		{"message", v.Message, maxText},
		{"url", v.URL, 2048},
	} {
		if len(field.value) > field.limit {
			return Errorf(Invalid, "version.%s: %d bytes, at most %d are kept", field.name, len(field.value), field.limit)
		}
		if field.name != "message" && !printable(field.value) {
			return Errorf(Invalid, "version.%s: has control characters", field.name)
		}
	}
	return nil
}

func (m *Manifest) validate() error {
	switch {
	case m.App == "":
		return fmt.Errorf("app: missing")
	case m.Env == "":
		return fmt.Errorf("env: missing")
	case m.Chart.Name == "" && m.Manifests == "":
		return fmt.Errorf("chart.name: missing, and there are no raw manifests either: nothing to release")
	case m.Chart.Name == "" && (m.Chart.Repository != "" || m.Chart.Version != ""):
		return fmt.Errorf("chart.name: missing")
	}
	if values := bytes.TrimSpace(m.Values); len(values) > 0 && values[0] != '{' && !bytes.Equal(values, []byte("null")) {
		return fmt.Errorf("values: expected an object")
	}
	for i, p := range m.JSON6902Patches {
		for _, field := range []struct{ name, value string }{{"patch", p.Patch}, {"target.kind", p.Target.Kind}, {"target.name", p.Target.Name}} {
			if field.value == "" {
				return fmt.Errorf("json6902Patches[%d].%s: missing", i, field.name)
			}
		}
	}
	if err := m.Deploy.Validate(); err != nil {
		return err
	}
	return m.Cleanup.validate()
}

func (c *Cleanup) validate() error {
	switch {
	case c == nil:
		return nil
	case c.App == "":
		return fmt.Errorf("cleanup.app: missing; which app goes with the branch?")
	case c.Event != BranchDeleted && c.Event != "":
		return fmt.Errorf("cleanup.event: unknown event %q: expected %s", c.Event, BranchDeleted)
	case c.Branch == "":
		return fmt.Errorf("cleanup.branch: missing; \"*\" is every branch")
	}
	if err := CheckGlob(c.Branch); err != nil {
		return fmt.Errorf("cleanup.branch: %w", err)
	}
	return nil
}

// Validate returns the first fault of a deploy policy, with the field.
func (d *Deploy) Validate() error {
	if d == nil {
		return nil
	}
	if err := d.Event.normalize(); err != nil {
		return fmt.Errorf("deploy.event: %w", err)
	}
	for _, pattern := range []struct{ field, glob string }{{"branch", d.Branch}, {"tag", d.Tag}} {
		if pattern.glob == "" {
			continue
		}
		if err := CheckGlob(pattern.glob); err != nil {
			return fmt.Errorf("deploy.%s: %w", pattern.field, err)
		}
	}
	for i, glob := range d.CommitMessagePatterns {
		if err := CheckGlob(glob); err != nil {
			return fmt.Errorf("deploy.commitMessagePatterns[%d]: %w", i, err)
		}
	}
	return nil
}

// Validate checks that the names are DNS-1123 labels, so that they can be folder names and Kubernetes names.
func (t Target) Validate() error {
	for _, field := range []struct{ name, value string }{{"app", t.App}, {"env", t.Env}, {"namespace", t.Namespace}} {
		if field.name == "namespace" && field.value == "" {
			continue
		}
		if !dns1123Label.MatchString(field.value) {
			return fmt.Errorf("%s: %q is not a DNS-1123 label (lower-case letters, digits and '-', at most 63)", field.name, field.value)
		}
	}
	return nil
}

func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// content is the artifact's JSON without what the server assigns: the same release shipped twice has the same.
func (a *Artifact) content() ([]byte, error) {
	bare := *a
	bare.ID, bare.Created = "", 0
	return json.Marshal(&bare)
}
