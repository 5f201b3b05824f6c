package slack

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gimletd/bot"

	"github.com/slack-go/slack"
)

// How long what Slack said of people and places is taken to be true, when nothing is decided by it.
const (
	membersFor = 2 * time.Minute
	namesFor   = 5 * time.Minute
	missesFor  = 30 * time.Second // a name that was not found is asked for again
	usersFor   = time.Hour
	staleFor   = time.Hour // when Slack does not answer
	maxUsers   = 20_000
	pageSize   = 999
)

// User returns a user's name and address.
func (s *Slack) User(ctx context.Context, id string) (bot.User, error) {
	if u, ok := s.users.get(id, s.now()); ok {
		return u, nil
	}
	u := s.user(id, "")
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	err := s.patiently(ctx, "users.info", func() error {
		found, err := s.api.GetUserInfoContext(ctx, id)
		if err == nil {
			u.Email = found.Profile.Email
			u.Name = firstOf(found.Profile.RealName, found.Profile.DisplayName, found.Name)
		}
		return err
	})
	if err != nil {
		return u, err
	}
	s.users.put(u, s.now())
	return u, nil
}

func firstOf(names ...string) string {
	i := slices.IndexFunc(names, func(n string) bool { return n != "" })
	if i < 0 {
		return ""
	}
	return names[i]
}

type users struct {
	mu  sync.Mutex
	all map[string]knownUser
}

type knownUser struct {
	bot.User
	at time.Time
}

func (u *users) get(id string, now time.Time) (bot.User, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.all[id]
	return known.User, ok && now.Sub(known.at) < usersFor
}

func (u *users) put(user bot.User, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil || len(u.all) >= maxUsers {
		u.all = map[string]knownUser{}
	}
	u.all[user.ID] = knownUser{user, now}
}

// Member reports whether the user was in the group at or after the moment.
func (s *Slack) Member(ctx context.Context, group, user string, since time.Time) (bool, error) {
	members, err := s.members(ctx, group, since)
	return slices.Contains(members, user), err
}

// Members returns the ids of a user group's members as they were lately.
func (s *Slack) Members(ctx context.Context, group string) ([]string, error) {
	return s.members(ctx, group, time.Time{})
}

// members returns the ids of a user group's members as they were at or after the moment. Without a moment, what was
// known lately is enough. Those who ask at the same time share one call.
func (s *Slack) members(ctx context.Context, group string, since time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	id, err := s.groups.id(ctx, s, group)
	if err != nil {
		return nil, err
	}
	g := s.groups.group(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := s.now()
	if fresh := !g.at.IsZero() && (!since.IsZero() && !g.at.Before(since) || since.IsZero() && now.Sub(g.at) < membersFor); fresh {
		return g.members, nil
	}
	var members []string
	err = s.patiently(ctx, "usergroups.users.list", func() error {
		now = s.now() // membership is as of the call, not of when we began to wait for it
		members, err = s.api.GetUserGroupMembersContext(ctx, id)
		return err
	})
	if err != nil {
		if since.IsZero() && now.Sub(g.at) < staleFor {
			return g.members, nil
		}
		return nil, err
	}
	g.members, g.at = members, now
	return members, nil
}

type groups struct {
	mu      sync.Mutex
	members map[string]*group
	lookup  sync.Mutex // of names
	ids     map[string]string
	at      time.Time
}

type group struct {
	mu      sync.Mutex
	members []string
	at      time.Time
}

func (g *groups) group(id string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members == nil {
		g.members = map[string]*group{}
	}
	if g.members[id] == nil {
		g.members[id] = &group{}
	}
	return g.members[id]
}

// id finds a group's id by its handle.
func (g *groups) id(ctx context.Context, s *Slack, name string) (string, error) {
	handle, ok := strings.CutPrefix(name, "@")
	if !ok {
		return name, nil
	}
	g.lookup.Lock()
	defer g.lookup.Unlock()
	age := s.now().Sub(g.at)
	if id := g.ids[handle]; id != "" && age < namesFor {
		return id, nil
	}
	if g.ids == nil || age >= missesFor {
		found := map[string]string{}
		err := s.patiently(ctx, "usergroups.list", func() error {
			all, err := s.api.GetUserGroupsContext(ctx)
			for _, one := range all {
				found[one.Handle] = one.ID
			}
			return err
		})
		switch {
		case err == nil:
			g.ids, g.at = found, s.now()
		case g.ids[handle] == "":
			return "", err
		}
	}
	if id := g.ids[handle]; id != "" {
		return id, nil
	}
	return "", fmt.Errorf("there is no user group @%s in Slack", handle)
}

// mention is how a text notifies a group or a person; a group that cannot be found is only named.
func (s *Slack) mention(ctx context.Context, name string) string {
	name = strings.TrimPrefix(name, Platform+":")
	switch {
	case userID.MatchString(name):
		return "<@" + name + ">"
	case strings.Contains(name, ":"):
		return "" // of another platform
	case !strings.HasPrefix(name, "@") && !groupID.MatchString(name):
		return escape(bot.Clean(name))
	}
	id, err := s.groups.id(ctx, s, name)
	if err != nil {
		return escape(bot.Clean(name))
	}
	return "<!subteam^" + id + ">"
}

var (
	userID  = regexp.MustCompile(`^[UW][A-Z0-9]+$`)
	groupID = regexp.MustCompile(`^S[A-Z0-9]+$`)
)

// channelNames knows channels by name.
type channelNames struct {
	mu     sync.Mutex // held for moments: the way in waits for it
	ids    map[string]string
	lookup sync.Mutex // one list at a time
	at     time.Time  // when the last whole list was made
	cursor string     // of a list that was broken off
}

func (c *channelNames) known(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[name]
}

// add keeps those of the page that the configuration names, and the wanted one: a workspace may have very many.
func (c *channelNames) add(page []slack.Channel, configured []bot.Channel, wanted string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids == nil {
		c.ids = map[string]string{}
	}
	for _, one := range page {
		if one.Name == wanted || slices.Contains(configured, bot.Channel(Platform+":#"+one.Name)) {
			c.ids[one.Name] = one.ID
		}
	}
}

// id returns what Slack calls the channel. A person's id is a channel, too: the direct one.
func (c *channelNames) id(ctx context.Context, s *Slack, channel bot.Channel) (string, error) {
	name := id(channel)
	handle, named := strings.CutPrefix(name, "#")
	if !named {
		return name, nil
	}
	if id := c.known(handle); id != "" {
		return id, nil
	}
	c.lookup.Lock()
	defer c.lookup.Unlock()
	if c.known(handle) == "" && (c.cursor != "" || c.at.IsZero() || s.now().Sub(c.at) >= missesFor) {
		if err := c.list(ctx, s, handle); err != nil {
			return "", err
		}
	}
	if id := c.known(handle); id != "" {
		return id, nil
	}
	return "", fmt.Errorf("%w (there is no channel #%s, or it is private and I am not in it)", bot.ErrNoChannel, handle)
}

// list reads names until the wanted one is there. A list that is broken off goes on where it was.
func (c *channelNames) list(ctx context.Context, s *Slack, wanted string) error {
	for {
		var page []slack.Channel
		next := ""
		err := s.patiently(ctx, "conversations.list", func() (err error) {
			page, next, err = s.api.GetConversationsContext(ctx, &slack.GetConversationsParameters{
				Cursor: c.cursor, ExcludeArchived: true, Limit: pageSize, Types: []string{"public_channel", "private_channel"},
			})
			return err
		})
		if _, again := errors.AsType[*bot.TemporaryError](err); err != nil && !again {
			c.cursor = "" // it may be that which is refused
		}
		if err != nil {
			return err
		}
		c.add(page, s.config.Channels, wanted)
		if c.cursor = next; next == "" {
			c.at = s.now()
			return nil
		}
		if c.known(wanted) != "" {
			return nil
		}
	}
}

// resolve looks the configured names up, so that requests from there are known by them.
func (c *channelNames) resolve(ctx context.Context, s *Slack) error {
	for _, channel := range s.config.Channels {
		if !strings.HasPrefix(id(channel), "#") {
			continue
		}
		if _, err := c.id(ctx, s, channel); err != nil && !errors.Is(err, bot.ErrNoChannel) {
			return err
		}
	}
	return nil
}

// configured returns the channel by the name that the configuration has for it.
func (s *Slack) configured(channel string) bot.Channel {
	s.channels.mu.Lock()
	defer s.channels.mu.Unlock()
	for _, c := range s.config.Channels {
		if handle, named := strings.CutPrefix(id(c), "#"); named && s.channels.ids[handle] == channel {
			return c
		}
	}
	return bot.Channel(Platform + ":" + channel)
}
