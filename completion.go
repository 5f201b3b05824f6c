package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints what a shell needs to complete our words.
type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
}

// Help is for kong.
func (completionCmd) Help() string {
	return "bash: put `source <(gimletd completion bash)` into ~/.bashrc\nzsh: put `source <(gimletd completion zsh)` into ~/.zshrc, after compinit\n" +
		"fish: gimletd completion fish > ~/.config/fish/completions/gimletd.fish"
}

// Run prints the script, which asks the binary at each Tab. Where we know nothing, shells complete file names.
func (c completionCmd) Run(std streams) error {
	scripts := map[string]string{
		"bash": `_gimletd() {
  local IFS=$'\n'
  COMPREPLY=($(gimletd complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _gimletd gimletd
`,
		"zsh": `_gimletd() {
  local -a found
  found=("${(@f)$(gimletd complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _gimletd gimletd
`,
		"fish": `complete -c gimletd -a '(gimletd complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
	}
	_, err := fmt.Fprint(std.out, scripts[c.Shell])
	return err
}

// completeCmd is what the scripts ask.
type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints what the last word may become, one on a line.
func (c completeCmd) Run(k *kong.Context, std streams) error {
	words := slices.DeleteFunc(c.Words, func(w string) bool { return w == "--" })
	var text strings.Builder
	for _, word := range complete(k.Model.Node, words) {
		text.WriteString(word + "\n")
	}
	_, err := fmt.Fprint(std.out, text.String())
	return err
}

// complete says what the last of the words may become.
func complete(at *kong.Node, words []string) (found []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := strings.TrimPrefix(words[len(words)-1], "=") // bash makes a word of it
	var asked *kong.Flag                                 // the flag whose value comes next
	for _, word := range words[:len(words)-1] {
		flag := flagOf(at, word)
		child := slices.IndexFunc(at.Children, func(n *kong.Node) bool { return n.Name == word })
		switch {
		case word == "=":
		case asked != nil:
			asked = nil
		case flag != nil && !flag.IsBool() && !strings.Contains(word, "="):
			asked = flag
		case child >= 0:
			at = at.Children[child]
		}
	}
	var candidates []string
	switch {
	case asked != nil:
		candidates = asked.EnumSlice()
	case strings.HasPrefix(last, "-"):
		for _, flag := range slices.Concat(at.AllFlags(true)...) {
			candidates = append(candidates, "--"+flag.Name)
		}
	default:
		for _, child := range at.Children {
			if !child.Hidden {
				candidates = append(candidates, child.Name)
			}
		}
		for _, argument := range at.Positional {
			candidates = append(candidates, argument.EnumSlice()...)
		}
	}
	for _, c := range candidates {
		if c != "" && strings.HasPrefix(c, last) {
			found = append(found, c)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// flagOf is the flag that the word is, as the command and those around it know it.
func flagOf(at *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, flag := range slices.Concat(at.AllFlags(false)...) {
		if name == "--"+flag.Name || (flag.Short != 0 && name == "-"+string(flag.Short)) {
			return flag
		}
	}
	return nil
}
