package releases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role says what its members may do, and where.
type Role struct {
	Name         string
	Can          []string // verbs
	Environments []string // globs; empty means all
	Apps         []string // globs; empty means all
}

// The verbs of roles.
const (
	VerbRelease    = "release"
	VerbRollback   = "rollback"
	VerbApprove    = "approve"
	VerbLock       = "lock"        // lock, and mark versions as bad
	VerbFreeze     = "freeze"      // freeze, and end freezes
	VerbBreakGlass = "break-glass" // with a second person: pass what keeps a release back
	VerbShip       = "ship"        // ship artifacts
)

// Verbs are those that a role can have.
func Verbs() []string {
	return []string{VerbRelease, VerbRollback, VerbApprove, VerbLock, VerbFreeze, VerbBreakGlass, VerbShip}
}

func (r Role) allows(verb, app, env string) bool {
	return slices.Contains(r.Can, verb) && within(r.Environments, env) && within(r.Apps, app)
}

// within reports whether the globs take the name. AllApps is taken only by those who may do it to every app.
func within(globs []string, name string) bool {
	if name == AllApps {
		return len(globs) == 0 || slices.Contains(globs, AllApps)
	}
	return len(globs) == 0 || matchAny(globs, name)
}

// Access says who somebody is now, and what they may do.
type Access interface {
	// Fresh returns the actor as they are now, with those of their roles, at or after the moment, that allow the verb there.
	Fresh(ctx context.Context, a Actor, verb, app, env string, since time.Time) Actor
	// Somewhere reports whether the actor may do it to some app in some environment, as far as that is known.
	Somewhere(ctx context.Context, a Actor, verb string) bool
	// Allow returns an Error that says what would be needed beside the actor's roles.
	Allow(a Actor, verb, app, env string) error
}

// allow returns who the actor is now, or an Error unless they may do it. It asks outside, so it comes before a transaction.
func (s *Service) allow(ctx context.Context, a Actor, verb, app, env string, since time.Time) (Actor, error) {
	if since.IsZero() {
		since = s.now()
	}
	if a.Root && a.Via == ViaAPI && (verb == VerbApprove || verb == VerbBreakGlass) {
		return a, Errorf(NotAllowed, "the admin token is nobody's, so it does not decide: make a token that speaks for somebody (gimletd token create --person)")
	}
	a = s.access.Fresh(ctx, a, verb, app, env, since)
	if err := s.access.Allow(a, verb, app, env); err != nil {
		return a, err
	}
	return a, s.concerns(ctx, a, verb, app, env)
}

// concerns returns an Error when what is live there is of a source repository for which the actor does not speak. What is shipped
// changes nothing by itself.
func (s *Service) concerns(ctx context.Context, a Actor, verb, app, env string) error {
	if len(a.Repositories) == 0 || verb == VerbShip {
		return nil
	}
	if app == AllApps {
		return Errorf(NotAllowed, "this token speaks for %s only, and this is about all apps of %s", strings.Join(a.Repositories, ", "), env)
	}
	return s.store.View(ctx, func(tx Tx) error {
		live, err := tx.Live(app, env)
		if err != nil || live == nil {
			return err
		}
		return a.SpeaksFor(live.Version.RepositoryName)
	})
}

// Allow returns an Error unless one of the actor's roles allows the verb: NotAllowed, with the roles that would; or
// Unavailable when not all of the actor's roles could be found out.
func Allow(roles []Role, a Actor, verb, app, env string) error {
	if a.Root {
		return nil
	}
	var would []string
	for _, role := range roles {
		if !role.allows(verb, app, env) {
			continue
		}
		if slices.Contains(a.Roles, role.Name) {
			return nil
		}
		would = append(would, role.Name)
	}
	what := fmt.Sprintf("%s %s in %s", verb, app, env)
	switch {
	case verb == VerbRelease:
		what = fmt.Sprintf("release %s to %s", app, env)
	case verb == VerbFreeze:
		what = "freeze " + env
	case verb == VerbBreakGlass:
		what = fmt.Sprintf("break the glass for %s in %s", app, env)
	case app == AllApps:
		what = fmt.Sprintf("%s all of %s", verb, env)
	}
	switch {
	case a.Doubt != "":
		return Errorf(Unavailable, "whether you may %s cannot be told now, so nothing was done: %s; try again in a moment", what, a.Doubt)
	case len(roles) == 0:
		return Errorf(NotAllowed, "you may not %s: the configuration has no roles yet, so only the console and the admin token may\nWho keeps the configuration can add them: /gimlet whoami shows what to write", what)
	case len(would) == 0:
		return Errorf(NotAllowed, "you may not %s: no role may\n/gimlet whoami shows what you may do", what)
	}
	return Errorf(NotAllowed, "you may not %s: needs %s\n/gimlet whoami shows what you may do, and what to ask for", what, strings.Join(would, " or "))
}
