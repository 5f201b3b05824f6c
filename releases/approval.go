package releases

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Approval is an environment's rule: how many of whom must agree before a release goes out.
type Approval struct {
	Needs        []Need        `json:"needs,omitempty"` // all of them; without any nobody is asked
	Not          []string      `json:"not,omitempty"`   // NotRequester, NotAuthors
	ExpiresAfter time.Duration `json:"expiresAfter,omitempty"`
	RemindAfter  time.Duration `json:"remindAfter,omitempty"`
	Because      string        `json:"because,omitempty"` // why this release is asked about, where others are not
}

// Need is how many people of which roles must agree.
type Need struct {
	Count int      `json:"count"`
	From  []string `json:"from,omitempty"` // roles, any of them; empty means whoever has the right to approve
}

func (n Need) takes(roles []string) bool {
	if len(n.From) == 0 {
		return len(roles) > 0
	}
	return slices.ContainsFunc(n.From, func(role string) bool { return slices.Contains(roles, role) })
}

func (n Need) of() string {
	if len(n.From) == 0 {
		return ""
	}
	return " of " + strings.Join(n.From, " or ")
}

// Who may be kept from voting.
const (
	NotRequester = "requester" // who asked for the release
	NotAuthors   = "authors"   // who wrote or committed the version
)

// Vote is what a person said of a plan.
type Vote struct {
	By     Actor     `json:"by"`
	For    *Actor    `json:"for,omitempty"` // who is away and has delegated their approvals to By
	Yes    bool      `json:"yes"`
	Reason string    `json:"reason,omitempty"`
	Digest string    `json:"digest"` // of the plan that they saw
	At     time.Time `json:"at"`
}

// shares reports whether both votes are by, or on behalf of, one person.
func (v Vote) shares(other Vote) bool {
	for _, a := range v.people() {
		if slices.ContainsFunc(other.people(), a.Is) {
			return true
		}
	}
	return false
}

func (v Vote) people() []Actor {
	if v.For != nil {
		return []Actor{v.By, *v.For}
	}
	return []Actor{v.By}
}

// roles are those that the vote counts with.
func (v Vote) roles() []string {
	if v.For != nil {
		return v.For.Roles
	}
	return v.By.Roles
}

// planPrefix marks the word of a command that says which plan it is about.
const planPrefix = "plan:"

// PlanWord is the word by which a button says which plan it was drawn for.
func (r Release) PlanWord() string {
	const enough = 16
	if r.Plan == nil {
		return ""
	}
	return planPrefix + r.Plan.Digest[:min(enough, len(r.Plan.Digest))]
}

// CutPlanWord takes the word off the beginning of a text and returns what it says.
func CutPlanWord(text string) (digest, rest string) {
	first, rest, _ := strings.Cut(text, " ")
	if digest, ok := strings.CutPrefix(first, planPrefix); ok {
		return digest, rest
	}
	return "", text
}

// Standing are the votes for the release's plan as it is now; those for an earlier plan have fallen.
func (r Release) Standing() (votes []Vote) {
	for _, v := range r.Votes {
		if r.Plan != nil && v.Digest == r.Plan.Digest {
			votes = append(votes, v)
		}
	}
	return votes
}

// Approvals are the votes that speak for the release as it is now.
func (r Release) Approvals() (all []Vote) {
	for _, v := range r.Standing() {
		if v.Yes {
			all = append(all, v)
		}
	}
	return all
}

// Approvers are the people whose votes let the release go.
func (r Release) Approvers() (all []Actor) {
	for _, v := range r.Approvals() {
		all = append(all, v.By)
	}
	return all
}

// Met reports whether the votes that stand are enough, and in a few words what is missing if not. A vote of somebody who
// may not vote does not count. A person counts once, whatever account they used, for one of the rule's needs only, and
// also when somebody else votes on their behalf.
func (a Approval) Met(r Release) (bool, string) {
	for _, v := range r.Standing() {
		if !v.Yes {
			return false, "rejected by " + v.By.Name
		}
	}
	met, parts := true, []string{}
	for i, have := range a.assign(a.counting(r)) {
		need := a.Needs[i]
		met = met && have == need.Count
		parts = append(parts, fmt.Sprintf("%d of %d approvals%s", have, need.Count, need.of()))
	}
	text := strings.Join(parts, ", ")
	if a.Because != "" && !met {
		text += ": " + a.Because
	}
	return met, text
}

// Tally says of each need how many of how many it has.
func (a Approval) Tally(r Release) (parts []string) {
	for i, have := range a.assign(a.counting(r)) {
		parts = append(parts, fmt.Sprintf("%d of %d%s", have, a.Needs[i].Count, a.Needs[i].of()))
	}
	return parts
}

// counting are the approvals that count, each person's once.
func (a Approval) counting(r Release) (votes []Vote) {
	for _, v := range r.Approvals() {
		if a.Counts(r, v) == nil && !slices.ContainsFunc(votes, v.shares) {
			votes = append(votes, v)
		}
	}
	return votes
}

// assign gives each vote to one need, so that as many as possible are used, and returns how many each need got: a
// maximum bipartite matching by augmenting paths (Kuhn's algorithm).
func (a Approval) assign(votes []Vote) []int {
	var places []int // the need that each place is of
	for i, need := range a.Needs {
		for range need.Count {
			places = append(places, i)
		}
	}
	taken := make([]int, len(places)) // 1 + the vote in each place
	var put func(vote int, tried []bool) bool
	put = func(vote int, tried []bool) bool {
		for p, need := range places {
			if tried[p] || (!votes[vote].By.Root && !a.Needs[need].takes(votes[vote].roles())) {
				continue
			}
			tried[p] = true
			if taken[p] == 0 || put(taken[p]-1, tried) {
				taken[p] = vote + 1
				return true
			}
		}
		return false
	}
	for vote := range votes {
		put(vote, make([]bool, len(places)))
	}
	have := make([]int, len(a.Needs))
	for p, need := range places {
		if taken[p] > 0 {
			have[need]++
		}
	}
	return have
}

// From are all roles that the rule names.
func (a Approval) From() (all []string) {
	for _, need := range a.Needs {
		all = append(all, need.From...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Counts returns a NotAllowed Error that says why the vote does not count, or nil. On behalf of somebody the roles are
// theirs, and neither of the two may be kept from voting.
func (a Approval) Counts(r Release, v Vote) error {
	if v.For == nil {
		return a.Eligible(r, v.By)
	}
	if err := a.Eligible(r, *v.For); err != nil {
		return Errorf(NotAllowed, "on behalf of %s: %v", v.For.Name, err)
	}
	return a.apart(r, v.By)
}

// Eligible returns a NotAllowed Error that says why the actor, with the roles that they have, may not vote on the
// release, or nil.
func (a Approval) Eligible(r Release, by Actor) error {
	switch {
	case by.Root:
	case len(by.Roles) == 0 && len(a.From()) == 0:
		return Errorf(NotAllowed, "you may not approve %s in %s: none of your roles may", r.App, r.Env)
	case len(a.Needs) > 0 && !slices.ContainsFunc(a.Needs, func(n Need) bool { return n.takes(by.Roles) }):
		return Errorf(NotAllowed, "you may not approve %s in %s: needs %s", r.App, r.Env, strings.Join(a.From(), " or "))
	}
	return a.apart(r, by)
}

// apart returns an Error when the actor is one whom the rule keeps from voting, whatever their roles.
func (a Approval) apart(r Release, by Actor) error {
	if slices.Contains(a.Not, NotRequester) && by.Is(r.RequestedBy) {
		return Errorf(NotAllowed, "you asked for %s yourself, so somebody else has to decide", r.ID)
	}
	if !slices.Contains(a.Not, NotAuthors) {
		return nil
	}
	v := r.Version
	switch {
	case by.Root:
	case v.AuthorName+v.AuthorEmail+v.CommitterName+v.CommitterEmail == "":
		return Errorf(NotAllowed, "who wrote %s is not known (CI did not say), so whether it was you cannot be told", v.Short())
	case by.wrote(v.AuthorName, v.AuthorEmail) || by.wrote(v.CommitterName, v.CommitterEmail):
		return Errorf(NotAllowed, "you wrote %s, so somebody else has to decide", v.Short())
	case by.Email == "":
		return Errorf(NotAllowed, "whether you wrote %s cannot be told, because your e-mail address is not known here; add yourself to `people` in the configuration", v.Short())
	}
	return nil
}

func (a Actor) wrote(name, email string) bool {
	return (email != "" && strings.EqualFold(a.Email, email)) || (name != "" && strings.EqualFold(a.Name, name))
}

// Is reports whether both are the same person: by what the configuration says of them, or by their account.
func (a Actor) Is(b Actor) bool {
	return a.Identity() == b.Identity() || (a.User != "" && a.User == b.User && a.Via == b.Via)
}

// Identity is what makes a person one, whatever platform they speak from.
func (a Actor) Identity() string {
	if a.Person != "" {
		return a.Person
	}
	return a.Via + ":" + a.Name
}
