// Package client speaks with a GimletD's API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls one server. The token goes to that server and to nowhere that it is sent on to.
type Client struct {
	server *url.URL
	token  string
	http   http.Client
	pause  func(ctx context.Context, d time.Duration) error
}

// Limits of a call.
const (
	callWithin = time.Minute
	maxAnswer  = 64 << 20 // bytes
	tries      = 4
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// New makes a Client of the server at a URL.
func New(server, token string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q is not the URL of a server, such as https://gimletd.example.com", server)
	}
	if token == "" {
		return nil, errors.New("there is no token: set --token or GIMLET_TOKEN")
	}
	return &Client{
		server: u, token: token, pause: pause,
		http: http.Client{Timeout: callWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Error is an answer that is none of success.
type Error struct {
	Status  int
	Code    string `json:"code"`
	Message string `json:"error"`
}

func (e *Error) Error() string { return e.Message }

// Call is one of the API.
type Call struct {
	Method string
	Path   string
	Query  url.Values
	Body   any    // JSON; json.RawMessage as it is
	Key    string // by which the server knows the same call again
}

// Do makes a call and decodes its answer. What the server could not do for now is tried again, when that cannot do it twice.
func (c *Client) Do(ctx context.Context, call Call, into any) error {
	var body []byte
	var err error
	switch b := call.Body.(type) {
	case nil:
	case json.RawMessage:
		body = b
	default:
		if body, err = json.Marshal(b); err != nil {
			return err
		}
	}
	again := call.Method == http.MethodGet || call.Key != ""
	wait := firstPause
	for try := 1; ; try++ {
		answer, after, err := c.once(ctx, call, body)
		if err == nil {
			return decode(answer, into)
		}
		if !again || try == tries || !temporary(err) {
			return err
		}
		if err := c.pause(ctx, max(wait, min(after, maxPause))); err != nil {
			return err
		}
		wait *= 2
	}
}

func decode(answer []byte, into any) error {
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the server's answer cannot be read; is it a GimletD? %w", err)
	}
	return nil
}

// temporary reports whether the same call may work in a moment.
func temporary(err error) bool {
	refused, ok := errors.AsType[*Error](err)
	return !ok || refused.Status == http.StatusServiceUnavailable || refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusBadGateway
}

func (c *Client) once(ctx context.Context, call Call, body []byte) (answer []byte, after time.Duration, err error) {
	u := c.server.JoinPath(call.Path)
	u.RawQuery = call.Query.Encode()
	var sent io.Reader
	if body != nil {
		sent = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, u.String(), sent)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if call.Key != "" {
		req.Header.Set("Idempotency-Key", call.Key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("the server at %s cannot be reached: %w", c.server.Redacted(), unwrap(err))
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, 0, fmt.Errorf("the server's answer breaks off: %w", err)
	}
	if res.StatusCode <= http.StatusPartialContent {
		return answer, 0, nil
	}
	refused := &Error{Status: res.StatusCode}
	if json.Unmarshal(answer, refused) != nil || refused.Message == "" {
		const most = 300
		text := strings.TrimSpace(string(answer))
		refused.Message = fmt.Sprintf("the server answered %s: %s", res.Status, text[:min(len(text), most)])
	}
	s, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return nil, time.Duration(s) * time.Second, refused
}

// unwrap takes off what the standard library says of the URL, which is said already.
func unwrap(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
