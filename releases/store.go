package releases

import (
	"context"
	"time"
)

// Store remembers. Update's function may run more than once and must have no effect but through its Tx; when
// Update returns nil, what it wrote survives a crash at the next instruction.
type Store interface {
	View(ctx context.Context, read func(Tx) error) error
	Update(ctx context.Context, write func(Tx) error) error
}

// Tx is one transaction. Getters return a NotFound Error for what is not there.
type Tx interface {
	ArtifactTx
	ReleaseTx
	StateTx
}

// ArtifactTx keeps artifacts.
type ArtifactTx interface {
	// PutArtifact stores a new artifact under its Key and indexes it.
	PutArtifact(*Shipped) error
	Artifact(id string) (*Shipped, error)
	// Artifacts returns the newest that match, newest first.
	Artifacts(ArtifactQuery) ([]*Shipped, error)
	// SHAs returns up to limit distinct commit hashes that start with the prefix and have a manifest for the target.
	SHAs(prefix string, target Target, limit int) ([]string, error)
	// Apps returns the names of all apps that artifacts were shipped for.
	Apps() ([]string, error)
	// Seen returns the artifact that was remembered under the fingerprint within the day before now, or "".
	Seen(fingerprint string, now time.Time) (string, error)
	Remember(fingerprint, value string, now time.Time) error
}

// ReleaseTx keeps releases and the files of their plans.
type ReleaseTx interface {
	// PutRelease stores the release, new or changed, under its Key.
	PutRelease(Release) error
	Release(id string) (Release, error)
	Releases(ReleaseQuery) ([]Release, error)
	// OpenReleases returns those whose status is Open, oldest first.
	OpenReleases() ([]Release, error)
	PutFiles(releaseID string, files []File) error // nil removes them
	Files(releaseID string) ([]File, error)
	// PutDiff keeps what the release's plan changes, as a unified diff.
	PutDiff(releaseID, diff string) error
	Diff(releaseID string) (string, error)
}

// StateTx keeps what is live, what is held, and the outbox.
type StateTx interface {
	// NextKey returns a new key, greater than all before it and at or after now.
	NextKey(now time.Time) (Key, error)
	PutLive(Live) error
	Live(app, env string) (*Live, error) // nil when nothing is
	Lives(env string) ([]Live, error)
	PutHold(Hold) error
	ClearHold(app, env string) error
	Hold(app, env string) (*Hold, error) // nil when there is none
	Publish(Outcome) error
}

// ArtifactQuery selects artifacts; zero fields do not restrict.
type ArtifactQuery struct {
	Repository   string
	Branch       string
	Event        Event
	SourceBranch string
	Tag          string
	SHAs         []string // any of them
	Target       Target   // App, Env or both
	Since, Until time.Time
	Limit        int // 0 means 10
	Offset       int
}

// ReleaseQuery selects releases; zero fields do not restrict.
type ReleaseQuery struct {
	App          string
	Env          string
	ArtifactID   string
	Request      string
	Repository   string
	Statuses     []Status
	Since, Until time.Time
	Limit        int // 0 means 10
	Offset       int
}
