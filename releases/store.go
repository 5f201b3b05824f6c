package releases

import (
	"context"
	"iter"
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
	ControlTx
	AuditTx
	TokenTx
	PolicyTx
}

// PolicyTx keeps what scheduled policies have done.
type PolicyTx interface {
	PutPolicyState(PolicyState) error // by its Name
	ClearPolicyState(name string) error
	PolicyStates() ([]PolicyState, error)
	PutRun(Run) error // by its ID
	Run(id string) (*Run, error)
	// Runs returns the newest runs of a policy, newest first; OpenRuns those of all that have not ended.
	Runs(policy string, limit int) ([]Run, error)
	OpenRuns() ([]Run, error)
	// PruneRuns removes the policy's runs but the newest, and but those that are needed.
	PruneRuns(policy string, keep int, needed map[string]bool) error
	// PutDeletion remembers when a branch was deleted; Deletions returns those since a moment, by repository and branch with a
	// space in between.
	PutDeletion(repository, branch string, at time.Time) error
	Deletions(since time.Time) (map[string]time.Time, error)
	// PutSettings keeps the configuration in force, by key, to tell at the next start what has changed; Settings returns it.
	PutSettings(map[string]string) error
	Settings() (map[string]string, error)
}

// ControlTx keeps what controls releases. Lists are in order of their keys.
type ControlTx interface {
	PutLock(Lock) error // for its App and Env
	ClearLock(app, env string) error
	Locks(env string) ([]Lock, error) // of all environments without a name
	PutFreeze(Freeze) error           // by its Env and ID
	ClearFreeze(env, id string) error
	Freezes(env string) ([]Freeze, error)
	PutMark(Mark) error
	ClearMark(artifactID string) error
	Mark(artifactID string) (*Mark, error) // nil when it has none
	Marks() ([]Mark, error)
	PutDelegation(Delegation) error // by the identity of who delegates
	ClearDelegation(identity string) error
	Delegations() ([]Delegation, error)
	PutReview(Review) error // by its release
	Review(releaseID string) (*Review, error)
	Reviews() ([]Review, error) // those that nobody has signed off
}

// AuditTx keeps the audit. Nothing of it is ever changed or removed.
type AuditTx interface {
	// PutRecord appends a sealed record and makes it the head.
	PutRecord(Record) error
	// LastRecord returns the head: number and hash only; the zero Record when there is none.
	LastRecord() (Record, error)
	// AuditFrom yields records as they are stored from a number on; AuditBack from a number back.
	AuditFrom(seq uint64) iter.Seq2[[]byte, error]
	AuditBack(seq uint64) iter.Seq2[[]byte, error]
}

// TokenTx keeps the tokens of the API.
type TokenTx interface {
	PutToken(Token) error // by its Name
	ClearToken(name string) error
	Tokens() ([]Token, error)
	// TokenByHash returns the token whose secret has the hash, or nil.
	TokenByHash(hash string) (*Token, error)
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
	// Arrival is the key of an artifact, without reading it.
	Arrival(id string) (k Key, known bool, err error)
	// Hear remembers a delivery for ever, and reports whether it is heard for the first time.
	Hear(delivery string, at time.Time) (first bool, err error)
	// Fits reports whether the artifact has a manifest for the target.
	Fits(id string, target Target) (bool, error)
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
	ClearLive(app, env string) error
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
	Within       []string // globs of source repositories, as in Token
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
	Within       []string // globs of source repositories, as in Token
	Statuses     []Status
	Since, Until time.Time
	Limit        int // 0 means 10
	Offset       int
}
