package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompletion asks the binary as the scripts do, and bash through its script.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{""}, "artifact audit completion config demo discord policy release serve slack token version"},
		{[]string{"re"}, "release"},
		{[]string{"release", ""}, "delete list make rollback status track"},
		{[]string{"release", "make", "--e"}, "--env"},
		{[]string{"release", "make", "--output", ""}, "json text"},
		{[]string{"release", "make", "--output", "=", "j"}, "json"},
		{[]string{"release", "make", "--output", "="}, "json text"},
		{[]string{"release", "make", "--env", "release", "--out"}, "--output"},
		{[]string{"artifact", "push", "-o", "t"}, "text"},
		{[]string{"completion", ""}, "bash fish zsh"},
		{[]string{"render"}, ""},
		{[]string{"artifact", "push", "-f", ""}, ""},
		{nil, "artifact audit completion config demo discord policy release serve slack token version"},
	} {
		status, out := command(append([]string{"complete", "--"}, c.words...)...)
		if got := strings.Join(strings.Fields(out), " "); status != exitDone || got != c.want {
			t.Errorf("%q: %d %q, not %q", c.words, status, got, c.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if status, out := command("completion", shell); status != exitDone || !strings.Contains(out, "gimletd complete -- ") {
			t.Errorf("%s: %d %s", shell, status, out)
		}
	}
	// Bash itself, with the binary as gimletd.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "gimletd")); err != nil {
		t.Fatal(err)
	}
	script := `source <(gimletd completion bash)
COMP_WORDS=(gimletd release make --output j); COMP_CWORD=4; _gimletd; echo "${COMPREPLY[@]}"
COMP_WORDS=(gimletd release ""); COMP_CWORD=2; _gimletd; echo "${COMPREPLY[@]}"`
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if want := "json\ndelete list make rollback status track\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q, not %q", err, out, want)
	}
}
