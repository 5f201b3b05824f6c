package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gimletd/commands/cli"
	"gimletd/releases"
)

type tokenGroup struct {
	Create tokenCreate `cmd:"" help:"Make a token and print it: it is shown this once."`
	List   tokenList   `cmd:"" help:"List the tokens."`
	Revoke tokenRevoke `cmd:"" help:"Revoke a token."`
}

type tokenCreate struct {
	Config  string        `help:"The configuration file of the running server." required:"" type:"existingfile"`
	Name    string        `arg:"" help:"Its name; roles have it as a member: token:<name>."`
	Person  string        `help:"The e-mail address of somebody in people, for whom it speaks."`
	Expires time.Duration `help:"How long it is good for, such as 2160h. For ever without."`
	// Repository narrows what its roles let it do.
	Repository []string `help:"A source repository that it speaks for, as a glob; those that begin with ! are left out; may be repeated. Any without." placeholder:"GLOB"`
	cli.Format
}

type tokenList struct {
	Config string `help:"The configuration file of the running server." required:"" type:"existingfile"`
	cli.Format
}

type tokenRevoke struct {
	Config string `help:"The configuration file of the running server." required:"" type:"existingfile"`
	Name   string `arg:"" help:"Its name."`
	cli.Format
}

// asAdmin calls the running server and decodes its answer.
func asAdmin(ctx context.Context, file, method, path string, body, answer any) (err error) {
	config, err := LoadConfig(file)
	if err != nil {
		return err
	}
	if config.Server.AdminToken == "" {
		return errors.New("the configuration has no server.adminToken, by which tokens are made")
	}
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = bytes.NewReader(encoded)
	}
	res, err := callServer(ctx, config, method, path, text)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	return json.NewDecoder(res.Body).Decode(answer)
}

// Run makes a token.
func (c tokenCreate) Run(ctx context.Context, std streams) error {
	body := map[string]any{"name": c.Name, "person": c.Person, "repositories": c.Repository}
	if c.Expires > 0 {
		body["expires"] = time.Now().Add(c.Expires)
	}
	var made struct {
		Name  string `json:"name"`
		Token string `json:"token"`
	}
	if err := asAdmin(ctx, c.Config, http.MethodPost, "/api/tokens", body, &made); err != nil {
		return err
	}
	return c.Show(cli.Out{Writer: std.out}, made, func() [][]string { return [][]string{{made.Token}} })
}

// Run lists the tokens.
func (c tokenList) Run(ctx context.Context, std streams) error {
	all := []releases.Token{}
	for {
		var page []releases.Token
		if err := asAdmin(ctx, c.Config, http.MethodGet, fmt.Sprintf("/api/tokens?offset=%d", len(all)), nil, &page); err != nil {
			return err
		}
		if all = append(all, page...); len(page) == 0 {
			break
		}
	}
	return c.Show(cli.Out{Writer: std.out}, all, func() [][]string {
		rows := [][]string{{"NAME", "FOR", "REPOSITORIES", "BY", "CREATED", "USED", "EXPIRES"}}
		for _, t := range all {
			expires, used, repositories := "never", "never", "any"
			if !t.Used.IsZero() {
				used = t.Used.Format(time.RFC3339)
			}
			if len(t.Repositories) > 0 {
				repositories = strings.Join(t.Repositories, ", ")
			}
			if !t.Expires.IsZero() {
				expires = t.Expires.Format(time.RFC3339)
			}
			rows = append(rows, []string{t.Name, t.Person, repositories, t.By, t.Created.Format(time.RFC3339), used, expires})
		}
		return rows
	})
}

// Run revokes a token.
func (c tokenRevoke) Run(ctx context.Context, std streams) error {
	var gone struct {
		Name string `json:"name"`
	}
	if err := asAdmin(ctx, c.Config, http.MethodDelete, "/api/tokens/"+url.PathEscape(c.Name), nil, &gone); err != nil {
		return err
	}
	return c.Show(cli.Out{Writer: std.out}, gone, func() [][]string { return [][]string{{"The token " + gone.Name + " is revoked."}} })
}
