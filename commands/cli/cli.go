// Package cli is what the binary does as a client of a running server: the words, flags and environment variables of Gimlet's command
// line.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"gimletd/releases/api/client"
)

// Out is where a command says what it found.
type Out struct {
	io.Writer
	// Progress is where it says how far it is, while it waits; nil when nobody watches.
	Progress io.Writer
}

// Server is where the calls go.
type Server struct {
	Server string `help:"The server's URL." env:"GIMLET_SERVER" required:""`
	Token  string `help:"A token of the API." env:"GIMLET_TOKEN" required:""`
}

func (s Server) client() (*client.Client, error) { return client.New(s.Server, s.Token) }

// Format is how a command says what it found.
type Format struct {
	Output string `short:"o" help:"text or json." enum:"text,json" default:"text"`
}

// Show prints a value: as JSON, or as a table.
func (f Format) Show(out Out, value any, table func() [][]string) error {
	if f.Output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range table() {
		for i, cell := range row {
			row[i] = oneLine(cell)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// oneLine keeps what others wrote from making lines, or moving the cursor.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}

// Wait is how long a command waits for what it began.
type Wait struct {
	Wait    bool          `help:"Wait until all is rolled out, or has failed."`
	Timeout time.Duration `help:"How long to wait." default:"10m"`
	Every   time.Duration `hidden:"" default:"5s"`
}

// result is what became of one app.
type result struct {
	App                    string `json:"app"`
	Env                    string `json:"env"`
	Hash                   string `json:"hash"`
	Status                 string `json:"status"`
	StatusDesc             string `json:"statusDesc"`
	GitopsCommitStatus     string `json:"gitopsCommitStatus"`
	GitopsCommitStatusDesc string `json:"gitopsCommitStatusDesc"`
}

// track is what became of an artifact, or of a request.
type track struct {
	Status     string   `json:"status"`
	StatusDesc string   `json:"statusDesc"`
	Results    []result `json:"results"`
}

const (
	statusNew   = "new"
	statusError = "error"
	reconciled  = "ReconciliationSucceeded"
)

func (r result) failed() bool {
	return r.Status == "failure" || strings.Contains(r.GitopsCommitStatus, "Failed")
}

// done reports whether nothing more will happen, and what has failed.
func (t track) done() (over bool, failed []result) {
	over = t.Status != statusNew
	for _, r := range t.Results {
		switch {
		case r.failed():
			failed = append(failed, r)
		case r.GitopsCommitStatus != reconciled:
			over = false
		}
	}
	return over || t.Status == statusError, failed
}

// line says how far it is.
func (t track) line() string {
	out, all := 0, len(t.Results)
	for _, r := range t.Results {
		if r.GitopsCommitStatus == reconciled {
			out++
		}
	}
	text := fmt.Sprintf("%d of %d rolled out", out, all)
	if t.Status == statusNew {
		text += "; waiting"
		if t.StatusDesc != "" {
			text += ": " + oneLine(t.StatusDesc)
		}
	}
	return text
}

func (t track) table() [][]string {
	rows := [][]string{{"APP", "ENV", "STATUS", "ROLLOUT", "COMMIT", "BECAUSE"}}
	for _, r := range t.Results {
		rows = append(rows, []string{r.App, r.Env, r.Status, r.GitopsCommitStatus, short(r.Hash), r.StatusDesc})
	}
	if len(t.Results) == 0 {
		rows = [][]string{{"Nothing was released (" + t.Status + ")."}}
	}
	return rows
}

func short(hash string) string { return hash[:min(len(hash), 7)] }

// follow shows what became of something, waiting for its end if that is wanted. What has failed is an error.
func (w Wait) follow(ctx context.Context, out Out, f Format, look func(context.Context) (track, error)) error {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	for {
		t, err := look(ctx)
		if err != nil {
			return err
		}
		over, failed := t.done()
		if !over && w.Wait && len(failed) == 0 {
			out.progress(t.line())
			select {
			case <-time.After(w.Every):
				continue
			case <-ctx.Done():
				out.progress("")
				return fmt.Errorf("it is not over after %s: %s", w.Timeout, t.line())
			}
		}
		out.progress("")
		if err := f.Show(out, t, t.table); err != nil {
			return err
		}
		switch {
		case len(failed) > 0:
			return fmt.Errorf("%s in %s has failed: %s", failed[0].App, failed[0].Env, first(failed[0].StatusDesc, failed[0].GitopsCommitStatusDesc, failed[0].GitopsCommitStatus))
		case t.Status == statusError:
			return fmt.Errorf("it has failed: %s", t.StatusDesc)
		}
		return nil
	}
}

// progress writes over the last line on a terminal.
func (o Out) progress(text string) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, "\r\x1b[K%s", text)
	}
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

func at(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).Local().Format("2006-01-02 15:04")
}
