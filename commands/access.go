package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gimletd/bot"
	"gimletd/releases"
)

// Access says who somebody is. What they may do is decided by the service; here it is only known what to offer them.
type Access interface {
	// Identify returns who the user is, without roles.
	Identify(ctx context.Context, u bot.User) (releases.Actor, error)
	// Known returns the actor with the roles that they had lately.
	Known(ctx context.Context, a releases.Actor) releases.Actor
	// Allow returns an Error that says what would be needed beside the actor's roles.
	Allow(a releases.Actor, verb, app, env string) error
	// Find returns the person whom a word names: an e-mail address, or an account such as slack:U….
	Find(ctx context.Context, word string) (releases.Actor, error)
}

// Person is somebody with all their accounts.
type Person struct {
	Name     string
	Email    string
	Accounts map[string]string // platform → id
}

// Role is a role with its members: `slack:@handle`, `slack:S…` (a group), `slack:U…`, or the e-mail address of a Person.
type Role struct {
	releases.Role
	Members []string
}

// Members is an Access by the roles of the configuration, and the groups of the platforms. Where there are no roles, who sits
// at the console may do everything.
type Members struct {
	People      []Person
	Roles       []Role
	Directories map[string]bot.Directory // by platform
	// Token reports whether a token of the API still is good, by its account: its name and, after a slash, what tells it from
	// others of that name.
	Token func(ctx context.Context, account string) (bool, error)
	// Delegations are those in force. Without it there are none.
	Delegations func(ctx context.Context) ([]releases.Delegation, error)
}

// Platforms that are no chats.
const (
	console = "console"
	api     = "api" // its users are tokens
)

// Identify says who the user is.
func (m Members) Identify(ctx context.Context, u bot.User) (releases.Actor, error) {
	if u.Platform == "" || u.ID == "" {
		return releases.Actor{}, releases.Errorf(releases.NotAllowed, "who are you? The platform gave no name")
	}
	a := releases.Actor{Name: u.Name, Email: u.Email, Via: u.Platform, User: u.ID, Person: u.Platform + ":" + u.ID, Root: u.Platform == console && len(m.Roles) == 0}
	if p, ok := m.person(u); ok {
		a.Name, a.Email, a.Person = p.Name, p.Email, "person:"+strings.ToLower(p.Email)
	} else if directory := m.Directories[u.Platform]; directory != nil && a.Email == "" {
		// A name and an address are a courtesy here; whoever needs them says so when they are missing.
		if known, err := directory.User(ctx, u.ID); err == nil {
			a.Name, a.Email = first(known.Name, a.Name), known.Email
		}
	}
	if a.Name == "" {
		a.Name = u.ID
	}
	return a, nil
}

// Known takes what is known of the groups.
func (m Members) Known(ctx context.Context, a releases.Actor) releases.Actor {
	return m.with(ctx, a, m.Roles, time.Time{})
}

// Fresh looks the actor up anew, and asks for the groups of the roles that matter.
func (m Members) Fresh(ctx context.Context, a releases.Actor, verb, app, env string, since time.Time) releases.Actor {
	if (a.Root && (a.Via != console || len(m.Roles) == 0)) || a.User == "" {
		return a
	}
	if a.Via == api && m.Token != nil {
		if lives, err := m.Token(ctx, a.User); err != nil || !lives {
			a.Roles, a.Doubt = nil, ""
			if err != nil {
				a.Doubt = "whether its token still is good is not known"
			}
			return a
		}
	}
	if now, err := m.Identify(ctx, bot.User{Platform: a.Via, ID: a.User, Name: a.Name, Email: a.Email}); err == nil {
		now.Repositories = a.Repositories // of the token, not of who holds it
		a = now
	}
	var relevant []Role
	for _, role := range m.Roles {
		if releases.Allow([]releases.Role{role.Role}, releases.Actor{Roles: []string{role.Name}}, verb, app, env) == nil {
			relevant = append(relevant, role)
		}
	}
	return m.with(ctx, a, relevant, since)
}

// Somewhere reports whether one of the actor's roles has the verb, wherever, or may have: who is in a group is not always known.
func (m Members) Somewhere(ctx context.Context, a releases.Actor, verb string) bool {
	having := slices.DeleteFunc(slices.Clone(m.Roles), func(r Role) bool { return !slices.Contains(r.Can, verb) })
	a = m.with(ctx, a, having, time.Time{})
	return a.Root || len(a.Roles) > 0 || a.Doubt != ""
}

// with gives the actor those of the roles that they are a member of.
func (m Members) with(ctx context.Context, a releases.Actor, roles []Role, since time.Time) releases.Actor {
	a.Roles, a.Doubt = nil, ""
	u := bot.User{Platform: a.Via, ID: a.User, Name: a.Name, Email: a.Email}
	for _, role := range roles {
		in, err := m.member(ctx, role, u, a, since)
		switch {
		case in:
			a.Roles = append(a.Roles, role.Name)
		case err != nil:
			a.Doubt = err.Error()
		}
	}
	return a
}

func first(words ...string) string {
	i := slices.IndexFunc(words, func(w string) bool { return w != "" })
	if i < 0 {
		return ""
	}
	return words[i]
}

// person is whose account it is. A token may speak for somebody by their address; so may who sits at the console.
func (m Members) person(u bot.User) (Person, bool) {
	for _, p := range m.People {
		if (u.ID != "" && p.Accounts[u.Platform] == u.ID) || (u.Platform == console && (strings.EqualFold(p.Name, u.ID) || strings.EqualFold(p.Email, u.ID))) ||
			(u.Platform == api && u.Email != "" && strings.EqualFold(p.Email, u.Email)) {
			return p, true
		}
	}
	return Person{}, false
}

// Find returns the person whom a word names.
func (m Members) Find(ctx context.Context, word string) (releases.Actor, error) {
	word = strings.Trim(word, "<>")
	for _, p := range m.People {
		if !strings.EqualFold(p.Email, word) {
			continue
		}
		for _, platform := range slices.Sorted(maps.Keys(p.Accounts)) {
			if p.Accounts[platform] != "" {
				return m.Identify(ctx, bot.User{Platform: platform, ID: p.Accounts[platform], Name: p.Name})
			}
		}
		return m.Identify(ctx, bot.User{Platform: console, ID: p.Email, Name: p.Name})
	}
	platform, id, ok := strings.Cut(word, ":")
	if ok && id != "" && !isGroup(id) && m.Directories[platform] != nil {
		u, err := m.Directories[platform].User(ctx, id)
		if errors.Is(err, bot.ErrNobody) {
			return releases.Actor{}, releases.Errorf(releases.NotFound, "there is nobody with the id %s on %s", id, platform)
		}
		if err != nil {
			return releases.Actor{}, releases.Wrap(releases.Unavailable, err, "who %s is cannot be looked up now", word)
		}
		return m.Identify(ctx, u)
	}
	return releases.Actor{}, releases.Errorf(releases.NotFound, "I do not know %q: name somebody by the e-mail address that they have in `people`, or by their account, such as slack:U024BE7LH", word)
}

// member reports whether the user is a member of the role. With an error it could not be found out.
func (m Members) member(ctx context.Context, role Role, u bot.User, a releases.Actor, since time.Time) (in bool, err error) {
	for _, name := range role.Members {
		platform, id, ok := strings.Cut(name, ":")
		switch {
		case !ok:
			in = in || (strings.HasPrefix(a.Person, "person:") && strings.EqualFold(name, a.Email))
		case platform == "token":
			token, _, _ := strings.Cut(u.ID, "/")
			in = in || (u.Platform == api && id == token)
		case id != "" && id == m.account(u, platform):
			in = true
		}
	}
	for _, name := range role.Members {
		if in {
			return true, nil
		}
		platform, group, _ := strings.Cut(name, ":")
		directory := m.Directories[platform]
		account := m.account(u, platform)
		if directory == nil || account == "" || !isGroup(group) {
			continue
		}
		var lookup error
		if in, lookup = directory.Member(ctx, group, account, since); lookup != nil {
			in, err = false, fmt.Errorf("who is in %s:%s is not known (%w)", platform, group, lookup)
		}
	}
	return in, err
}

// account is the user's id on a platform, if they have one.
func (m Members) account(u bot.User, platform string) string {
	if u.Platform == platform {
		return u.ID
	}
	if p, ok := m.person(u); ok {
		return p.Accounts[platform]
	}
	return ""
}

// isGroup tells the name of a group from that of a person.
func isGroup(id string) bool {
	return strings.HasPrefix(id, "@") || strings.HasPrefix(id, "S") || strings.HasPrefix(id, "role:")
}

// Allow checks the actor's roles.
func (m Members) Allow(actor releases.Actor, verb, app, env string) error {
	roles := make([]releases.Role, 0, len(m.Roles))
	for _, r := range m.Roles {
		roles = append(roles, r.Role)
	}
	return releases.Allow(roles, actor, verb, app, env)
}

// Voters returns the channels of the people on a platform who are members of one of the roles, or, without roles, who
// may approve the release.
func (m Members) Voters(ctx context.Context, r releases.Release) (channels []bot.Channel, err error) {
	for _, role := range m.Roles {
		if !m.votes(role, r) {
			continue
		}
		for _, name := range role.Members {
			found, lookup := m.reach(ctx, name)
			if lookup != nil {
				err = lookup
			}
			for _, c := range found {
				if !slices.Contains(channels, c) && !m.done(r, c) {
					channels = append(channels, c)
				}
			}
		}
	}
	return m.delegated(ctx, r, channels), err
}

// delegated adds those who may vote on behalf of one of the people.
func (m Members) delegated(ctx context.Context, r releases.Release, channels []bot.Channel) []bot.Channel {
	if m.Delegations == nil {
		return channels
	}
	all, err := m.Delegations(ctx)
	if err != nil {
		return channels // a reminder is a courtesy
	}
	for _, d := range all {
		from, to := m.Direct(d.From), m.Direct(d.To)
		if to != "" && slices.Contains(channels, from) && !slices.Contains(channels, to) && !m.done(r, to) {
			channels = append(channels, to)
		}
	}
	return channels
}

// Direct is the channel in which somebody alone reads: of the chat that they spoke from, or of another account of theirs. It
// is "" when there is none.
func (m Members) Direct(a releases.Actor) bot.Channel {
	if a.User != "" && m.Directories[a.Via] != nil {
		return bot.Channel(a.Via + ":" + a.User)
	}
	for _, p := range m.People {
		if a.Person != "person:"+strings.ToLower(p.Email) {
			continue
		}
		for _, platform := range slices.Sorted(maps.Keys(p.Accounts)) {
			if m.Directories[platform] != nil && p.Accounts[platform] != "" {
				return bot.Channel(platform + ":" + p.Accounts[platform])
			}
		}
	}
	if a.Via == console {
		return console
	}
	return ""
}

func (m Members) votes(role Role, r releases.Release) bool {
	anybody := r.Approval == nil || slices.ContainsFunc(r.Approval.Needs, func(n releases.Need) bool { return len(n.From) == 0 })
	if !anybody {
		return slices.Contains(r.Approval.From(), role.Name)
	}
	actor := releases.Actor{Roles: []string{role.Name}}
	return releases.Allow([]releases.Role{role.Role}, actor, releases.VerbApprove, r.App, r.Env) == nil
}

// done reports whether the person has voted on the plan, or is one who may not.
func (m Members) done(r releases.Release, c bot.Channel) bool {
	platform, id, _ := strings.Cut(string(c), ":")
	a := releases.Actor{Via: platform, User: id, Person: platform + ":" + id}
	if p, ok := m.person(bot.User{Platform: platform, ID: id, Name: id}); ok {
		a.Person = "person:" + strings.ToLower(p.Email)
	}
	return a.Is(r.RequestedBy) || r.Approval == nil || slices.ContainsFunc(r.Standing(), func(v releases.Vote) bool { return a.Is(v.By) })
}

// reach returns the direct channels of a role's member: a person's, or those of everybody in a group.
func (m Members) reach(ctx context.Context, member string) (channels []bot.Channel, err error) {
	platform, id, ok := strings.Cut(member, ":")
	if !ok {
		for _, p := range m.People {
			if !strings.EqualFold(p.Email, member) {
				continue
			}
			for platform, account := range p.Accounts {
				if m.Directories[platform] != nil && account != "" {
					channels = append(channels, bot.Channel(platform+":"+account))
				}
			}
		}
		return channels, nil
	}
	directory := m.Directories[platform]
	if directory == nil {
		return nil, nil
	}
	if !isGroup(id) {
		return []bot.Channel{bot.Channel(member)}, nil
	}
	ids, err := directory.Members(ctx, id)
	for _, id := range ids {
		channels = append(channels, bot.Channel(platform+":"+id))
	}
	return channels, err
}

// Check returns an Error that names the members of roles that the platforms do not know, or cannot be asked about now.
func (m Members) Check(ctx context.Context) error {
	var all []error
	for _, role := range m.Roles {
		for _, name := range role.Members {
			platform, group, _ := strings.Cut(name, ":")
			directory := m.Directories[platform]
			if directory == nil || !isGroup(group) {
				continue
			}
			if _, err := directory.Members(ctx, group); err != nil {
				all = append(all, fmt.Errorf("role %s: who is in %s is not known, so it gives nobody a right: %w", role.Name, name, err))
			}
		}
	}
	return errors.Join(all...)
}

// Groups returns the groups and people to mention when the release asks for those who may approve it, or break the glass.
func (m Members) Groups(r releases.Release, verb string) (mentions []string) {
	for _, role := range m.Roles {
		wanted := m.votes(role, r)
		if verb != releases.VerbApprove {
			wanted = releases.Allow([]releases.Role{role.Role}, releases.Actor{Roles: []string{role.Name}}, verb, r.App, r.Env) == nil
		}
		if !wanted {
			continue
		}
		for _, name := range role.Members {
			platform, _, _ := strings.Cut(name, ":")
			if m.Directories[platform] != nil && !slices.Contains(mentions, name) {
				mentions = append(mentions, name)
			}
		}
	}
	return mentions
}
