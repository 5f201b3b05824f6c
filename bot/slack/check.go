package slack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gimletd/bot"

	"github.com/slack-go/slack"
)

// CheckOptions are what there is to check beside the connection.
type CheckOptions struct {
	Groups    []string    // @handle or S…, of roles
	PublicURL string      // HTTP: where Slack calls
	TestIn    bot.Channel // where the self-test message goes; "" for none
}

// Check proves the configuration against Slack: the token and its scopes, the channels and groups, the way in, and with
// one self-test message, which it posts and edits, the way out. Each finding is reported as soon as it is known.
func (s *Slack) Check(ctx context.Context, o CheckOptions, report func(bot.Finding)) (good bool) {
	list := bot.Checklist{Report: report}
	if !list.Check(s.identify(ctx), "the bot token works", "copy the Bot User OAuth Token (xoxb-…) from the app's settings, OAuth & Permissions") {
		return false
	}
	list.Check(s.checkScopes(ctx), "all scopes are granted", "paste the output of `gimletd slack manifest` into the app's settings, App Manifest, and install the app again")
	for _, channel := range s.config.Channels {
		list.Check(s.checkChannel(ctx, channel), "can post in "+string(channel), "invite the bot there: /invite @GimletD")
	}
	for _, group := range o.Groups {
		members, err := s.members(ctx, group, s.now())
		list.Check(err, fmt.Sprintf("user group %s has %d members", group, len(members)), "correct the name in the configuration's roles, or make the group in Slack")
	}
	if s.config.AppToken != "" {
		list.Check(s.checkSocket(ctx), "Socket Mode can be opened", "make an app-level token with connections:write (Basic Information, App-Level Tokens) and enable Socket Mode")
	} else {
		list.Check(s.checkSignature(ctx, o.PublicURL), "the server at "+o.PublicURL+" takes what is signed with the signing secret, and nothing else",
			"start the server, make server.publicURL reach it, and copy the Signing Secret from Basic Information")
	}
	if o.TestIn != "" {
		list.Check(bot.SelfTest(ctx, s, o.TestIn, s.now()), "a self-test message was posted and edited in "+string(o.TestIn), "invite the bot there: /invite @GimletD")
	}
	return !list.Failed
}

func (s *Slack) checkScopes(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.APIURL+"auth.test", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.config.BotToken)
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	granted := strings.Split(strings.ReplaceAll(res.Header.Get("X-OAuth-Scopes"), " ", ""), ",")
	var missing []string
	for _, scope := range Scopes() {
		if !slices.Contains(granted, scope[0]) {
			missing = append(missing, fmt.Sprintf("%s (to %s)", scope[0], scope[1]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

func (s *Slack) checkChannel(ctx context.Context, channel bot.Channel) error {
	id, err := s.channels.id(ctx, s, channel)
	if err != nil || userID.MatchString(id) {
		return err
	}
	var found *slack.Channel
	err = s.patiently(ctx, "conversations.info", func() error {
		found, err = s.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: id})
		return err
	})
	switch {
	case err != nil:
		return err
	case found.IsArchived:
		return fmt.Errorf("it is archived")
	case !found.IsMember:
		return fmt.Errorf("the bot is not in it")
	}
	return nil
}

func (s *Slack) checkSocket(ctx context.Context) error {
	return s.call("apps.connections.open", "", func() error {
		_, _, err := s.api.StartSocketModeContext(ctx)
		return err
	})
}

// checkSignature calls our own server as Slack would: signed, and not.
func (s *Slack) checkSignature(ctx context.Context, publicURL string) error {
	if publicURL == "" {
		return fmt.Errorf("server.publicURL is missing, so Slack does not know where to call")
	}
	body := []byte("ssl_check=1&self_test=" + strconv.FormatInt(s.now().UnixNano(), 36))
	timestamp := strconv.FormatInt(s.now().Unix(), 10)
	sign := func(secret string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "v0:%s:%s", timestamp, body)
		return "v0=" + hex.EncodeToString(mac.Sum(nil))
	}
	for _, c := range []struct {
		secret string
		want   int
		fault  string
	}{
		{s.config.SigningSecret, http.StatusOK, "what is signed is not taken: it runs with another signing secret, or is not GimletD"},
		{"not the secret", http.StatusUnauthorized, "what is signed with another secret is taken"},
	} {
		ctx, cancel := context.WithTimeout(ctx, callWithin)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(publicURL, "/")+"/slack/commands", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Slack-Request-Timestamp", timestamp)
		req.Header.Set("X-Slack-Signature", sign(c.secret))
		res, err := s.client.Do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxBody))
		if err := res.Body.Close(); err != nil {
			return err
		}
		if res.StatusCode != c.want {
			return fmt.Errorf("%s (it answered %s)", c.fault, res.Status)
		}
	}
	return nil
}
