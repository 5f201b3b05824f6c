package releases

import "time"

// What an Outcome tells.
const (
	ArtifactShipped = "artifact.shipped"
	ReleaseChanged  = "release.changed"
	HoldChanged     = "hold.changed"
	ApprovalDue     = "approval.due"
	LockChanged     = "lock.changed"
	LockDue         = "lock.due"
	FreezeChanged   = "freeze.changed"
	MarkChanged     = "mark.changed"
	ReviewDue       = "review.due"
	DelegationSet   = "delegation.set"
	RunChanged      = "run.changed"
)

// Outcome is one thing that happened and that people are to be told. It is written in the same transaction as
// the state that it tells of, and carries that state as it was then.
type Outcome struct {
	Seq      uint64    `json:"-"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Artifact *News     `json:"artifact,omitempty"`
	Release  *Release  `json:"release,omitempty"`
	Reminder *Release  `json:"reminder,omitempty"` // ApprovalDue: those who have not voted are to be reminded
	Hold     *Hold     `json:"hold,omitempty"`
	Lock     *Lock     `json:"lock,omitempty"` // LockDue: its owner is to be reminded
	Was      *Lock     `json:"was,omitempty"`  // LockChanged: the lock in whose place this one comes
	Freeze   *Freeze   `json:"freeze,omitempty"`
	Mark     *Mark     `json:"mark,omitempty"`
	Review   *Review   `json:"review,omitempty"`
	Run      *Run      `json:"run,omitempty"` // of a scheduled policy
	// Ended is who ended the hold, lock, freeze or mark, and Why; "" while it is in force.
	Ended      string      `json:"ended,omitempty"`
	Why        string      `json:"why,omitempty"`
	By         *Actor      `json:"by,omitempty"`    // the same, as a person
	Still      string      `json:"still,omitempty"` // what goes on keeping releases back where something has ended
	Delegation *Delegation `json:"delegation,omitempty"`
}

// News is what an announcement says of a new artifact.
type News struct {
	ID        string           `json:"id"`
	Version   Version          `json:"version"`
	Items     []map[string]any `json:"items,omitempty"`
	Decisions []Decision       `json:"decisions"`
	Dropped   []string         `json:"dropped,omitempty"`
}
