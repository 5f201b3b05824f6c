package releases

import (
	"context"
	"time"
)

// Repository is one GitOps repository. There is one writer for it in a process.
type Repository interface {
	// Read returns the folder as it is at the newest commit of the remote.
	Read(ctx context.Context, folder string) (Folder, error)
	// Publish writes one commit for each draft, in order, and pushes them together. It returns a result for each, or
	// an error when none is known to be in the remote: Unavailable when the remote did not answer (they may still be
	// there: ask Find), Conflict when the remote refused them.
	Publish(ctx context.Context, drafts []Draft) ([]Result, error)
	// Find looks for releases' commits in the remote's history after the commit `since`. folders says, by release id,
	// where each would be.
	Find(ctx context.Context, since string, folders map[string]string) (map[string]Result, error)
	// Contains reports which of the commits are the head or in the history before it.
	Contains(ctx context.Context, head string, commits []string) (map[string]bool, error)
}

// Renderer turns manifests into files.
type Renderer interface {
	// Target resolves the variables in the manifest's app, env and namespace, and validates them.
	Target(m Manifest, vars map[string]string) (Target, error)
	// Expand returns the manifests that CUE sources make.
	Expand(ctx context.Context, sources []string) ([]Manifest, error)
	// Render makes the manifest's folder.
	Render(ctx context.Context, target Target, m Manifest, vars map[string]string) (Rendered, error)
}

// Rendered is what a manifest gives.
type Rendered struct {
	Files    []File   // sorted by path
	Unstable []string // those that come out differently each time
	Recipe   *Recipe  // nil without a chart
}

// Recipe is what, beside the artifact, files were rendered from: enough to get the same bytes again.
type Recipe struct {
	Chart       Chart    `json:"chart"`  // by an exact version, commit or digest
	Digest      string   `json:"digest"` // SHA-256 of the chart's archive; of a chart in a folder, of its files
	Helm        string   `json:"helm"`   // the version that has rendered it
	KubeVersion string   `json:"kubeVersion"`
	APIVersions []string `json:"apiVersions,omitempty"`
}

// Folder is the folder of an app in an environment at one commit.
type Folder struct {
	Head  string // the commit; "" in an empty repository
	Tree  string // hash of the folder's tree; "" when there is no such folder
	Files []File // sorted by path
}

// Draft is a commit to be.
type Draft struct {
	ReleaseID string
	Folder    string // slash-separated path in the repository
	Keep      string // the environment's folder, which stays when this was the last app in it
	BaseTree  string // what the folder's tree must still be
	Files     []File // what replaces it; without any it goes
	Message   string // with the Release-Id trailer
	Author    Person
	At        time.Time
	// Since, when set, says that the draft was pushed before and may have arrived: its commit is looked for after this one.
	Since string
}

// Person is an author or committer of a commit.
type Person struct{ Name, Email string }

// Written says what became of a draft.
type Written string

// The fates of a draft.
const (
	Committed   Written = "committed"
	NothingToDo Written = "unchanged"  // the folder already holds these files
	BaseMoved   Written = "base moved" // the folder is no longer what the plan was made for
)

// Result is a draft's fate. Commit is the release's own commit, or, when nothing was to be done, the head. With
// Err the draft itself is at fault, and the others went without it.
type Result struct {
	Err     error
	Written Written
	Commit  string
	Tree    string
}
