package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"gimletd/releases"

	"go.yaml.in/yaml/v3"
)

// policyGroup are the subcommands about policies.
type policyGroup struct {
	Forecast policyForecast `cmd:"" help:"Foretell what the scheduled policies will do, if nobody does anything else."`
	Backtest policyBacktest `cmd:"" help:"Tell what the scheduled policies of this configuration would have released, beside what was."`
	Test     policyTest     `cmd:"" help:"Run the cases of a file against the policies: for CI, beside the configuration."`
}

type policyForecast struct {
	Config string `help:"The configuration of the running server, or a changed one to try." required:"" type:"existingfile"`
	Days   int    `help:"How far to look ahead." default:"7"`
	Output string `short:"o" help:"text or json" enum:"text,json" default:"text"`
}

type policyBacktest struct {
	Config string `help:"The configuration of the running server, or a changed one to try." required:"" type:"existingfile"`
	Since  string `help:"How far to look back: 30d, 12h." default:"30d"`
	Output string `short:"o" help:"text or json" enum:"text,json" default:"text"`
}

// tried is the part of a configuration that policies are tried with. Gates are not asked, so nothing secret is in it.
type tried struct {
	Environments []EnvironmentConfig `yaml:"environments"`
	Policies     []PolicyConfig      `yaml:"policies"`
}

// text is the part of the configuration as it is sent to the server.
func (c Config) tried() ([]byte, error) {
	t := tried{Environments: c.Environments}
	for _, p := range c.Policies {
		p.Gates = nil
		t.Policies = append(t.Policies, p)
	}
	return yaml.Marshal(t)
}

// changed reads what tried has written. It was validated as a whole where it came from, and what matters is looked at again.
func (c Config) changed(text []byte) (*releases.Changed, error) {
	t := tried{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&t); err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	other := c
	other.Environments, other.Policies = t.Environments, t.Policies
	other.fill()
	var wrong []string
	for _, f := range append(other.validateEnvironments(), other.validatePolicies()...) {
		wrong = append(wrong, f.path+": "+f.err.Error())
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}
	environments, err := other.environments()
	if err != nil {
		return nil, err
	}
	policies, err := other.scheduledPolicies()
	return &releases.Changed{Environments: environments, Policies: policies}, err
}

// try sends the configuration's policies to the server, and decodes its answer, unless the raw JSON is wanted.
func try(ctx context.Context, file, path string, asJSON bool, out io.Writer, answer any) error {
	c, err := LoadConfig(file)
	if err != nil {
		return err
	}
	body, err := c.tried()
	if err != nil {
		return err
	}
	res, err := callServer(ctx, c, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if asJSON {
		_, err = io.Copy(out, res.Body)
		return err
	}
	return json.NewDecoder(res.Body).Decode(answer)
}

// foretold is what the server says of what will happen.
type foretold struct {
	Until time.Time
	Runs  []struct {
		Policy, From, To, Why string
		At                    time.Time
		Fate                  releases.Fate
		Apps                  []struct {
			App, Version, Live, Reason, Skip string
			Releases                         bool
			Status                           releases.Status
		}
		Quiet map[string]int
	}
	Removed []struct{ App, Env, Reason string }
}

// Run foretells.
func (c policyForecast) Run(ctx context.Context, std streams) error {
	var f foretold
	if err := try(ctx, c.Config, fmt.Sprintf("/api/policies/forecast?days=%d", c.Days), c.Output == "json", std.out, &f); err != nil || c.Output == "json" {
		return err
	}
	loaded, err := LoadConfig(c.Config)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "Until %s, if nobody ships, releases, votes or changes anything, and every gate passes:\n", releases.Moment(f.Until, loaded.zone()))
	idle := 0
	for _, r := range f.Runs {
		if len(r.Apps) == 0 {
			idle++
			continue
		}
		fmt.Fprintf(std.out, "\n%s  %s, from %s to %s\n", releases.Moment(r.At, loaded.zone()), r.Policy, r.From, r.To)
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		for _, a := range r.Apps {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", a.App, a.Version, becomes(a.Releases, a.Status), a.Reason)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	for _, gone := range f.Removed {
		fmt.Fprintf(std.out, "\nthe preview %s goes from %s: %s\n", gone.App, gone.Env, gone.Reason)
	}
	fmt.Fprintf(std.out, "\n%d runs, %d of them with nothing to do\n", len(f.Runs), idle)
	return nil
}

// becomes is what becomes of an app, in a word.
func becomes(fires bool, status releases.Status) string {
	switch {
	case !fires:
		return "skips"
	case status == releases.Published:
		return "releases"
	case status == "":
		return "asks its gates"
	}
	return "asks; then " + string(status)
}

// Run tells what would have been.
func (c policyBacktest) Run(ctx context.Context, std streams) error {
	since, err := parseDays(c.Since)
	if err != nil {
		return err
	}
	var b struct {
		From      time.Time
		Compared  []releases.Comparison
		Unchanged int
	}
	if err := try(ctx, c.Config, fmt.Sprintf("/api/policies/backtest?days=%d", since), c.Output == "json", std.out, &b); err != nil || c.Output == "json" {
		return err
	}
	loaded, err := LoadConfig(c.Config)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "Since %s, with every gate passed and every vote given:\n", releases.Moment(b.From, loaded.zone()))
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, one := range b.Compared {
		would, did := "no policy would have released it", "none did"
		if one.Would != "" {
			would = one.Would + " would have, " + releases.Moment(one.WouldAt, loaded.zone())
		}
		if one.Did != "" {
			did = one.Did + " did, " + releases.Moment(one.DidAt, loaded.zone())
		}
		fmt.Fprintf(table, "  %s %s to %s\t%s\t%s\n", one.App, one.Version, one.Env, would, did)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%d releases differ, %d would have been the same\n", len(b.Compared), b.Unchanged)
	return nil
}

// parseDays reads a time back in whole days, at least one.
func parseDays(text string) (int, error) {
	const day = 24 * time.Hour
	var days int
	if n, err := fmt.Sscanf(text, "%dd", &days); err == nil && n == 1 && fmt.Sprintf("%dd", days) == text && days > 0 {
		return days, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("--since: %q is no time such as 30d or 12h", text)
	}
	return int((d + day - 1) / day), nil
}
