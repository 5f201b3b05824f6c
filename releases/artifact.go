package releases

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Artifact is what CI ships for one releasable version. Its JSON is the wire format of Gimlet's clients.
type Artifact struct {
	ID              string            `json:"id"`
	Created         int64             `json:"created"` // Unix seconds, set by the server
	Version         Version           `json:"version"`
	Context         map[string]string `json:"context,omitempty"`
	Environments    []Manifest        `json:"environments"`
	CueEnvironments []string          `json:"cueEnvironments,omitempty"`
	Items           []map[string]any  `json:"items,omitempty"`
	Vars            map[string]string `json:"vars,omitempty"`
}

// Event is what happened in the source repository.
type Event string

// The events a Version may name; an absent one means EventPush.
const (
	EventPush Event = "push"
	EventTag  Event = "tag"
	EventPR   Event = "pr"
)

// Version says which commit of the source repository an artifact was built from.
type Version struct {
	RepositoryName string `json:"repositoryName"`
	SHA            string `json:"sha"`
	Created        int64  `json:"created,omitempty"` // Unix seconds of the commit; 0 when CI did not say
	Branch         string `json:"branch"`
	Event          Event  `json:"event,omitempty"`
	SourceBranch   string `json:"sourceBranch,omitempty"`
	TargetBranch   string `json:"targetBranch,omitempty"`
	Tag            string `json:"tag,omitempty"`
	AuthorName     string `json:"authorName"`
	AuthorEmail    string `json:"authorEmail"`
	CommitterName  string `json:"committerName"`
	CommitterEmail string `json:"committerEmail"`
	Message        string `json:"message"`
	URL            string `json:"url"`
}

// Short is how people see the version: the tag, or the first seven characters of the SHA.
func (v Version) Short() string {
	if v.Tag != "" {
		return v.Tag
	}
	return ShortSHA(v.SHA)
}

// ShortSHA is the first seven characters of a hash.
func ShortSHA(sha string) string { return sha[:min(7, len(sha))] }

// Manifest is one app in one environment: what to render, and when to release it by itself.
type Manifest struct {
	App                   string          `json:"app"`
	Env                   string          `json:"env"`
	Namespace             string          `json:"namespace"`
	Deploy                *Deploy         `json:"deploy,omitempty"`
	Cleanup               *Cleanup        `json:"cleanup,omitempty"`
	Preview               *bool           `json:"preview,omitempty"`
	Chart                 Chart           `json:"chart"`
	Values                json.RawMessage `json:"values"` // an object or null
	StrategicMergePatches string          `json:"strategicMergePatches"`
	JSON6902Patches       []JSONPatch     `json:"json6902Patches"`
	Manifests             string          `json:"manifests"` // raw YAML documents
}

// Deploy is a manifest's own policy: it releases every artifact that matches all that it names.
type Deploy struct {
	Tag                   string   `json:"tag,omitempty"`
	Branch                string   `json:"branch,omitempty"`
	Event                 Event    `json:"event,omitempty"`
	CommitMessagePatterns []string `json:"commitMessagePatterns,omitempty"`
}

// Cleanup says which app goes when a branch is deleted.
type Cleanup struct {
	App    string `json:"app"`
	Event  string `json:"event"` // branchDeleted
	Branch string `json:"branch"`
}

// Chart names a Helm chart.
type Chart struct {
	Repository string `json:"repository"`
	Name       string `json:"name"`
	Version    string `json:"version"`
}

// BranchDeleted is the event of a Cleanup, the only one that there is.
const BranchDeleted = "branchDeleted"

// HeadBranch is the branch that the commit is on: of a pull request, the one that it comes from.
func (v Version) HeadBranch() string {
	if v.Event == EventPR && v.SourceBranch != "" {
		return v.SourceBranch
	}
	return v.Branch
}

// preview reports whether the manifest's releases from a branch are previews: they go when the branch does.
func (m Manifest) preview(branch string) bool {
	if m.Preview != nil && *m.Preview {
		return true
	}
	own := func(app string) string { return strings.Join(strings.Fields(app), "") }
	return m.Cleanup != nil && own(m.Cleanup.App) == own(m.App) && matchOne(m.Cleanup.Branch, branch)
}

// JSONPatch is an RFC 6902 patch and the object that it is for.
type JSONPatch struct {
	Patch  string      `json:"patch"`
	Target PatchTarget `json:"target"`
}

// PatchTarget names a Kubernetes object.
type PatchTarget struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
}

// Variables are what the manifests of the artifact may refer to: the context, then every string in the items,
// then vars; a later one wins.
func (a *Artifact) Variables() map[string]string {
	vars := make(map[string]string, len(a.Context)+len(a.Vars)+4)
	maps.Copy(vars, a.Context)
	for _, item := range a.Items {
		for name, value := range item {
			if text, ok := value.(string); ok {
				vars[name] = text
			}
		}
	}
	maps.Copy(vars, a.Vars)
	return vars
}

// Target is where a manifest goes, its variables resolved.
type Target struct {
	App       string `json:"app"`
	Env       string `json:"env"`
	Namespace string `json:"namespace,omitempty"`
}

func (t Target) String() string { return t.App + " in " + t.Env }

// Shipped is an artifact as it is remembered: with where its manifests go, and what the policies said of it.
type Shipped struct {
	Artifact
	Key       Key        `json:"-"`
	Expanded  []Manifest `json:"-"` // what the CUE sources made
	Speaks    []string   `json:"-"` // globs of the source repositories that who shipped it speaks for; any without
	Targets   []Target   `json:"-"` // one for each of Manifests, in order
	Decisions []Decision `json:"-"`
	Dropped   []string   `json:"-"` // names of variables that looked like secrets
	mark      *Mark      // that it gets when it comes in
}

// Manifests are all of the artifact: those that were shipped as they are, and those that its CUE sources made.
func (s *Shipped) Manifests() []Manifest { return slices.Concat(s.Environments, s.Expanded) }

// Manifest returns the manifest for the app and environment.
func (s *Shipped) Manifest(app, env string) (Manifest, Target, error) {
	for i, t := range s.Targets {
		if t.App == app && t.Env == env {
			return s.Manifests()[i], t, nil
		}
	}
	return Manifest{}, Target{}, Errorf(NotFound, "artifact %s has no manifest for %s in %s", s.ID, app, env)
}

// family names what the previews of one manifest share, whatever their branch; "" for what is no preview.
func (s *Shipped) family(app, env string) string {
	m, _, err := s.Manifest(app, env)
	if err != nil || !m.preview(s.Version.HeadBranch()) {
		return ""
	}
	return s.Version.RepositoryName + " " + m.App
}

// Key orders records: nanoseconds since 1970 of their arrival, made unique and never going backwards.
type Key uint64

// Time is when the record arrived, in UTC.
func (k Key) Time() time.Time { return time.Unix(0, int64(k)).UTC() }

// KeyAt is the smallest key of the moment.
func KeyAt(t time.Time) Key { return Key(max(0, t.UnixNano())) }

func (e *Event) normalize() error {
	switch *e {
	case "", EventPush, EventTag, EventPR:
		return nil
	default:
		return fmt.Errorf("unknown event %q: expected push, tag or pr", string(*e))
	}
}
