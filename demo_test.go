package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/releases/gitops/gittest"
)

// TestTheDemoInAPipe runs what its greeting suggests, without HOME and without git, twice in the same folder.
func TestTheDemoInAPipe(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "demo")
	demo := func(lines string) string {
		t.Helper()
		cmd := exec.Command(self, "demo", "--dir", dir, "--user", "tess")
		cmd.Env, cmd.Stdin = []string{"PATH=/nonexistent"}, strings.NewReader(lines)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, &errOut)
		}
		return string(out)
	}
	said := demo("/release frontend production\n/gimlet status\n/rollback frontend production\n")
	for _, want := range []string{
		"✓ Released frontend v1.4.0 to production", "✓ Released backend 9b7e03a to staging", "✓ Released frontend v1.4.0 → c3d8a91 to production",
		"✓ Rolled back frontend in production: c3d8a91 → v1.4.0", "git -C " + dir,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	said = demo("/release backend production\n")
	if !strings.Contains(said, "✓ Released backend 9b7e03a to production") {
		t.Errorf("opened again:\n%s", said)
	}
	subjects := gittest.Git(t, filepath.Join(dir, "gitops.git"), "log", "--format=%s")
	if n := strings.Count(subjects, "\n") + 1; n != 6 || !strings.HasPrefix(subjects, "Release backend 9b7e03a to production") {
		t.Errorf("%d commits, want 6:\n%s", n, subjects)
	}
	gittest.Git(t, filepath.Join(dir, "gitops.git"), "fsck", "--strict")
}
