package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gimletd/releases"
	"gimletd/releases/api/client"
)

// Artifact are the commands about artifacts.
type Artifact struct {
	Create artifactCreate `cmd:"" help:"Begin an artifact in a file, with what the CI and the local clone know."`
	Add    artifactAdd    `cmd:"" help:"Add manifests, variables and what CI wants to say to an artifact in a file."`
	Push   artifactPush   `cmd:"" help:"Ship an artifact to the server."`
	List   artifactList   `cmd:"" help:"List artifacts, newest first."`
	Track  artifactTrack  `cmd:"" help:"Show what became of an artifact."`
}

type artifactCreate struct {
	Repository     string `help:"The source repository: owner/name."`
	SHA            string `help:"The commit."`
	Created        string `help:"When it was made: RFC 3339, as git prints it, or Unix seconds."`
	Branch         string `help:"Its branch."`
	Event          string `help:"push, tag or pr." enum:",push,tag,pr" default:""`
	SourceBranch   string `help:"Of a pull request: the branch that it brings." name:"sourceBranch"`
	TargetBranch   string `help:"Of a pull request: the branch that it is for." name:"targetBranch"`
	Tag            string `help:"Its tag."`
	AuthorName     string `help:"Who wrote it." name:"authorName"`
	AuthorEmail    string `help:"Their address." name:"authorEmail"`
	CommitterName  string `help:"Who committed it." name:"committerName"`
	CommitterEmail string `help:"Their address." name:"committerEmail"`
	Message        string `help:"The commit's message."`
	URL            string `help:"Where it can be looked at."`
	Output         string `short:"o" help:"The file." required:"" type:"path"`
}

// Run writes the file. What a flag says counts, then what the CI says, then what the clone says.
func (a artifactCreate) Run(local Local) error {
	created, err := moment(a.Created)
	if err != nil {
		return err
	}
	v := releases.Version{
		RepositoryName: a.Repository, SHA: a.SHA, Created: created, Branch: a.Branch, Event: releases.Event(a.Event), SourceBranch: a.SourceBranch,
		TargetBranch: a.TargetBranch, Tag: a.Tag, AuthorName: a.AuthorName, AuthorEmail: a.AuthorEmail, CommitterName: a.CommitterName, CommitterEmail: a.CommitterEmail,
		Message: a.Message, URL: a.URL,
	}
	ci := detect(os.Getenv)
	own := a.Branch != "" || a.Tag != "" // which the CI's must not be mixed with
	v = fill(v, ci.Version, own)
	if head, err := local("."); err == nil && (v.SHA == "" || v.SHA == head.SHA) {
		v = fill(v, head, v.Branch != "" || v.Tag != "")
	}
	for flag, value := range map[string]string{"--repository": v.RepositoryName, "--sha": v.SHA} {
		if value == "" {
			return fmt.Errorf("%s is missing, and neither a CI that I know nor a clone here says it", flag)
		}
	}
	if v.Event == "" && v.Tag != "" && v.Branch == "" {
		v.Event = releases.EventTag
	}
	d := draft{}
	err = errors.Join(d.put("version", v), d.set("vars", variables(v, ci.Job)))
	if ci.URL != "" {
		err = errors.Join(err, d.add("items", map[string]string{"name": "CI", "url": ci.URL}))
	}
	if err != nil {
		return err
	}
	return d.write(a.Output)
}

// Local says what the clone in a folder has checked out.
type Local func(folder string) (releases.Version, error)

// fill takes from another version what one lacks; its refs only when that has none of its own.
func fill(v, from releases.Version, own bool) releases.Version {
	set := func(into *string, value string) {
		if *into == "" {
			*into = value
		}
	}
	set(&v.RepositoryName, from.RepositoryName)
	if v.SHA != "" && from.SHA != "" && v.SHA != from.SHA {
		return v // another commit's
	}
	set(&v.SHA, from.SHA)
	set(&v.URL, from.URL)
	set(&v.AuthorName, from.AuthorName)
	set(&v.AuthorEmail, from.AuthorEmail)
	set(&v.CommitterName, from.CommitterName)
	set(&v.CommitterEmail, from.CommitterEmail)
	set(&v.Message, from.Message)
	if v.Created == 0 {
		v.Created = from.Created
	}
	if !own && v.Event == "" {
		v.Branch, v.Tag, v.Event, v.SourceBranch, v.TargetBranch = from.Branch, from.Tag, from.Event, from.SourceBranch, from.TargetBranch
	}
	return v
}

// moment reads a time as people and git write it.
func moment(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return seconds, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 -0700", time.RFC1123Z, "Mon Jan 2 15:04:05 2006 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Unix(), nil
		}
	}
	return 0, fmt.Errorf("--created: %q is no time such as 2026-01-02T15:04:05Z", text)
}

type artifactPush struct {
	Server
	Format
	File string `short:"f" help:"The file." required:"" type:"existingfile"`
}

// Run ships it. However often it is tried, it is one artifact.
func (a artifactPush) Run(ctx context.Context, out Out) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	d, err := readDraft(a.File)
	if err != nil {
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	var answer json.RawMessage
	if err := c.Do(ctx, client.Call{Method: http.MethodPost, Path: "/api/artifact", Body: json.RawMessage(text), Key: hex.EncodeToString(sum[:])}, &answer); err != nil {
		return err
	}
	var shipped shippedArtifact
	if err := json.Unmarshal(answer, &shipped); err != nil {
		return err
	}
	return a.Show(out, answer, func() [][]string {
		return [][]string{{"Shipped: " + shipped.ID}, {"gimletd artifact track " + shipped.ID + " shows what becomes of it"}}
	})
}

// shippedArtifact is an artifact as the API lists it.
type shippedArtifact struct {
	ID           string           `json:"id"`
	Created      int64            `json:"created"`
	Version      releases.Version `json:"version"`
	Environments []struct {
		App string `json:"app"`
		Env string `json:"env"`
	} `json:"environments"`
}

type artifactList struct {
	Server
	Format
	Repository   string   `help:"Only of this source repository."`
	Branch       string   `help:"Only of this branch."`
	Event        string   `help:"Only of this event: push, tag or pr." enum:",push,tag,pr" default:""`
	SourceBranch string   `help:"Only of pull requests of this branch." name:"sourceBranch"`
	SHA          []string `help:"Only of these commits." sep:"none"`
	Since        string   `help:"Only after this time (RFC 3339)."`
	Until        string   `help:"Only before this time (RFC 3339)."`
	Limit        int      `help:"How many." default:"10"`
	Offset       int      `help:"How many to leave out."`
}

// Run lists them.
func (a artifactList) Run(ctx context.Context, out Out) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	query := values("repository", a.Repository, "branch", a.Branch, "event", a.Event, "sourceBranch", a.SourceBranch, "since", a.Since, "until", a.Until,
		"limit", strconv.Itoa(a.Limit), "offset", strconv.Itoa(a.Offset))
	query["sha"] = a.SHA
	var raw json.RawMessage
	if err := c.Do(ctx, client.Call{Method: http.MethodGet, Path: "/api/artifacts", Query: query}, &raw); err != nil {
		return err
	}
	var all []shippedArtifact
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	return a.Show(out, raw, func() [][]string {
		rows := [][]string{{"ID", "VERSION", "BRANCH", "WHEN", "BY", "APPS"}}
		for _, one := range all {
			var apps []string
			for _, e := range one.Environments {
				if app := e.App; !slices.Contains(apps, app) {
					apps = append(apps, app)
				}
			}
			rows = append(rows, []string{one.ID, one.Version.Short(), one.Version.Branch, at(one.Created), one.Version.AuthorName, strings.Join(apps, ", ")})
		}
		return rows
	})
}

type artifactTrack struct {
	Server
	Format
	Wait
	ID string `arg:"" help:"The artifact's id."`
}

// Run follows it.
func (a artifactTrack) Run(ctx context.Context, out Out) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return a.follow(ctx, out, a.Format, trackOf(c, "/api/eventArtifactTrack", url.Values{"artifactId": {a.ID}}))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
