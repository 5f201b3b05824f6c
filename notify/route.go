package notify

import (
	"slices"

	"gimletd/bot"
	"gimletd/releases"
)

// Route returns the channels of an outcome: those of the environments it concerns, each once. An artifact that is for
// no environment that is known is told everywhere.
func Route(o releases.Outcome, environments []releases.Environment) []bot.Channel {
	concerned := func(env string) bool {
		switch {
		case o.Artifact != nil && !slices.ContainsFunc(o.Artifact.Decisions, func(d releases.Decision) bool { return !d.Unknown }):
			return true
		case o.Artifact != nil:
			return slices.ContainsFunc(o.Artifact.Decisions, func(d releases.Decision) bool { return d.Env == env })
		case o.Release != nil:
			return o.Release.Env == env
		case o.Run != nil:
			return o.Run.To == env
		}
		return concerns(o, env)
	}
	var channels []bot.Channel
	for _, e := range environments {
		if !concerned(e.Name) {
			continue
		}
		for _, c := range e.Channels {
			if !slices.Contains(channels, bot.Channel(c)) {
				channels = append(channels, bot.Channel(c))
			}
		}
	}
	return channels
}
