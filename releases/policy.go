package releases

import (
	"fmt"
)

// Decision is what a policy said of an artifact for one app and environment, and why.
type Decision struct {
	Policy string `json:"policy"` // "deploy" for a manifest's own, or the name of a scheduled one
	App    string `json:"app"`
	Env    string `json:"env"`
	Fires  bool   `json:"fires"`
	Reason string `json:"reason"`         // a sentence that people can read
	Live   string `json:"live,omitempty"` // the version that was live then
	// Unknown says that the environment is not in the configuration.
	Unknown bool `json:"unknown,omitempty"`
	// Of a scheduled policy: what it would release, and, when it does not, the kind of reason.
	Version  string `json:"version,omitempty"`
	Artifact string `json:"artifact,omitempty"`
	SHA      string `json:"sha,omitempty"`
	Skip     string `json:"skip,omitempty"`
}

// DeployPolicy is the name of a manifest's own policy in decisions and commits.
const DeployPolicy = "deploy"

// Snapshot is what Decide looks at besides the policy: what is live for the app and environment, and whether
// its automation is held.
type Snapshot struct {
	Live *Live
	Hold *Hold
	Mark *Mark // of the version itself
	// Preview is the family of the manifest, when it is a preview's.
	Preview string
	// Rival says what another source repository has there, for which who shipped the version does not speak; or "".
	Rival string
}

// Decide says whether a manifest's deploy policy releases the version, and why. It is pure.
func Decide(target Target, deploy *Deploy, v Version, now Snapshot) Decision {
	d := Decision{Policy: DeployPolicy, App: target.App, Env: target.Env}
	if now.Live != nil {
		d.Live = now.Live.Version.Short()
	}
	d.Fires, d.Reason = matches(deploy, v)
	if !d.Fires {
		return d
	}
	if reason := now.displaces(v); reason != "" {
		d.Fires, d.Reason = false, reason
	}
	if now.Rival != "" {
		d.Fires, d.Reason = false, now.Rival
	}
	if now.Hold != nil {
		d.Fires, d.Reason = false, now.Hold.explain(target)
	}
	if now.Mark != nil {
		d.Fires, d.Reason = false, fmt.Sprintf("this version is marked as bad by %s: %s", now.Mark.By.Name, now.Mark.Reason)
	}
	if reason := backwards(now.Live, v); reason != "" {
		d.Fires, d.Reason = false, reason
	}
	return d
}

func matches(deploy *Deploy, v Version) (bool, string) {
	if deploy == nil || (deploy.Tag == "" && deploy.Branch == "" && deploy.Event == "") {
		if deploy != nil && len(deploy.CommitMessagePatterns) > 0 {
			return false, "the policy names commit messages only; they narrow a branch, tag or event"
		}
		return false, noPolicy
	}
	event := v.Event
	if event == "" {
		event = EventPush
	}
	switch {
	case deploy.Branch != "" && deploy.Tag != "":
		return false, "the policy names both a branch and a tag, which can never match together"
	case deploy.Branch != "" && deploy.Event != EventPush && deploy.Event != EventPR:
		return false, fmt.Sprintf("the policy names branch %q but not the event push or pr, so it never fires", deploy.Branch)
	case deploy.Tag != "" && deploy.Event != EventTag:
		return false, fmt.Sprintf("the policy names tag %q but not the event tag, so it never fires", deploy.Tag)
	case deploy.Event != "" && deploy.Event != event:
		return false, fmt.Sprintf("the policy wants event %s, this is a %s", deploy.Event, event)
	case deploy.Branch != "" && !matchOne(deploy.Branch, v.Branch):
		return false, fmt.Sprintf("branch %q does not match %q", v.Branch, deploy.Branch)
	case deploy.Tag != "" && v.Tag == "":
		return false, fmt.Sprintf("the artifact has no tag, the policy wants %q", deploy.Tag)
	case deploy.Tag != "" && !matchOne(deploy.Tag, v.Tag):
		return false, fmt.Sprintf("tag %q does not match %q", v.Tag, deploy.Tag)
	case len(deploy.CommitMessagePatterns) > 0 && !matchAny(deploy.CommitMessagePatterns, v.Message):
		return false, fmt.Sprintf("the commit message matches none of %q", deploy.CommitMessagePatterns)
	}
	return true, firing(deploy, v, event)
}

func firing(deploy *Deploy, v Version, event Event) string {
	switch {
	case deploy.Branch != "":
		return fmt.Sprintf("%s on branch %q matches %q", event, v.Branch, deploy.Branch)
	case deploy.Tag != "":
		return fmt.Sprintf("tag %q matches %q", v.Tag, deploy.Tag)
	}
	return fmt.Sprintf("every %s fires", event)
}

// backwards explains why automation must not put the version in place of what is live, or returns "".
// A version without a commit time is taken to be as new as its arrival.
func backwards(live *Live, v Version) string {
	if live == nil || v.Created == 0 || live.Version.Created <= v.Created || live.Version.RepositoryName != v.RepositoryName {
		return ""
	}
	return fmt.Sprintf("%s is live and newer than %s; automation never goes backwards (a person may: /release)",
		live.Version.Short(), v.Short())
}

// noPolicy is the reason of a manifest without a policy.
const noPolicy = "no deploy policy in the manifest"
