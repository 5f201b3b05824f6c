// GimletD is a GitOps release manager that lives in chat.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"os/user"
	"runtime/debug"
	"syscall"
	"time"

	"gimletd/bot"
	"gimletd/bot/console"
	"gimletd/commands/cli"
	"gimletd/releases"
	"gimletd/releases/gitops"
	"gimletd/releases/manifest"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// commandLine is all that can be typed.
type commandLine struct {
	Serve  serveCommand `cmd:"" help:"Run the server."`
	Demo   demoCommand  `cmd:"" help:"See the whole idea work here, in this terminal: everything embedded, nothing to set up."`
	Config configGroup  `cmd:"" help:"Work with the configuration."`

	Artifact cli.Artifact `cmd:"" help:"Make and ship artifacts, from CI."`
	Release  cli.Release  `cmd:"" help:"Release, roll back and look, by a running server."`

	Policy  policyGroup  `cmd:"" help:"Foretell, look back at, and test policies."`
	Audit   auditGroup   `cmd:"" help:"Prove and export the audit."`
	Token   tokenGroup   `cmd:"" help:"Make, list and revoke the tokens of the API, on a running server."`
	Slack   slackGroup   `cmd:"" help:"Set up Slack."`
	Discord discordGroup `cmd:"" help:"Set up Discord."`
	Version versionCmd   `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print a script by which a shell completes the words of this command."`

	Healthcheck  healthcheck `cmd:"" hidden:"" help:"Ask a running server whether it is ready; for containers."`
	Complete     completeCmd `cmd:"" hidden:"" help:"Say what a word may become; for shells."`
	RenderWorker workerCmd   `cmd:"" hidden:"" name:"render-worker" help:"Render charts for the server, over pipes."`
}

// streams are the process's own, given to commands.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	var c commandLine
	status := -1
	parser, err := kong.New(&c, kong.Name("gimletd"), kong.Description("The release manager that lives in chat."),
		kong.Writers(out, errOut), kong.Exit(func(code int) { status = code }), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(errOut, "gimletd:", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if status >= 0 { // --help has been printed
		return status
	}
	if err != nil {
		fmt.Fprintln(errOut, "gimletd:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command.BindTo(ctx, (*context.Context)(nil))
	command.Bind(clientOut(out, errOut), cli.Local(checkedOut))
	if err := command.Run(streams{in, out, errOut}); err != nil {
		fmt.Fprintln(errOut, "gimletd:", err)
		return exitFailed
	}
	return exitDone
}

// clientOut is where client commands speak; how far they are only on a terminal.
func clientOut(out, errOut io.Writer) cli.Out {
	o := cli.Out{Writer: out}
	if f, ok := errOut.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		o.Progress = f
	}
	return o
}

// checkedOut is the version that the clone in a folder has checked out.
func checkedOut(folder string) (releases.Version, error) {
	h, err := gitops.HeadOf(folder)
	return releases.Version{
		RepositoryName: cli.RepositoryName(h.Remote), SHA: h.Commit, Created: h.Created, Branch: h.Branch, Tag: h.Tag, AuthorName: h.Author, AuthorEmail: h.AuthorEmail,
		CommitterName: h.Committer, CommitterEmail: h.CommitterEmail, Message: h.Message,
	}, err
}

type serveCommand struct {
	Config  string `help:"The configuration file." required:"" type:"existingfile"`
	Console bool   `help:"Take commands in this terminal, too. Changes of the configuration need a restart then."`
	User    string `help:"Who sits at the console. The operating system's user without."`
}

// Run serves until it is told to stop.
func (c serveCommand) Run(ctx context.Context, std streams) error {
	config, err := LoadConfig(c.Config)
	if err != nil {
		return err
	}
	log, err := newLog(config.Log, std.err)
	if err != nil {
		return err
	}
	p := process{config: config, log: log, console: consoleConfig(std, c.User)}
	if c.Console { // whose input cannot be handed on
		return p.run(ctx)
	}
	p.console.In = nil
	p.file, p.errOut = c.Config, std.err
	if text, err := os.ReadFile(c.Config); err == nil {
		p.print = sha256.Sum256(text)
	}
	return serveForever(ctx, p)
}

// consoleConfig is the console at the process's own streams; without a name, who the operating system says sits there.
func consoleConfig(std streams, name string) console.Config {
	if name == "" {
		name = "console"
		if u, err := user.Current(); err == nil && u.Username != "" {
			name = u.Username
		}
	}
	return console.Config{
		In: std.in, Out: std.out, User: bot.User{Platform: "console", ID: name, Name: name}, NoColor: os.Getenv("NO_COLOR") != "",
	}
}

type configGroup struct {
	Check configCheck `cmd:"" help:"Read a configuration and report all that is wrong with it."`
}

type configCheck struct {
	Config string `arg:"" help:"The configuration file." type:"existingfile"`
}

// Run reports the faults.
func (c configCheck) Run(std streams) error {
	config, err := LoadConfig(c.Config)
	if err != nil {
		return fmt.Errorf("the configuration has faults\n%w", err)
	}
	fmt.Fprintf(std.out, "%s is good: %d environments, %d GitOps repositories, %d chart sources\n", c.Config, len(config.Environments), len(config.GitOps), len(config.Charts))
	policies, err := config.scheduledPolicies()
	if err != nil {
		return err
	}
	for _, fight := range releases.Fights(policies) {
		fmt.Fprintln(std.out, "warning:", fight)
	}
	if config.Server.AdminToken == "" {
		fmt.Fprintln(std.out, "note: without server.adminTokenFile the API refuses every call")
	}
	return nil
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(std streams) error {
	_, err := fmt.Fprintln(std.out, "gimletd", version())
	return err
}

// version is what the build says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

type healthcheck struct {
	URL string `help:"The admin listener's readiness." default:"http://127.0.0.1:8889/readyz"`
}

// Run succeeds when the server is ready.
func (h healthcheck) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("%s answered %s", h.URL, res.Status))
	}
	return nil
}

type workerCmd struct{}

// Run renders until the pipe ends.
func (workerCmd) Run(std streams) error { return manifest.Work(std.in, std.out) }
