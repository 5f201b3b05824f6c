package commands

import (
	"gimletd/bot"
	"gimletd/releases"
)

// Access says who somebody is and what they may do.
type Access interface {
	Identify(u bot.User) (releases.Actor, error)
	// Allow returns a NotAllowed Error that says what would be needed.
	Allow(actor releases.Actor, verb, app, env string) error
}

// The verbs that need a right.
const (
	verbRelease  = "release"
	verbRollback = "rollback"
)

// ConsoleOnly is the access of a configuration without roles: who sits at the console may do everything, everybody
// else may look.
type ConsoleOnly struct{}

// Identify takes the platform's word for who the user is.
func (ConsoleOnly) Identify(u bot.User) (releases.Actor, error) {
	if u.Name == "" {
		return releases.Actor{}, releases.Errorf(releases.NotAllowed, "who are you? The platform gave no name")
	}
	return releases.Actor{Name: u.Name, Via: u.Platform}, nil
}

// Allow lets the console.
func (ConsoleOnly) Allow(actor releases.Actor, verb, _, env string) error {
	if actor.Via == "console" {
		return nil
	}
	return releases.Errorf(releases.NotAllowed, "you may not %s in %s: only the console may", verb, env)
}
