package slack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"gimletd/bot"

	"github.com/slack-go/slack"
	"golang.org/x/time/rate"
)

// callWithin bounds one call of the Web API.
const callWithin = 20 * time.Second

// call makes one call of the Web API when its limit allows it, and says what its error means. place is what the limit is
// per, beside the method; "" for a limit of the workspace.
func (s *Slack) call(method, place string, do func() error) error {
	if wait := s.limits.take(method, place); wait > 0 {
		return &bot.TemporaryError{After: wait, Err: fmt.Errorf("slack: %s has reached its limit", method), Busy: true}
	}
	return s.meaning(method, do())
}

// meaning turns Slack's error into one that says what can be done.
func (s *Slack) meaning(method string, err error) error {
	if err == nil {
		return nil
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		s.limits.block(method, limited.RetryAfter)
		return &bot.TemporaryError{After: limited.RetryAfter, Err: fmt.Errorf("slack: %s: too many calls", method), Busy: true}
	}
	answer, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the address of an upload is a secret for a while
		}
		// No answer, or none of Slack's: it may have been done or not.
		return &bot.TemporaryError{After: time.Second, Err: fmt.Errorf("slack: %s: %w", method, err)}
	}
	said := fmt.Errorf("slack: %s: %s", method, answer.Err)
	switch {
	case slices.Contains([]string{"channel_not_found", "is_archived", "not_in_channel", "restricted_action", "user_disabled", "messages_tab_disabled", "cannot_dm_bot"}, answer.Err):
		return fmt.Errorf("%w (%w)", bot.ErrNoChannel, said)
	case answer.Err == "user_not_found":
		return fmt.Errorf("%w (%w)", bot.ErrNobody, said)
	case slices.Contains([]string{"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}, answer.Err):
		return fmt.Errorf("%w (%w)", bot.ErrNoMessage, said)
	case slices.Contains([]string{"token_revoked", "token_expired", "invalid_auth", "account_inactive", "not_authed", "team_access_not_granted"}, answer.Err):
		return &bot.TemporaryError{After: time.Minute, Err: fmt.Errorf("slack refuses the bot token (%s); install the app again and give me its new token", answer.Err)}
	case slices.Contains([]string{"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}, answer.Err):
		return &bot.TemporaryError{After: time.Second, Err: said}
	case answer.Err == "ratelimited":
		s.limits.block(method, time.Minute)
		return &bot.TemporaryError{After: time.Minute, Err: said, Busy: true}
	case answer.Err == "missing_scope":
		return fmt.Errorf("%w: the app lacks the scope %s; `gimletd slack manifest` has all that are needed", said, answer.Needed)
	}
	return said
}

// patiently makes a call for which somebody waits; being over a limit is waited out until the context ends.
func (s *Slack) patiently(ctx context.Context, method string, do func() error) error {
	for {
		err := s.call(method, "", do)
		busy, ok := errors.AsType[*bot.TemporaryError](err)
		if !ok || !busy.Busy {
			return err
		}
		select {
		case <-time.After(busy.After):
		case <-ctx.Done():
			return err
		}
	}
}

// limits keep us below Slack's. https://docs.slack.dev/apis/web-api/rate-limits
type limits struct {
	now     func() time.Time
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	blocked map[string]time.Time
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, buckets: map[string]*rate.Limiter{}, blocked: map[string]time.Time{}}
}

// perMinute is the tier of the methods that are used: calls a minute, for a workspace. Those that are not here have one of
// their own, or none.
func perMinute(method string) int {
	const tier2, tier3, tier4 = 20, 50, 100
	switch method {
	case "usergroups.list", "usergroups.users.list", "conversations.list":
		return tier2
	case "chat.update", "conversations.history", "conversations.replies", "conversations.info", "bots.info":
		return tier3
	}
	return tier4
}

// take takes one call from the limit, or says how long to wait. Half of a minute's calls may come at once; with what
// comes in during the minute that is never more than the tier.
func (l *limits) take(method, place string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if until := l.blocked[method]; now.Before(until) {
		return until.Sub(now)
	}
	if place != "" {
		if wait := l.bucket(method+" "+place, rate.Every(time.Second), 1, now); wait > 0 {
			return wait
		}
		if method == "chat.postMessage" {
			return 0 // its limit is per channel
		}
	}
	n := perMinute(method)
	burst := n / 2
	return l.bucket(method, rate.Limit(float64(n-burst)/60), burst, now)
}

func (l *limits) bucket(name string, every rate.Limit, burst int, now time.Time) time.Duration {
	b := l.buckets[name]
	if b == nil {
		b = rate.NewLimiter(every, burst)
		l.buckets[name] = b
	}
	r := b.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// block keeps the method from being called for a while, as Slack asked.
func (l *limits) block(method string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked[method] = l.now().Add(max(d, time.Second))
}
