package releases

import (
	"fmt"
	"slices"
	"strings"
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
	VerbRelease  = "release"
	VerbRollback = "rollback"
	VerbApprove  = "approve"
)

// Verbs are those that a role can have.
func Verbs() []string { return []string{VerbRelease, VerbRollback, VerbApprove} }

func (r Role) allows(verb, app, env string) bool {
	return slices.Contains(r.Can, verb) && within(r.Environments, env) && within(r.Apps, app)
}

func within(globs []string, name string) bool { return len(globs) == 0 || matchAny(globs, name) }

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
	if verb == VerbRelease {
		what = fmt.Sprintf("release %s to %s", app, env)
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
