package slack

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/slack-go/slack"
)

// maxBody bounds what Slack may send, in bytes. A message_action carries the whole message.
const maxBody = 512 << 10

// Handler answers Slack's calls at /slack/commands, /slack/interactions, /slack/options and /slack/events. Each is
// verified before anything of it is read. https://docs.slack.dev/authentication/verifying-requests-from-slack
func (s *Slack) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /slack/commands", s.verified(func(r *http.Request, body []byte) (any, error) {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, errMalformed
		}
		if form.Get("ssl_check") == "1" {
			return nil, nil
		}
		c, err := slack.SlashCommandParse(&http.Request{Method: http.MethodPost, PostForm: form, Form: form})
		if err != nil || c.Command == "" || c.UserID == "" || c.TriggerID == "" {
			return nil, errMalformed
		}
		return s.slash(r.Context(), c)
	}))
	interaction := s.verified(func(r *http.Request, body []byte) (any, error) {
		form, err := url.ParseQuery(string(body))
		if err != nil || form.Get("payload") == "" {
			return nil, errMalformed
		}
		return s.interaction(r.Context(), []byte(form.Get("payload")))
	})
	mux.HandleFunc("POST /slack/interactions", interaction)
	mux.HandleFunc("POST /slack/options", interaction)
	mux.HandleFunc("POST /slack/events", s.verified(func(r *http.Request, body []byte) (any, error) {
		var e struct {
			Type      string `json:"type"`
			Challenge string `json:"challenge"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, errMalformed
		}
		if e.Type == "url_verification" {
			return map[string]string{"challenge": e.Challenge}, nil
		}
		return nil, s.event(r.Context(), body)
	}))
	return mux
}

var errMalformed = errors.New("slack: a call that cannot be read")

// verified lets only what Slack has signed through to the handler, once.
func (s *Slack) verified(handle func(*http.Request, []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err := s.verify(r.Header, body); err != nil {
			s.log.Warn("a call was refused", "path", r.URL.Path, "err", err)
			http.Error(w, "not signed by Slack, or not now", http.StatusUnauthorized)
			return
		}
		payload, err := s.safely(func() (any, error) { return handle(r, body) })
		if err != nil {
			s.log.Warn("a call was not taken", "path", r.URL.Path, "err", err)
			http.Error(w, "not taken", statusOf(err))
			return
		}
		if payload == nil {
			w.WriteHeader(http.StatusOK)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(payload)
	}
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, errMalformed):
		return http.StatusBadRequest
	case errors.Is(err, errForeign):
		return http.StatusForbidden
	case errors.Is(err, errStarting):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// verify checks the signature over the raw body, its age, and that it was not there before.
func (s *Slack) verify(header http.Header, body []byte) error {
	v, err := slack.NewSecretsVerifier(header, s.config.SigningSecret)
	if err != nil {
		return err
	}
	if _, err := v.Write(body); err != nil {
		return err
	}
	if err := v.Ensure(); err != nil {
		return err
	}
	if s.replays.Again(strings.ToLower(header.Get("X-Slack-Signature")), s.now()) {
		return errors.New("it was there before")
	}
	return nil
}

// safely turns a panic over a strange payload into an error.
func (s *Slack) safely(handle func() (any, error)) (payload any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a payload made me panic", "panic", p)
			payload, err = nil, errors.New("slack: a payload made me panic")
		}
	}()
	return handle()
}
