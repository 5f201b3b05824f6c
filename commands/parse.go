package commands

import (
	"slices"
	"strings"

	"gimletd/bot"
	"gimletd/releases"
)

// words are the arguments of a command by the names of its parameters.
type words map[string]string

// parse fits the arguments to the parameters. Too few are no fault here: commands offer a choice instead.
func parse(spec bot.Spec, args []string) (words, error) {
	if last := len(spec.Params) - 1; last >= 0 && spec.Params[last].Rest && len(args) > last {
		args = append(slices.Clone(args[:last]), strings.Join(args[last:], " "))
	}
	if len(args) > len(spec.Params) {
		return nil, releases.Errorf(releases.Invalid, "too many words: %q is one more than %s takes\nusage: %s",
			args[len(spec.Params)], spec.Name, usage(spec))
	}
	w := words{}
	for i, arg := range args {
		w[spec.Params[i].Name] = arg
	}
	for _, p := range spec.Params {
		if p.Required && w[p.Name] == "" {
			return nil, releases.Errorf(releases.Invalid, "%s is missing: %s\nusage: %s", p.Name, p.Summary, usage(spec))
		}
	}
	return w, nil
}

// usage is how a command is typed.
func usage(spec bot.Spec) string {
	var text strings.Builder
	text.WriteString("/" + spec.Name)
	for _, p := range spec.Params {
		if p.Required {
			text.WriteString(" <" + p.Name + ">")
		} else {
			text.WriteString(" [" + p.Name + rest(p) + "]")
		}
	}
	return text.String()
}

func rest(p bot.Param) string {
	if p.Rest {
		return " …"
	}
	return ""
}

// normalize takes the slash off the command's name and joins the group's: /gimlet status becomes `gimlet status`.
func normalize(args []string) (name string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	name, rest = strings.ToLower(strings.TrimPrefix(args[0], "/")), args[1:]
	if name != group {
		return name, rest
	}
	if len(rest) == 0 {
		return group + " help", nil
	}
	return group + " " + strings.ToLower(rest[0]), rest[1:]
}

// group is the command that has all the others under it.
const group = "gimlet"
