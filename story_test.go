package main

import (
	"flag"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"gimletd/releases/gitops/gittest"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// TestStories runs the transcripts in testdata. Beside testscript's own commands they have:
//
//	gimletd                starts a server with a console, against a git server over HTTP
//	ship FILE              posts an artifact, waits until it has settled
//	type WORDS…            types a line into the console, waits until it has settled
//	remote ARGS…           runs git in the remote repository
//	quit                   closes the console; the server must end with status 0
//	transcript             prints all that the console said
//
// Ids and hashes are replaced by numbered names.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			tb, ok := env.T().(testing.TB)
			if !ok {
				return fmt.Errorf("no testing.TB")
			}
			env.Values["story"] = &story{world: newWorld(tb, map[string]string{"README.md": "GitOps\n"}), names: map[string]string{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gimletd":    tell(func(ts *testscript.TestScript, s *story, _ []string) { s.server = s.world.start() }),
			"ship":       tell(shipFile),
			"type":       tell(func(_ *testscript.TestScript, s *story, args []string) { s.server.typed(strings.Join(args, " ")) }),
			"remote":     tell(runRemote),
			"quit":       tell(func(_ *testscript.TestScript, s *story, _ []string) { s.server.stop() }),
			"transcript": tell(compareTranscript),
		},
	})
}

// story is what the commands of one transcript share.
type story struct {
	world  *world
	server *server
	names  map[string]string
	count  map[string]int
}

func tell(do func(*testscript.TestScript, *story, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		s, ok := ts.Value("story").(*story)
		if !ok || neg {
			ts.Fatalf("no story, or a negated command")
		}
		do(ts, s, args)
	}
}

func shipFile(ts *testscript.TestScript, s *story, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "CHARTS", s.world.charts)
	s.server.post([]byte(text))
	s.server.typed("# settled?")
}

func runRemote(ts *testscript.TestScript, s *story, args []string) {
	out, err := gittest.Run(s.world.remote, args...)
	if err != nil {
		ts.Fatalf("%v", err)
	}
	_, err = fmt.Fprintln(ts.Stdout(), s.plain(out))
	ts.Check(err)
}

// compareTranscript prints what was said, for `cmp stdout FILE`, which -update can write anew.
func compareTranscript(ts *testscript.TestScript, s *story, _ []string) {
	_, err := fmt.Fprint(ts.Stdout(), s.plain(s.server.said()))
	ts.Check(err)
}

var volatile = regexp.MustCompile(`r-[2-9b-z]{6}\b|acme/[a-z]+-[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{64}\b|\b[0-9a-f]{7}\b|(?:\d{4}-\d\d-\d\d|(?:[A-Z][a-z]{2} )?\d{1,2} [A-Z][a-z]{2}) \d\d:\d\d UTC|http://127\.0\.0\.1:\d+`)

// plain gives ids, digests and commits of this run numbered names, in the order in which they appear.
func (s *story) plain(text string) string {
	if s.count == nil {
		s.count = map[string]int{}
	}
	return volatile.ReplaceAllStringFunc(text, func(found string) string {
		if strings.Trim(found, found[:1]) == "" || found == "1111222" {
			return found // a version of the story
		}
		if strings.HasSuffix(found, " UTC") {
			return "TIME"
		}
		kind := "ARTIFACT"
		switch {
		case strings.HasPrefix(found, "r-"):
			kind = "RELEASE"
		case strings.HasPrefix(found, "http"):
			kind = "URL"
		case len(found) == 7:
			kind = "COMMIT"
		case len(found) == 64:
			kind = "DIGEST"
		}
		if s.names[found] == "" {
			s.count[kind]++
			s.names[found] = fmt.Sprintf("%s-%d", kind, s.count[kind])
		}
		return s.names[found]
	})
}
