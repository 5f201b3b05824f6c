package releases

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is where a release is in its life.
type Status string

// The statuses. An arrow in `moves` says which may follow which.
const (
	Proposed   Status = "proposed"   // accepted and remembered; its plan is being made
	Waiting    Status = "waiting"    // planned, and kept back: by votes that are missing, a freeze, a lock, a mark
	Approved   Status = "approved"   // planned, and free to go
	Publishing Status = "publishing" // may be in the repository or not: only the repository knows
	Published  Status = "published"  // its commit is in the repository
	Unchanged  Status = "unchanged"  // the repository already says so: no commit
	Failed     Status = "failed"
	Superseded Status = "superseded" // a newer one took its place
	Rejected   Status = "rejected"   // somebody voted against it
	Expired    Status = "expired"    // too few voted in time
	Cancelled  Status = "cancelled"  // taken back before it went out
)

//nolint:gochecknoglobals // the one table of allowed moves
var moves = map[Status][]Status{
	Proposed:   {Waiting, Approved, Unchanged, Failed, Superseded, Cancelled},
	Waiting:    {Approved, Proposed, Rejected, Expired, Failed, Superseded, Cancelled},
	Approved:   {Publishing, Proposed, Waiting, Failed, Superseded, Cancelled},
	Publishing: {Published, Unchanged, Approved, Proposed, Failed},
}

// Open reports whether the release still has work to be done.
func (s Status) Open() bool { return len(moves[s]) > 0 }

// What a release does.
const (
	KindRelease  = "release"
	KindRollback = "rollback"
	KindCleanup  = "cleanup" // takes away what a release of a preview wrote
)

// ViaPolicy is the door of policies. What they may do is in the manifests and the configuration.
const ViaPolicy = "policy"

// ViaWebhook is the door of git hosts, whose calls are signed.
const ViaWebhook = "webhook"

// ViaAPI is the door of tokens.
const ViaAPI = "api"

// Actor is who or what asks.
type Actor struct {
	Name   string   `json:"name"`
	Email  string   `json:"email,omitempty"`
	Via    string   `json:"via"`              // console, slack, api, policy
	Person string   `json:"person,omitempty"` // the same for all accounts of one person; "" when they have one only
	User   string   `json:"user,omitempty"`   // their id on the platform
	Roles  []string `json:"roles,omitempty"`  // those they acted with
	Root   bool     `json:"root,omitempty"`   // has every right: who sits at the console or holds the admin token
	Doubt  string   `json:"-"`                // why not all of their roles are known; "" when they are
	// Repositories are the only ones that they may speak for, as globs; empty means any.
	Repositories []string `json:"-"`
}

// Release is a plan on its way to the repository. A rollback is a release whose files come from history.
type Release struct {
	Key         Key       `json:"-"`
	ID          string    `json:"id"`      // short, for people: r-7f3k2m
	Request     string    `json:"request"` // releases that were asked for together share it
	Kind        string    `json:"kind"`
	App         string    `json:"app"`
	Env         string    `json:"env"`
	ArtifactID  string    `json:"artifactId"`
	Version     Version   `json:"version"`
	Target      string    `json:"target,omitempty"`     // rollback: the release whose files come back
	RollbackOf  string    `json:"rollbackOf,omitempty"` // rollback and cleanup: the release that was live
	From        string    `json:"from,omitempty"`       // the version that was live before, as people name it
	RequestedBy Actor     `json:"requestedBy"`
	RolledBack  bool      `json:"rolledBack,omitempty"` // a later rollback took it away
	Policy      string    `json:"policy,omitempty"`
	Run         string    `json:"run,omitempty"`     // of the scheduled policy that asked for it
	Preview     string    `json:"preview,omitempty"` // a preview's family: those of one manifest, for all branches
	Status      Status    `json:"status"`
	Attempts    int       `json:"attempts,omitempty"` // how often it was begun to be published
	Reason      string    `json:"reason,omitempty"`   // why it is where it is
	Plan        *Plan     `json:"plan,omitempty"`
	Blocks      []Block   `json:"blocks,omitempty"`   // while it waits: for what
	Approval    *Approval `json:"approval,omitempty"` // the rule that it waits or waited under
	Votes       []Vote    `json:"votes,omitempty"`
	Glass       *Glass    `json:"glass,omitempty"`     // somebody wants it to pass what keeps it back
	AuditHead   string    `json:"auditHead,omitempty"` // of the audit when it began to be published
	Asked       time.Time `json:"asked,omitzero"`      // since when it waits for votes
	Expires     time.Time `json:"expires,omitzero"`    // until when
	Reminded    time.Time `json:"reminded,omitzero"`   // when those who had not voted were reminded
	Commit      string    `json:"commit,omitempty"`
	Tree        string    `json:"tree,omitempty"`        // hash of the folder's tree as it was written
	Rollout     Health    `json:"rollout,omitempty"`     // what was last said of it while it was live
	RolloutSaid string    `json:"rolloutSaid,omitempty"` // in the cluster's own words
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
	Steps       []Step    `json:"steps"`
}

// Step is one move of a release, kept for `/gimlet why`.
type Step struct {
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// maxSteps bounds what a release that is retried for hours remembers of it.
const maxSteps = 50

// Advance returns the release in its next status. A move that the table does not allow is a Conflict.
func (r Release) Advance(to Status, reason string, now time.Time) (Release, error) {
	if !slices.Contains(moves[r.Status], to) {
		return r, Errorf(Conflict, "release %s is %s and cannot become %s", r.ID, r.Status, to)
	}
	r.Status = to
	return r.note(reason, now), nil
}

// note keeps the status and gives a new reason for it.
func (r Release) note(reason string, now time.Time) Release {
	r.Reason, r.Updated = reason, now
	r.Steps = append(slices.Clone(r.Steps), Step{Status: r.Status, At: now, Reason: reason})
	if extra := len(r.Steps) - maxSteps; extra > 0 {
		r.Steps = slices.Delete(r.Steps, 1, 1+extra)
	}
	return r
}

// Subject is the first line of the release's commit.
func (r Release) Subject() string {
	switch r.Kind {
	case KindRollback:
		return fmt.Sprintf("Roll back %s to %s in %s", r.App, r.Version.Short(), r.Env)
	case KindCleanup:
		return fmt.Sprintf("Remove %s from %s", r.App, r.Env)
	}
	return fmt.Sprintf("Release %s %s to %s", r.App, r.Version.Short(), r.Env)
}

// IsReleaseID reports whether the word has the form of a release's id.
func IsReleaseID(word string) bool {
	id, ok := strings.CutPrefix(word, "r-")
	return ok && len(id) == idLetters && strings.Trim(id, idAlphabet) == ""
}

// origin is the release that the files are of.
func (r Release) origin() string {
	if r.Kind == KindRollback {
		return r.Target
	}
	return r.ID
}

// Live is what the repository holds for an app in an environment, by our last release of it.
type Live struct {
	App        string    `json:"app"`
	Env        string    `json:"env"`
	ReleaseID  string    `json:"releaseId"`
	ArtifactID string    `json:"artifactId"`
	Version    Version   `json:"version"`
	By         string    `json:"by"`
	Tree       string    `json:"tree"`
	Commit     string    `json:"commit"`
	At         time.Time `json:"at"`
	Preview    string    `json:"preview,omitempty"` // as in Release
	Health     Health    `json:"health,omitempty"`  // what the rollout was last said to be
}

// Hold stops automation for one app in one environment until somebody resumes it.
type Hold struct {
	App     string    `json:"app"`
	Env     string    `json:"env"`
	By      string    `json:"by"`
	Release string    `json:"release,omitempty"` // the rollback that set it
	Reason  string    `json:"reason,omitempty"`  // of who set it without one
	At      time.Time `json:"at"`
}

// Why tells who set the hold and for what.
func (h *Hold) Why() string {
	if h.Release == "" {
		return fmt.Sprintf("%s held it: %s", h.By, h.Reason)
	}
	return fmt.Sprintf("%s rolled back (%s)", h.By, h.Release)
}

func (h *Hold) explain(t Target) string {
	return fmt.Sprintf("automation is held: %s, %s; /gimlet resume %s %s lets it go on", h.Why(), h.At.Format("2006-01-02 15:04 MST"), t.App, t.Env)
}
