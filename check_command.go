package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"gimletd/bot"
)

// SelfTest are the flags of the message that a check posts.
type SelfTest struct {
	In    string `help:"The channel of the self-test message. The first one of the configuration without."`
	Quiet bool   `help:"Post no self-test message."`
}

// channel is where the message goes; "" for nowhere.
func (s SelfTest) channel(platform string, configured []bot.Channel) bot.Channel {
	switch {
	case s.Quiet || (s.In == "" && len(configured) == 0):
		return ""
	case s.In != "":
		return bot.Channel(platform + ":" + strings.TrimPrefix(s.In, platform+":"))
	}
	return configured[0]
}

// found prints what a check has found.
func (s streams) found(f bot.Finding) {
	mark := "✓"
	if !f.OK {
		mark = "✗"
	}
	fmt.Fprintf(s.out, "%s %s\n", mark, f.What)
	if f.Next != "" {
		fmt.Fprintf(s.out, "  → %s\n", f.Next)
	}
}

func checked(good bool) error {
	if !good {
		return errors.New("the check has found faults")
	}
	return nil
}

// groups are those of a platform that roles name.
func (c Config) groups(platform string, name *regexp.Regexp) (groups []string) {
	seen := map[string]bool{}
	for _, r := range c.Roles {
		for _, m := range r.Members {
			if group, ok := strings.CutPrefix(m, platform+":"); ok && name.MatchString(group) && !seen[group] {
				seen[group] = true
				groups = append(groups, group)
			}
		}
	}
	return groups
}
