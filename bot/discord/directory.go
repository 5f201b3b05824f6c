package discord

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gimletd/bot"
)

// How long what Discord said of people is taken to be true, when nothing is decided by it.
const (
	rolesFor   = 2 * time.Minute
	namesFor   = time.Hour
	staleFor   = time.Hour // when Discord does not answer
	maxPeople  = 20_000
	memberPage = 1000
	maxPages   = 100
)

// person is what is known of somebody, and since when.
type person struct {
	name  string
	roles []string
	at    time.Time
}

// people are those who have spoken here, or were looked up.
type people struct {
	mu  sync.Mutex
	all map[string]person
}

func (p *people) of(id string) person {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[id]
}

func (p *people) saw(m member, now time.Time) {
	p.keep(m.User.ID, person{name: m.name(), roles: m.Roles, at: now})
}

// keep remembers what is newest.
func (p *people) keep(id string, one person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil || len(p.all) >= maxPeople {
		p.all = map[string]person{}
	}
	if !one.at.Before(p.all[id].at) {
		p.all[id] = one
	}
}

// in are those known people who have the role.
func (p *people) in(role string) (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(p.all)) {
		if slices.Contains(p.all[id].roles, role) {
			ids = append(ids, id)
		}
	}
	return ids
}

// lookUp asks for a member of the server. Somebody who is none has no roles.
func (d *Discord) lookUp(ctx context.Context, id string) (person, error) {
	if !snowflake.MatchString(id) {
		return person{}, bot.ErrNobody
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	var m member
	now := d.now()
	err := d.patiently(ctx, request{method: http.MethodGet, path: "guilds/" + d.config.GuildID + "/members/" + id, route: "GET guilds/members/1"}, &m)
	if code := codeOf(err); code == unknownMember || code == unknownUser {
		one := person{at: now}
		d.people.keep(id, one)
		return one, nil
	}
	if err != nil {
		return person{}, err
	}
	one := person{name: m.name(), roles: m.Roles, at: now}
	d.people.keep(id, one)
	return one, nil
}

// User returns a user's name. Discord tells bots nobody's address.
func (d *Discord) User(ctx context.Context, id string) (bot.User, error) {
	u := bot.User{Platform: Platform, ID: id}
	one := d.people.of(id)
	if one.name == "" || d.now().Sub(one.at) >= namesFor {
		found, err := d.lookUp(ctx, id)
		if err != nil && one.name == "" {
			return u, err
		}
		if err == nil {
			one = found
		}
	}
	if u.Name = one.name; u.Name == "" {
		return u, bot.ErrNobody
	}
	return u, nil
}

// Member reports whether the user had the role at or after the moment. Discord says so with each of their own clicks and commands;
// of others it is asked.
func (d *Discord) Member(ctx context.Context, group, user string, since time.Time) (bool, error) {
	role, ok := strings.CutPrefix(group, "role:")
	if !ok {
		return false, fmt.Errorf("%q is not a role: discord:role:<id>", group)
	}
	one, now := d.people.of(user), d.now()
	fresh := !one.at.IsZero() && (!since.IsZero() && !one.at.Before(since) || since.IsZero() && now.Sub(one.at) < rolesFor)
	if !fresh {
		found, err := d.lookUp(ctx, user)
		switch {
		case err == nil:
			one = found
		case !since.IsZero() || one.at.IsZero() || now.Sub(one.at) >= staleFor:
			return false, err
		}
	}
	return d.has(one, role), nil
}

// has reports whether somebody has the role. Everybody of the server has the one that has the server's own id.
func (d *Discord) has(p person, role string) bool {
	return slices.Contains(p.roles, role) || (role == d.config.GuildID && p.name != "")
}

// Members returns the ids of those who have the role. Without the Server Members Intent Discord lists nobody; then those are
// returned who are known.
func (d *Discord) Members(ctx context.Context, group string) ([]string, error) {
	role, ok := strings.CutPrefix(group, "role:")
	if !ok {
		return nil, fmt.Errorf("%q is not a role: discord:role:<id>", group)
	}
	d.roles.mu.Lock() // those who ask at the same time share the calls
	defer d.roles.mu.Unlock()
	if err := d.roles.refresh(ctx, d); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(d.roles.all, func(r guildRole) bool { return r.ID == role }) {
		return nil, fmt.Errorf("there is no role with the id %s in the server", role)
	}
	if d.roles.alone {
		return d.people.in(role), nil
	}
	var ids []string
	for id, p := range d.roles.members {
		if d.has(p, role) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// roles are those of the server, with everybody in it.
type roles struct {
	mu      sync.Mutex
	all     []guildRole
	members map[string]person
	alone   bool // Discord does not list members
	at      time.Time
}

type guildRole struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Mentionable bool   `json:"mentionable"`
	Permissions string `json:"permissions"`
}

// refresh asks anew after a while. The lock is held.
func (r *roles) refresh(ctx context.Context, d *Discord) error {
	if !r.at.IsZero() && d.now().Sub(r.at) < rolesFor {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*callWithin)
	defer cancel()
	var all []guildRole
	var members map[string]person
	now := d.now()
	err := d.get(ctx, "guilds/"+d.config.GuildID+"/roles", &all)
	if err == nil {
		members, err = d.everybody(ctx, now)
	}
	alone := codeOf(err) == missingAccess
	switch {
	case err == nil, alone && all != nil:
	case !r.at.IsZero() && now.Sub(r.at) < staleFor:
		return nil
	default:
		return err
	}
	r.all, r.members, r.alone, r.at = all, members, alone, now
	return nil
}

// everybody lists the members of the server.
// https://docs.discord.com/developers/resources/guild#list-guild-members
func (d *Discord) everybody(ctx context.Context, now time.Time) (map[string]person, error) {
	all, last := map[string]person{}, "0"
	for range maxPages {
		var page []member
		path := "guilds/" + d.config.GuildID + "/members?limit=" + strconv.Itoa(memberPage) + "&after=" + last
		if err := d.patiently(ctx, request{method: http.MethodGet, path: path, route: "GET guilds/members"}, &page); err != nil {
			return nil, err
		}
		for _, m := range page {
			if !m.User.Bot {
				all[m.User.ID] = person{name: m.name(), roles: m.Roles, at: now}
			}
			last = m.User.ID
		}
		if len(page) < memberPage {
			break
		}
	}
	return all, nil
}
