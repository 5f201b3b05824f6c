package releases

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// AllApps stands for every app of an environment.
const AllApps = "*"

// Lock keeps everybody but its owner from releasing an app to an environment.
type Lock struct {
	ID       string    `json:"id"`
	App      string    `json:"app"` // AllApps: the whole environment
	Env      string    `json:"env"`
	Owner    Actor     `json:"owner"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until"`
	Reminded time.Time `json:"reminded,omitzero"` // when the owner was reminded
}

func (l Lock) concerns(app string) bool { return l.App == AllApps || l.App == app }

// Where is what is locked, for people.
func (l Lock) Where() string {
	if l.App == AllApps {
		return "all of " + l.Env
	}
	return l.App + " in " + l.Env
}

// Freeze is a window in which an environment takes no releases: planned in the configuration, or declared by somebody.
type Freeze struct {
	ID     string    `json:"id"` // f-…; a planned one's name and beginning
	Env    string    `json:"env"`
	Name   string    `json:"name,omitempty"` // of a planned one
	Reason string    `json:"reason,omitempty"`
	By     Actor     `json:"by"` // of a planned one nobody
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Lifted time.Time `json:"lifted,omitzero"` // ended before its time
	// Rollbacks says that it stops rollbacks, too.
	Rollbacks bool   `json:"rollbacks,omitempty"`
	Request   string `json:"request,omitempty"` // that declared it
}

// in reports whether the freeze is on. A declared one has begun, whatever the clock says after a jump.
func (f Freeze) in(now time.Time) bool {
	begun := f.Name == "" || !now.Before(f.From)
	return f.Lifted.IsZero() && begun && now.Before(f.Until)
}

// Title is what people call the freeze.
func (f Freeze) Title() string {
	switch {
	case f.Name != "":
		return "the freeze " + f.Name
	case f.Reason != "":
		return "a freeze by " + f.By.Name + " (" + f.Reason + ")"
	}
	return "a freeze by " + f.By.Name
}

// Window is when a planned freeze is on.
type Window interface {
	// At returns the window that the moment is in.
	At(now time.Time) (from, until time.Time, in bool)
	// Next returns the next window that begins after the moment; ok is false when there is none.
	Next(now time.Time) (from, until time.Time, ok bool)
}

// PlannedFreeze is a freeze of the configuration.
type PlannedFreeze struct {
	Name   string
	Reason string
	Window Window
}

// Mark says that an artifact is not to be released.
type Mark struct {
	ArtifactID string    `json:"artifactId"`
	Version    Version   `json:"version"`
	Targets    []Target  `json:"targets"`
	Reason     string    `json:"reason"`
	By         Actor     `json:"by"`
	At         time.Time `json:"at"`
}

// Delegation lets somebody vote on behalf of somebody who is away.
type Delegation struct {
	From   Actor     `json:"from"`
	To     Actor     `json:"to"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"`
}

// Glass is what lets a release pass what keeps it back: two people, and a reason.
type Glass struct {
	By      Actor     `json:"by"`
	Second  *Actor    `json:"second,omitempty"`
	Reason  string    `json:"reason"`
	Digest  string    `json:"digest"`            // of the plan that they saw
	Passed  []string  `json:"passed,omitempty"`  // what it passes
	Request string    `json:"request,omitempty"` // that asked
	At      time.Time `json:"at"`
}

// broken reports whether two people have broken the glass for the release's plan as it is.
func (r Release) broken() bool {
	return r.Glass != nil && r.Glass.Second != nil && r.Plan != nil && r.Glass.Digest == r.Plan.Digest
}

// Review asks people to look at a release that went out by breaking the glass, until somebody signs it off.
type Review struct {
	ReleaseID string    `json:"releaseId"`
	App       string    `json:"app"`
	Env       string    `json:"env"`
	Version   Version   `json:"version"`
	Glass     Glass     `json:"glass"`
	Due       time.Time `json:"due"` // when people are asked next
	Asked     int       `json:"asked,omitempty"`
	SignedBy  *Actor    `json:"signedBy,omitempty"`
	Remark    string    `json:"remark,omitempty"`
	SignedAt  time.Time `json:"signedAt,omitzero"`
}

// What keeps a release from going out.
const (
	BlockVotes  = "votes"
	BlockLock   = "lock"
	BlockFreeze = "freeze"
	BlockMark   = "mark" // the artifact is marked as not to be released
	BlockHold   = "hold" // automation is held; only of what a policy has asked for
)

// Block is something that keeps a planned release from going out.
type Block struct {
	Kind  string    `json:"kind"`
	Text  string    `json:"text"`
	Until time.Time `json:"until,omitzero"` // when it ends by itself; zero when it does not, or nobody knows
}

// Controls are what is asked of a release at a moment.
type Controls struct {
	Rule      Approval
	Locks     []Lock
	Freezes   []Freeze
	Mark      *Mark
	Hold      *Hold
	Rollbacks []string // the kinds of Block that stop a rollback, too
	Zone      *time.Location
}

// Gate returns what keeps a planned release from going out, or nothing. It is pure, and the only place that decides it.
func Gate(r Release, c Controls, now time.Time) (blocks []Block) {
	if r.broken() {
		return nil
	}
	stops := func(kind string) bool { return r.Kind != KindRollback || slices.Contains(c.Rollbacks, kind) }
	if c.Mark != nil && r.Kind != KindCleanup { // also a rollback, which goes to such a version only when it was named
		blocks = append(blocks, Block{Kind: BlockMark, Text: fmt.Sprintf("%s is marked as bad by %s: %s", c.Mark.Version.Short(), c.Mark.By.Name, c.Mark.Reason)})
	}
	if c.Hold != nil && r.Policy != "" {
		blocks = append(blocks, Block{Kind: BlockHold, Text: c.Hold.explain(Target{App: r.App, Env: r.Env})})
	}
	for _, f := range c.Freezes {
		if stops(BlockFreeze) && f.in(now) {
			blocks = append(blocks, Block{Kind: BlockFreeze, Text: fmt.Sprintf("%s is frozen until %s: %s", r.Env, Moment(f.Until, c.Zone), f.Title()), Until: f.Until})
		}
	}
	for _, l := range c.Locks {
		if stops(BlockLock) && l.concerns(r.App) && now.Before(l.Until) && !l.Owner.Is(r.RequestedBy) {
			blocks = append(blocks, Block{Kind: BlockLock, Text: fmt.Sprintf("%s is locked by %s until %s: %s", l.Where(), l.Owner.Name, Moment(l.Until, c.Zone), l.Reason), Until: l.Until})
		}
	}
	if len(c.Rule.Needs) > 0 && stops(BlockVotes) {
		if met, text := c.Rule.Met(r); !met {
			blocks = append(blocks, Block{Kind: BlockVotes, Text: text})
		}
	}
	return blocks
}

// Needs reports whether one of the release's blocks is of the kind.
func (r Release) Needs(kind string) bool {
	return slices.ContainsFunc(r.Blocks, func(b Block) bool { return b.Kind == kind })
}

// Queued reports whether something else than votes keeps the release back.
func (r Release) Queued() bool { return queued(r.Blocks) }

func queued(blocks []Block) bool {
	return slices.ContainsFunc(blocks, func(b Block) bool { return b.Kind != BlockVotes })
}

func reasonOf(blocks []Block) string {
	var texts []string
	for _, b := range blocks {
		texts = append(texts, b.Text)
	}
	return strings.Join(texts, "; ")
}

// Moment is a time for sentences, in the zone.
func Moment(t time.Time, zone *time.Location) string {
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format("Mon 2 Jan 2006 15:04 MST")
}

// controls reads what is asked of the release now. Without all of it nothing is released.
func (s *Service) controls(tx Tx, r Release, env Environment) (c Controls, err error) {
	c = Controls{Rule: s.rule(r, env), Rollbacks: env.Rollbacks, Zone: s.zone}
	if c.Locks, err = tx.Locks(r.Env); err != nil {
		return c, err
	}
	if c.Freezes, err = s.freezes(tx, env, s.now()); err != nil {
		return c, err
	}
	if c.Hold, err = tx.Hold(r.App, r.Env); err != nil {
		return c, err
	}
	c.Mark, err = tx.Mark(r.ArtifactID)
	return c, err
}

// rule is what the environment asks of the release: its own rule, or, for a plan that brings very much at once, one vote.
func (s *Service) rule(r Release, env Environment) Approval {
	if len(env.Approval.Needs) > 0 || env.MaxCommits == 0 || r.Plan == nil || r.Plan.Commits <= env.MaxCommits || r.Kind != KindRelease {
		return env.Approval
	}
	return Approval{Needs: []Need{{Count: 1}}, Because: fmt.Sprintf("it brings %d commits at once, and %s takes %d unasked", r.Plan.Commits, r.Env, env.MaxCommits)}
}

// freezes are those of the environment that are in force: declared ones, and planned ones that nobody has lifted.
func (s *Service) freezes(tx Tx, env Environment, now time.Time) (all []Freeze, err error) {
	kept, err := tx.Freezes(env.Name)
	if err != nil {
		return nil, err
	}
	for _, f := range kept {
		if f.Name == "" && f.in(now) {
			all = append(all, f)
		}
	}
	for _, p := range env.Freezes {
		from, until, in := p.Window.At(now)
		if !in {
			continue
		}
		f := p.at(env, from, until)
		if i := slices.IndexFunc(kept, func(k Freeze) bool { return k.ID == f.ID }); i >= 0 && !kept[i].Lifted.IsZero() {
			continue
		}
		all = append(all, f)
	}
	return all, nil
}

func (p PlannedFreeze) at(env Environment, from, until time.Time) Freeze {
	return Freeze{
		ID: p.Name + " " + from.UTC().Format(time.RFC3339), Env: env.Name, Name: p.Name, Reason: p.Reason, From: from, Until: until,
		Rollbacks: slices.Contains(env.Rollbacks, BlockFreeze),
	}
}

// maxReason bounds what people say of something, in characters: it goes into messages, commits and the audit.
const maxReason = 400

// plainText makes one line of what somebody says, without what looks like a credential.
func plainText(field, text string) (string, error) {
	text = Redact(strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " "))
	if n := utf8.RuneCountInString(text); n > maxReason {
		return "", Errorf(Invalid, "%s: %d characters are more than %d; a sentence is enough", field, n, maxReason)
	}
	return text, nil
}

// shippedFor refuses an app that nothing was shipped for in the environment: a misspelt name would control nothing.
func shippedFor(tx Tx, app, env string) error {
	if app == AllApps {
		return nil
	}
	known, err := tx.Artifacts(ArtifactQuery{Target: Target{App: app, Env: env}, Limit: 1})
	if err != nil || len(known) > 0 {
		return err
	}
	return versions{tx: tx, target: Target{App: app, Env: env}}.unknownApp()
}
