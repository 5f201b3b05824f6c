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
	"text/tabwriter"
	"time"

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
	// Repository narrows what its roles let it ship.
	Repository []string `help:"A source repository that it speaks for, as a glob; those that begin with ! are left out; may be repeated. Any without." placeholder:"GLOB"`
}

type tokenList struct {
	Config string `help:"The configuration file of the running server." required:"" type:"existingfile"`
}

type tokenRevoke struct {
	Config string `help:"The configuration file of the running server." required:"" type:"existingfile"`
	Name   string `arg:"" help:"Its name."`
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
	var made struct{ Token string }
	if err := asAdmin(ctx, c.Config, http.MethodPost, "/api/tokens", body, &made); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.out, made.Token)
	return err
}

// Run lists the tokens.
func (c tokenList) Run(ctx context.Context, std streams) error {
	var all []releases.Token
	if err := asAdmin(ctx, c.Config, http.MethodGet, "/api/tokens", nil, &all); err != nil {
		return err
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tFOR\tSHIPS\tBY\tCREATED\tUSED\tEXPIRES")
	for _, t := range all {
		expires, used, ships := "never", "never", "anything"
		if !t.Used.IsZero() {
			used = t.Used.Format(time.RFC3339)
		}
		if len(t.Repositories) > 0 {
			ships = strings.Join(t.Repositories, ", ")
		}
		if !t.Expires.IsZero() {
			expires = t.Expires.Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.Person, ships, t.By, t.Created.Format(time.RFC3339), used, expires)
	}
	return table.Flush()
}

// Run revokes a token.
func (c tokenRevoke) Run(ctx context.Context, std streams) error {
	var gone struct{ Name string }
	if err := asAdmin(ctx, c.Config, http.MethodDelete, "/api/tokens/"+url.PathEscape(c.Name), nil, &gone); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.out, "The token %s is revoked.\n", gone.Name)
	return err
}
