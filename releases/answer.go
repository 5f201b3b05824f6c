package releases

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Answer says in a sentence or two why the newest version of an app is live in an environment, or why it is not, and what to do.
// It is pure.
func (e Explanation) Answer(app, env string, now time.Time, zone *time.Location) string {
	if len(e.Shipped) == 0 {
		return fmt.Sprintf("No artifact of %s is for %s any more, so there is nothing newer to release.", app, env)
	}
	newest := e.Shipped[0]
	if i := slices.IndexFunc(e.Shipped, func(a *Shipped) bool { return a.Version.Event != EventPR }); i >= 0 {
		newest = e.Shipped[i] // a pull request's is meant only when there is no other
	}
	name := newest.Version.Short()
	if e.Live != nil && e.Live.ArtifactID == newest.ID {
		return fmt.Sprintf("%s, the newest version, is live in %s since %s; %s released it.", name, env, Moment(e.Live.At, zone), e.Live.By)
	}
	begin := fmt.Sprintf("%s, the newest version, is not live in %s: ", name, env)
	if text := e.ofReleases(newest, app, env); text != "" {
		return begin + text
	}
	if text := e.kept(newest, app, env); text != "" {
		return begin + text
	}
	return begin + e.ofPolicies(newest, app, env, now, zone)
}

// ofReleases is what became of the newest request for the version; "" when there was none that still tells anything.
func (e Explanation) ofReleases(a *Shipped, app, env string) string {
	for _, r := range e.Releases {
		if r.ArtifactID != a.ID || r.Kind != KindRelease {
			continue
		}
		switch r.Status {
		case Proposed, Approved, Publishing:
			if after, ok := strings.CutPrefix(r.Reason, "waiting: "); ok {
				return fmt.Sprintf("%s was asked for by %s and goes out as soon as it can, but %s.", r.ID, r.RequestedBy.Name, after)
			}
			return fmt.Sprintf("%s is on its way right now.", r.ID)
		case Waiting:
			return fmt.Sprintf("%s, asked for by %s, waits: %s. %s", r.ID, r.RequestedBy.Name, r.Reason, r.wayOn())
		case Rejected, Cancelled:
			reason, told := strings.CutPrefix(r.Reason, string(r.Status)+" ")
			if !told {
				reason = "(" + reason + ")"
			}
			return fmt.Sprintf("%s was %s %s. /gimlet retry %s asks again.", r.ID, r.Status, reason, r.ID)
		case Expired:
			return fmt.Sprintf("%s found too few votes in time: %s. /gimlet retry %s asks again.", r.ID, r.Reason, r.ID)
		case Failed:
			return fmt.Sprintf("%s failed: %s. /gimlet retry %s tries again.", r.ID, r.Reason, r.ID)
		case Superseded:
			return fmt.Sprintf("%s ended without a commit: %s.", r.ID, r.Reason)
		case Published:
			if r.RolledBack && e.Live != nil {
				return fmt.Sprintf("it was released as %s and then rolled back; %s is live. %s", r.ID, e.Live.Version.Short(), e.afterRollback(app, env))
			}
			if e.Live == nil {
				return fmt.Sprintf("it was released as %s and removed since. /release %s %s brings it back.", r.ID, app, env)
			}
			return fmt.Sprintf("it was released as %s, and %s of %s took its place since.", r.ID, e.Live.Version.Short(), e.Live.ReleaseID)
		case Unchanged:
			return fmt.Sprintf("%s found that the repository holds exactly what it would write already.", r.ID)
		}
	}
	return ""
}

func (e Explanation) afterRollback(app, env string) string {
	if e.Hold != nil {
		return fmt.Sprintf("Automation is held until /gimlet resume %s %s.", app, env)
	}
	return fmt.Sprintf("Policies leave a version alone that was rolled back; /release %s %s releases it again.", app, env)
}

// wayOn says what a waiting release waits for people to do.
func (r Release) wayOn() string {
	switch {
	case r.Queued():
		return "It goes on by itself when that is over."
	case r.Needs(BlockVotes):
		return fmt.Sprintf("Who may approve says yes with /gimlet approve %s.", r.ID)
	}
	return ""
}

// kept is what keeps policies from the version, whatever they say.
func (e Explanation) kept(a *Shipped, app, env string) string {
	for _, m := range e.Marks {
		if m.ArtifactID == a.ID {
			return fmt.Sprintf("%s marked it as bad (%s), so no policy releases it.", m.By.Name, m.Reason)
		}
	}
	if e.Hold != nil {
		return fmt.Sprintf("automation is held (%s). /gimlet resume %s %s lets policies go on; /release releases it now.", e.Hold.Why(), app, env)
	}
	return ""
}

// ofPolicies is what policies have said, and will say, of a version that nothing was asked for.
func (e Explanation) ofPolicies(a *Shipped, app, env string, now time.Time, zone *time.Location) string {
	var parts []string
	for _, d := range a.Decisions {
		if d.App == app && d.Env == env && d.Reason != noPolicy {
			parts = append(parts, "its own deploy policy did not release it: "+d.Reason)
		}
	}
	for _, p := range e.Policies {
		when := "which does not run again"
		if !p.Next.IsZero() {
			when = fmt.Sprintf("which runs next %s (in %s)", Moment(p.Next, zone), span(p.Next.Sub(now)))
		}
		switch {
		case p.Fires && p.Artifact == a.ID:
			parts = append(parts, fmt.Sprintf("policy %s, %s, would release it as things are", p.Policy, when))
		case p.Artifact != "" && p.Artifact != a.ID:
			parts = append(parts, fmt.Sprintf("policy %s, %s, takes what comes from %s, and that is %s", p.Policy, when, p.From, p.Version))
		default:
			parts = append(parts, fmt.Sprintf("policy %s, %s, would not release it as things are: %s", p.Policy, when, p.Reason))
		}
	}
	if len(parts) == 0 {
		return fmt.Sprintf("nothing releases it by itself, and nobody has asked for it. /release %s %s does.", app, env)
	}
	return strings.Join(parts, "; and ") + "."
}
