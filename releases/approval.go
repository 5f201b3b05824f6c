package releases

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Approval is an environment's rule: how many of whom must agree before a release goes out.
type Approval struct {
	Count        int           `json:"count"`          // 0: nobody is asked
	From         []string      `json:"from,omitempty"` // roles; empty means whoever has the right to approve
	Not          []string      `json:"not,omitempty"`  // NotRequester, NotAuthors
	ExpiresAfter time.Duration `json:"expiresAfter,omitempty"`
	RemindAfter  time.Duration `json:"remindAfter,omitempty"`
}

// Who may be kept from voting.
const (
	NotRequester = "requester" // who asked for the release
	NotAuthors   = "authors"   // who wrote or committed the version
)

// Vote is what a person said of a plan.
type Vote struct {
	By     Actor     `json:"by"`
	Yes    bool      `json:"yes"`
	Reason string    `json:"reason,omitempty"`
	Digest string    `json:"digest"` // of the plan that they saw
	At     time.Time `json:"at"`
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

// Approvers are the people whose votes let the release go.
func (r Release) Approvers() (all []Actor) {
	for _, v := range r.Standing() {
		if v.Yes {
			all = append(all, v.By)
		}
	}
	return all
}

// Met reports whether the votes that stand are enough, and in a few words what is missing if not. A vote of somebody who
// may not vote does not count, and a person counts once, whatever account they used.
func (a Approval) Met(r Release) (bool, string) {
	var people []Actor
	for _, v := range r.Standing() {
		if !v.Yes {
			return false, "rejected by " + v.By.Name
		}
		if a.Eligible(r, v.By) == nil && !slices.ContainsFunc(people, v.By.Is) {
			people = append(people, v.By)
		}
	}
	if missing := a.Count - len(people); missing > 0 {
		return false, fmt.Sprintf("%d of %d approvals%s", len(people), a.Count, a.of())
	}
	return true, fmt.Sprintf("%d of %d approvals", len(people), a.Count)
}

func (a Approval) of() string {
	if len(a.From) == 0 {
		return ""
	}
	return " of " + strings.Join(a.From, " or ")
}

// Eligible returns a NotAllowed Error that says why the actor, with the roles that they have, may not vote on the
// release, or nil.
func (a Approval) Eligible(r Release, by Actor) error {
	has := func(role string) bool { return slices.Contains(by.Roles, role) }
	switch {
	case by.Root:
	case len(a.From) > 0 && !slices.ContainsFunc(a.From, has):
		return Errorf(NotAllowed, "you may not approve %s in %s: needs %s", r.App, r.Env, strings.Join(a.From, " or "))
	case len(by.Roles) == 0:
		return Errorf(NotAllowed, "you may not approve %s in %s: none of your roles may", r.App, r.Env)
	}
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
