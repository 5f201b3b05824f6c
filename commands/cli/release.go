package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gimletd/releases"
	"gimletd/releases/api/client"
)

// Release are the commands about releases.
type Release struct {
	Make     releaseMake     `cmd:"" help:"Release an artifact to an environment."`
	List     releaseList     `cmd:"" help:"List releases, newest first."`
	Status   releaseStatus   `cmd:"" help:"Show what is live in an environment."`
	Rollback releaseRollback `cmd:"" help:"Put an earlier release of an app back."`
	Track    releaseTrack    `cmd:"" help:"Show what became of a release that was asked for."`
	Delete   releaseDelete   `cmd:"" help:"Take away what is live of an app."`
}

// made is what asking answers.
type made struct {
	ID   string `json:"id"`
	Type string `json:"type,omitempty"`
}

// asked says what was asked for, and follows it when that is wanted.
func asked(ctx context.Context, c *client.Client, out Out, f Format, w Wait, m made) error {
	if !w.Wait {
		return f.Show(out, m, func() [][]string {
			return [][]string{{"Asked for: " + m.ID}, {"gimletd release track " + m.ID + " shows what becomes of it"}}
		})
	}
	return w.follow(ctx, out, f, trackOf(c, "/api/eventReleaseTrack", url.Values{"id": {m.ID}}))
}

func trackOf(c *client.Client, path string, query url.Values) func(context.Context) (track, error) {
	return func(ctx context.Context) (t track, err error) {
		return t, c.Do(ctx, client.Call{Method: http.MethodGet, Path: path, Query: query}, &t)
	}
}

type releaseMake struct {
	Server
	Format
	Wait
	Env      string `help:"The environment." required:""`
	App      string `help:"The app; all of the artifact's without."`
	Artifact string `help:"The artifact's id." required:""`
	DryRun   bool   `help:"Show what would be released, and what it would wait for; release nothing." name:"dry-run"`
}

// Run asks for it.
func (r releaseMake) Run(ctx context.Context, out Out) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	var m made
	body := map[string]string{"env": r.Env, "app": r.App, "artifactId": r.Artifact}
	if r.DryRun {
		return r.foresee(ctx, c, out, body)
	}
	if err := c.Do(ctx, client.Call{Method: http.MethodPost, Path: "/api/releases", Body: body}, &m); err != nil {
		return err
	}
	return asked(ctx, c, out, r.Format, r.Wait, m)
}

// foreseen is what a release would be.
type foreseen struct {
	App     string   `json:"app"`
	Env     string   `json:"env"`
	From    string   `json:"from,omitempty"`
	To      string   `json:"to"`
	Changes []string `json:"changes"`
	Diff    string   `json:"diff"`
	Waits   []string `json:"waits"`
	Denied  string   `json:"denied,omitempty"`
}

// foresee shows what asking would bring.
func (r releaseMake) foresee(ctx context.Context, c *client.Client, out Out, body any) error {
	var all []foreseen
	// Nothing is done by it, so it may be tried again.
	call := client.Call{Method: http.MethodPost, Path: "/api/releases", Query: url.Values{"dryRun": {"true"}}, Body: body, Key: "dry run"}
	if err := c.Do(ctx, call, &all); err != nil {
		return err
	}
	if r.Output == "json" {
		return r.Show(out, all, nil)
	}
	for _, f := range all {
		fmt.Fprintf(out, "%s in %s: %s → %s\n", f.App, f.Env, first(f.From, "nothing"), f.To)
		for _, line := range slices.Concat(f.Changes, prefixed("would wait: ", f.Waits), prefixed("would be refused: ", present(f.Denied))) {
			fmt.Fprintln(out, "  "+oneLine(line))
		}
		for line := range strings.Lines(f.Diff) {
			fmt.Fprintln(out, oneLine(strings.TrimSuffix(line, "\n")))
		}
	}
	return nil
}

func prefixed(prefix string, lines []string) (all []string) {
	for _, line := range lines {
		all = append(all, prefix+line)
	}
	return all
}

func present(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// listed is a release as the API lists it.
type listed struct {
	App                string           `json:"app"`
	Env                string           `json:"env"`
	ArtifactID         string           `json:"artifactId"`
	TriggeredBy        string           `json:"triggeredBy"`
	Version            releases.Version `json:"version"`
	GitopsRef          string           `json:"gitopsRef"`
	GitopsRepo         string           `json:"gitopsRepo"`
	Created            int64            `json:"created,omitempty"`
	RolledBack         bool             `json:"rolledBack,omitempty"`
	GitopsCommitStatus string           `json:"gitopsCommitStatus,omitempty"`
}

func (l listed) row() []string {
	note := l.GitopsCommitStatus
	if l.RolledBack {
		note = "rolled back"
	}
	return []string{l.App, l.Env, l.Version.Short(), short(l.GitopsRef), at(l.Created), l.TriggeredBy, note}
}

func releaseHead() []string {
	return []string{"APP", "ENV", "VERSION", "COMMIT", "WHEN", "BY", "ROLLOUT"}
}

type releaseList struct {
	Server
	Format
	Env        string `help:"The environment." required:""`
	App        string `help:"Only of this app."`
	Repository string `help:"Only of this source repository." name:"git-repo"`
	Since      string `help:"Only after this time (RFC 3339)."`
	Until      string `help:"Only before this time (RFC 3339)."`
	Limit      int    `help:"How many." default:"10"`
	Offset     int    `help:"How many to leave out."`
}

// Run lists them.
func (r releaseList) Run(ctx context.Context, out Out) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	all := []listed{}
	query := values("env", r.Env, "app", r.App, "git-repo", r.Repository, "since", r.Since, "until", r.Until, "limit", strconv.Itoa(r.Limit), "offset", strconv.Itoa(r.Offset))
	if err := c.Do(ctx, client.Call{Method: http.MethodGet, Path: "/api/releases", Query: query}, &all); err != nil {
		return err
	}
	return r.Show(out, all, func() [][]string {
		rows := [][]string{releaseHead()}
		for _, l := range all {
			rows = append(rows, l.row())
		}
		return rows
	})
}

// values are those of the pairs that have one.
func values(pairs ...string) url.Values {
	v := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			v.Set(pair[0], pair[1])
		}
	}
	return v
}

type releaseStatus struct {
	Server
	Format
	Env string `help:"The environment." required:""`
	App string `help:"Only of this app."`
}

// Run shows it.
func (r releaseStatus) Run(ctx context.Context, out Out) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	live := map[string]*listed{}
	if err := c.Do(ctx, client.Call{Method: http.MethodGet, Path: "/api/status", Query: values("env", r.Env, "app", r.App)}, &live); err != nil {
		return err
	}
	return r.Show(out, live, func() [][]string {
		rows := [][]string{releaseHead()}
		for _, app := range sortedKeys(live) {
			if l := live[app]; l != nil {
				rows = append(rows, l.row())
			} else {
				rows = append(rows, []string{app, r.Env, "nothing"})
			}
		}
		return rows
	})
}

type releaseRollback struct {
	Server
	Format
	Wait
	Env string `help:"The environment." required:""`
	App string `help:"The app." required:""`
	To  string `help:"The release to put back: a commit of the GitOps repository or of the source, or a release's id." required:""`
}

// Run asks for it.
func (r releaseRollback) Run(ctx context.Context, out Out) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	var m made
	if err := c.Do(ctx, client.Call{Method: http.MethodPost, Path: "/api/rollback", Query: values("env", r.Env, "app", r.App, "sha", r.To)}, &m); err != nil {
		return err
	}
	return asked(ctx, c, out, r.Format, r.Wait, m)
}

type releaseTrack struct {
	Server
	Format
	Wait
	ID string `arg:"" help:"What asking for it has answered."`
}

// Run follows it.
func (r releaseTrack) Run(ctx context.Context, out Out) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	return r.follow(ctx, out, r.Format, trackOf(c, "/api/eventReleaseTrack", url.Values{"id": {r.ID}}))
}

type releaseDelete struct {
	Server
	Format
	Wait
	Env string `help:"The environment." required:""`
	App string `help:"The app." required:""`
}

// Run asks for it.
func (r releaseDelete) Run(ctx context.Context, out Out) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	var m made
	if err := c.Do(ctx, client.Call{Method: http.MethodPost, Path: "/api/delete", Query: values("env", r.Env, "app", r.App)}, &m); err != nil {
		return err
	}
	return asked(ctx, c, out, r.Format, r.Wait, m)
}
