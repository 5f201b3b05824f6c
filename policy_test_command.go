package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"gimletd/releases"

	"go.yaml.in/yaml/v3"
)

type policyTest struct {
	File   string `arg:"" help:"The cases, in YAML." type:"existingfile"`
	Config string `help:"The configuration with the policies." type:"existingfile"`
}

// policyCases is a file of cases.
type policyCases struct {
	Cases []policyCase `yaml:"cases"`
}

// policyCase is one: of a scheduled policy, of its schedule, of a manifest's deploy policy, or of a manifest's cleanup policy.
type policyCase struct {
	Name string `yaml:"name"`

	Policy string        `yaml:"policy"` // a scheduled policy of the configuration
	At     time.Time     `yaml:"at"`     // when it runs
	App    string        `yaml:"app"`
	Live   *caseVersion  `yaml:"live"`    // in the environment that it releases to
	Since  time.Duration `yaml:"liveFor"` // how long the artifact is live where the policy takes it from
	Health string        `yaml:"health"`  // there: healthy, unhealthy
	Held   bool          `yaml:"held"`
	Bad    bool          `yaml:"bad"` // marked as bad
	Gone   bool          `yaml:"rolledBack"`
	None   bool          `yaml:"nothing"` // there is nothing to release

	After time.Time   `yaml:"after"` // the policy's first ticks after it are to be Ticks
	Ticks []time.Time `yaml:"ticks"`

	Deploy   *caseDeploy  `yaml:"deploy"` // a manifest's deploy policy
	Artifact *caseVersion `yaml:"artifact"`

	Cleanup *caseCleanup `yaml:"cleanup"` // a manifest's cleanup policy
	Deleted string       `yaml:"deleted"` // the branch that is deleted

	Want    string `yaml:"want"`    // release, wait, skip; remove, keep
	Because string `yaml:"because"` // a part of the reason
}

type caseVersion struct {
	Repository string    `yaml:"repository"`
	SHA        string    `yaml:"sha"`
	Branch     string    `yaml:"branch"`
	Event      string    `yaml:"event"`
	Tag        string    `yaml:"tag"`
	Message    string    `yaml:"message"`
	Created    time.Time `yaml:"created"` // of the commit
}

type caseDeploy struct {
	Branch                string   `yaml:"branch"`
	Tag                   string   `yaml:"tag"`
	Event                 string   `yaml:"event"`
	CommitMessagePatterns []string `yaml:"commitMessagePatterns"`
}

type caseCleanup struct {
	Branch string `yaml:"branch"`
}

func (v *caseVersion) version() releases.Version {
	out := releases.Version{
		RepositoryName: v.Repository, SHA: v.SHA, Branch: v.Branch, Event: releases.Event(v.Event), Tag: v.Tag, Message: v.Message,
	}
	if !v.Created.IsZero() {
		out.Created = v.Created.Unix()
	}
	if out.RepositoryName == "" {
		out.RepositoryName = "case/case"
	}
	return out
}

// Run runs the cases and fails when one does.
func (c policyTest) Run(std streams) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var file policyCases
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %s", c.File, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&policyCases{}); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: there is more after the first document, which would never be read", c.File)
	}
	if len(file.Cases) == 0 {
		return fmt.Errorf("%s: has no cases", c.File)
	}
	j := judge{}
	if c.Config != "" {
		config, err := loadWithoutSecrets(c.Config)
		if err != nil {
			return err
		}
		if j.policies, err = config.scheduledPolicies(); err != nil {
			return err
		}
		if j.environments, err = config.environments(); err != nil {
			return err
		}
		j.zone = config.zone()
	}
	failed := 0
	for i, one := range file.Cases {
		if one.Name == "" {
			one.Name = fmt.Sprintf("cases[%d]", i)
		}
		if why := j.run(one); why != "" {
			failed++
			fmt.Fprintf(std.out, "FAIL  %s\n      %s\n", one.Name, why)
			continue
		}
		fmt.Fprintf(std.out, "ok    %s\n", one.Name)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(file.Cases))
	}
	return nil
}

// judge decides cases by the code that decides releases.
type judge struct {
	policies     []releases.Policy
	environments []releases.Environment
	zone         *time.Location
}

// run returns why the case fails; "" when it does not.
func (j judge) run(c policyCase) string {
	kinds := 0
	for _, set := range []bool{c.Policy != "", c.Deploy != nil, c.Cleanup != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return "it must name one of policy, deploy and cleanup"
	case c.strange() != "":
		return c.strange()
	case c.Deploy != nil:
		return j.deploy(c)
	case c.Cleanup != nil:
		return j.cleanup(c)
	case len(c.Ticks) > 0:
		return j.ticks(c)
	}
	return j.scheduled(c)
}

// strange is a field that the case's kind does not look at, or a word that nobody knows; "" when there is none.
func (c policyCase) strange() string {
	scheduled, ticks := c.Policy != "" && len(c.Ticks) == 0, len(c.Ticks) > 0
	for _, field := range []struct {
		name  string
		set   bool
		known bool
	}{
		{"at", !c.At.IsZero(), scheduled},
		{"app", c.App != "", c.Cleanup == nil && !ticks},
		{"live", c.Live != nil, c.Cleanup == nil && !ticks},
		{"liveFor", c.Since != 0, scheduled},
		{"health", c.Health != "", scheduled},
		{"held", c.Held, c.Cleanup == nil && !ticks},
		{"bad", c.Bad, c.Cleanup == nil && !ticks},
		{"rolledBack", c.Gone, scheduled},
		{"nothing", c.None, scheduled},
		{"after", !c.After.IsZero(), ticks},
		{"ticks", ticks, c.Policy != ""},
		{"artifact", c.Artifact != nil, c.Cleanup == nil && !ticks},
		{"deleted", c.Deleted != "", c.Cleanup != nil},
	} {
		if field.set && !field.known {
			return field.name + ": such a case does not look at it"
		}
	}
	switch {
	case !slices.Contains([]string{"", string(releases.Healthy), string(releases.Unhealthy)}, c.Health):
		return fmt.Sprintf("health: %q is not healthy or unhealthy", c.Health)
	case c.Since < 0:
		return "liveFor: is negative"
	}
	for _, v := range []*caseVersion{c.Artifact, c.Live} {
		if v != nil && !slices.Contains([]string{"", string(releases.EventPush), string(releases.EventTag), string(releases.EventPR)}, v.Event) {
			return fmt.Sprintf("event: %q is not push, tag or pr", v.Event)
		}
	}
	return ""
}

func (c policyCase) hold(env string) *releases.Hold {
	return &releases.Hold{App: c.App, Env: env, By: "somebody", Reason: "held", At: c.At}
}

func (c policyCase) mark() *releases.Mark {
	return &releases.Mark{By: releases.Actor{Name: "somebody"}, Reason: "bad"}
}

// compare holds a verdict against what is wanted.
func (c policyCase) compare(got, reason string) string {
	switch {
	case c.Want == "":
		return "want: missing"
	case !slices.Contains([]string{"release", "wait", "skip", "remove", "keep"}, c.Want):
		return fmt.Sprintf("want: %q is not release, wait or skip, or, of a cleanup, remove or keep", c.Want)
	case got != c.Want:
		return fmt.Sprintf("want %s, got %s: %s", c.Want, got, reason)
	case !strings.Contains(reason, c.Because):
		return fmt.Sprintf("%s, but not because of %q: %s", got, c.Because, reason)
	}
	return ""
}

func (j judge) deploy(c policyCase) string {
	if c.Artifact == nil {
		return "artifact: missing"
	}
	d := releases.Deploy{Branch: c.Deploy.Branch, Tag: c.Deploy.Tag, Event: releases.Event(c.Deploy.Event), CommitMessagePatterns: c.Deploy.CommitMessagePatterns}
	if err := d.Validate(); err != nil {
		return err.Error()
	}
	now := releases.Snapshot{}
	if c.Live != nil {
		now.Live = &releases.Live{Version: c.Live.version()}
	}
	if c.Held {
		now.Hold = c.hold("its environment")
	}
	if c.Bad {
		now.Mark = c.mark()
	}
	got := releases.Decide(releases.Target{App: c.App}, &d, c.Artifact.version(), now)
	return c.compare(verb(got.Fires, "release", "skip"), got.Reason)
}

func (j judge) cleanup(c policyCase) string {
	if err := releases.CheckGlob(c.Cleanup.Branch); err != nil {
		return "cleanup.branch: " + err.Error()
	}
	if c.Deleted == "" {
		return "deleted: missing; which branch?"
	}
	fires := releases.MatchGlob(c.Cleanup.Branch, c.Deleted)
	return c.compare(verb(fires, "remove", "keep"), fmt.Sprintf("branch %q against %q", c.Deleted, c.Cleanup.Branch))
}

func verb(fires bool, yes, no string) string {
	if fires {
		return yes
	}
	return no
}

func (j judge) named(name string) (releases.Policy, string) {
	for _, p := range j.policies {
		if p.Name == name {
			return p, ""
		}
	}
	return releases.Policy{}, fmt.Sprintf("policy: there is no %q in the configuration (--config)", name)
}

func (j judge) ticks(c policyCase) string {
	p, why := j.named(c.Policy)
	switch {
	case why != "":
		return why
	case c.After.IsZero():
		return "after: missing; from when on?"
	case c.Want != "" || c.Because != "":
		return "want: ticks have none"
	}
	at := c.After
	for i, want := range c.Ticks {
		if at = p.Schedule.Next(at); !at.Equal(want) {
			return fmt.Sprintf("ticks[%d]: want %s, got %s", i, want.In(p.Zone).Format(time.RFC3339), at.Format(time.RFC3339))
		}
	}
	return ""
}

// scheduled decides on an app, and, when the policy fires, on what keeps its release back in the environment.
func (j judge) scheduled(c policyCase) string {
	p, why := j.named(c.Policy)
	switch {
	case why != "":
		return why
	case c.At.IsZero():
		return "at: missing; when does the policy run?"
	case c.App == "":
		return "app: missing"
	case c.Artifact == nil && !c.None:
		return "artifact: missing; or is it `nothing: true`?"
	case !p.Runs(c.At):
		return fmt.Sprintf("at: the policy does not run at %s; it does at %s", c.At.Format(time.RFC3339), p.Schedule.Next(c.At).Format(time.RFC3339))
	}
	if !p.Apps.Match(c.App) {
		return c.compare("skip", fmt.Sprintf("the policy is not about %s (%s)", c.App, p.Apps))
	}
	candidate := releases.Candidate{App: c.App, Fits: true, Health: releases.Health(c.Health)}
	if c.Artifact != nil {
		v := c.Artifact.version()
		candidate.Version, candidate.ArtifactID, candidate.Since = &v, "case", c.At.Add(-c.Since)
		if p.From.Environment == "" && !p.From.Fits(v) {
			candidate.Version = nil
		}
	}
	if c.Live != nil {
		v := c.Live.version()
		candidate.Live = &releases.Live{ArtifactID: "live", Version: v}
		if c.Artifact != nil && c.Live.SHA != "" && c.Live.SHA == c.Artifact.SHA {
			candidate.Live.ArtifactID = "case"
		}
	}
	if c.Held {
		candidate.Hold = c.hold(p.To)
	}
	if c.Bad {
		candidate.Mark = c.mark()
	}
	if c.Gone {
		candidate.Past = &releases.Release{ID: "r-before", Status: releases.Published, RolledBack: true}
	}
	d := p.Decide(&candidate, c.At)
	if !d.Fires {
		return c.compare("skip", d.Reason)
	}
	return c.compare(j.kept(p, c, *candidate.Version, d.Reason))
}

// kept asks what keeps the release back: planned freezes and votes.
func (j judge) kept(p releases.Policy, c policyCase, v releases.Version, reason string) (got, why string) {
	r := releases.Release{Kind: releases.KindRelease, App: c.App, Env: p.To, Version: v, Policy: p.Name, Plan: &releases.Plan{}}
	for _, e := range j.environments {
		if e.Name != p.To {
			continue
		}
		controls := releases.Controls{Rule: e.Approval, Zone: j.zone}
		for _, f := range e.Freezes {
			if from, until, in := f.Window.At(c.At); in {
				controls.Freezes = append(controls.Freezes, releases.Freeze{Name: f.Name, Env: e.Name, From: from, Until: until})
			}
		}
		if blocks := releases.Gate(r, controls, c.At); len(blocks) > 0 {
			var texts []string
			for _, b := range blocks {
				texts = append(texts, b.Text)
			}
			return "wait", strings.Join(texts, "; ")
		}
	}
	return "release", reason
}
