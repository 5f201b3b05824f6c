package gitops_test

import (
	"path/filepath"
	"testing"

	"gimletd/releases/gitops"
	"gimletd/releases/gitops/gittest"
)

// TestTheTagOfWhatIsCheckedOut has CI check a tag out, whose commit has others, too.
func TestTheTagOfWhatIsCheckedOut(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "source.git")
	gittest.Bare(t, bare, map[string]string{"main.go": "package main\n"})
	clone := gittest.Clone(t, bare)
	for _, c := range []struct{ tag, want string }{{"nightly", "nightly"}, {"older", "older"}, {"v1.9.0", "v1.9.0"}, {"v1.10.0", "v1.10.0"}, {"zulu", "v1.10.0"}} {
		gittest.Git(t, clone, "tag", "-am", c.tag, c.tag)
		gittest.Git(t, clone, "checkout", "-q", "--detach")
		if h, err := gitops.HeadOf(clone); err != nil || h.Tag != c.want || h.Branch != "" {
			t.Errorf("with %s: %+v %v, not %s", c.tag, h, err, c.want)
		}
	}
}
