package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"
)

// The library's gateway resumes, beats and decodes. What it lacks is here: deadlines, an end that comes at once, connections that
// are found dead, and an end to trying what can never work.

// Limits of the gateway.
const (
	helloWithin = 20 * time.Second // until it is open
	silence     = 100 * time.Second
	writeWithin = 10 * time.Second
	openWithin  = 45 * time.Second
	firstWait   = time.Second
	maxFault    = 300             // characters
	lastWait    = 2 * time.Minute // a thousand identifications a day are allowed
	steady      = 5 * time.Minute // a connection that held so long begins with the first wait again
	ackWithin   = 2500 * time.Millisecond
	ackAgain    = 100 * time.Millisecond
)

// listen keeps a connection to the gateway: https://docs.discord.com/developers/events/gateway
func (d *Discord) listen(ctx context.Context) {
	wait := firstWait
	var session *discordgo.Session
	for ctx.Err() == nil {
		if session == nil {
			session = d.session()
		}
		began := d.now()
		err := d.connect(ctx, session)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errStuck) {
			session = nil // what it holds is lost with it
		}
		if why := fatal(err); why != "" {
			err = errors.New(why)
			wait = lastWait
		}
		err = errors.New(bot.Cut(bot.Clean(err.Error()), maxFault)) // it may hold a whole page
		d.link.Connected(fmt.Errorf("no gateway connection: %w", err))
		d.log.Warn("the gateway connection ended", "err", err)
		if d.now().Sub(began) > steady {
			wait = firstWait
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, lastWait)
	}
}

// session makes a session that leaves connecting to us.
func (d *Discord) session() *discordgo.Session {
	s, err := discordgo.New("Bot " + d.config.BotToken)
	if err != nil { // it never is one
		d.log.Error("no session", "err", err)
	}
	s.ShouldReconnectOnError, s.ShouldRetryOnRateLimit, s.MaxRestRetries = false, false, 0
	s.StateEnabled, s.SyncEvents, s.Compress = false, true, false
	s.Identify.Intents = discordgo.IntentsGuilds
	s.Identify.Compress = false
	s.LogLevel = -1 // it would log what is secret
	s.Client = &http.Client{Transport: toAPI{base: d.config.APIURL, next: d.client.Transport}, Timeout: callWithin}
	return s
}

// errStuck says that the library will not come back.
var errStuck = errors.New("opening it takes too long")

// connect opens the session's connection and hands on what comes, until the connection or the context ends.
func (d *Discord) connect(ctx context.Context, s *discordgo.Session) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var line wire
	s.Dialer = &websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: helloWithin, NetDialContext: func(dialing context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: helloWithin}).DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		return line.take(ctx, c), nil
	}}
	ended := make(chan struct{})
	var once sync.Once // it may end twice
	drop := []func(){
		s.AddHandler(func(*discordgo.Session, *discordgo.Disconnect) { once.Do(func() { close(ended) }) }),
		s.AddHandler(func(_ *discordgo.Session, e *discordgo.Event) { d.event(ctx, e) }),
	}
	defer func() {
		for _, f := range drop {
			f()
		}
	}()
	opened := make(chan error, 1)
	go func() { opened <- s.Open() }()
	select {
	case err := <-opened:
		if err != nil {
			return err
		}
	case <-time.After(openWithin):
		return errStuck
	case <-ctx.Done():
		return ctx.Err()
	}
	line.patience.Store(int64(d.silence))
	d.link.Connected(nil)
	d.log.Info("connected to Discord's gateway")
	select {
	case <-ended:
		return line.why()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// event hands an interaction on, to a goroutine of its own, so that none waits for another.
func (d *Discord) event(ctx context.Context, e *discordgo.Event) {
	if e.Type != "INTERACTION_CREATE" {
		return
	}
	raw := append(json.RawMessage(nil), e.RawData...)
	d.link.Go(func() {
		ctx := context.WithoutCancel(ctx)
		a, i, err := d.safely(ctx, raw)
		if err != nil {
			d.log.Warn("an interaction was not taken", "err", err)
			return
		}
		ctx, cancel := context.WithTimeout(ctx, ackWithin)
		defer cancel()
		if err := d.acknowledge(ctx, i, a); err != nil {
			d.log.Warn("an interaction was not answered at once", "err", err)
		}
	})
}

// acknowledge gives an interaction its first answer, while there is time. When Discord will not have it, what was asked for is on its
// way all the same, and who asked is told directly.
func (d *Discord) acknowledge(ctx context.Context, i interaction, a answer) error {
	for {
		err := d.call(ctx, request{method: http.MethodPost, path: "interactions/" + i.ID + "/" + i.Token + "/callback", body: a}, nil)
		_, again := errors.AsType[*bot.TemporaryError](err)
		switch {
		case codeOf(err) == alreadyAnswered: // an answer before had only lost its way back
			return nil
		case !again:
			if err != nil {
				d.tokens.forget(i.ID)
			}
			return err
		}
		select {
		case <-time.After(ackAgain):
		case <-ctx.Done():
			return err
		}
	}
}

// fatal is why there is no sense in trying the same again soon, or "".
// https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway
func fatal(err error) string {
	closed, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return ""
	}
	const badToken, first, last = 4004, 4010, 4014
	switch {
	case closed.Code == badToken:
		return "Discord refuses the bot token; give me the one of the application's page Bot (Reset Token makes a new one)"
	case closed.Code >= first && closed.Code <= last:
		return fmt.Sprintf("Discord refuses the connection for good (%d %s)", closed.Code, closed.Text)
	}
	return ""
}

// wire is the connection below the library's: it ends with the context, and when it is silent for too long, for a gateway that is
// alive answers each heartbeat.
type wire struct {
	net.Conn
	patience atomic.Int64
	fault    atomic.Pointer[error]
}

func (w *wire) take(ctx context.Context, c net.Conn) net.Conn {
	w.Conn = c
	w.patience.Store(int64(helloWithin))
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return w
}

// Read is for net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.SetReadDeadline(time.Now().Add(time.Duration(w.patience.Load()))); err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(p)
	if err != nil {
		w.fault.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Write is for net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

func (w *wire) why() error {
	if fault := w.fault.Load(); fault != nil {
		return *fault
	}
	return errors.New("Discord closed it")
}

// toAPI leads the library's calls to the configured address.
type toAPI struct {
	base string
	next http.RoundTripper
}

// RoundTrip is for http.RoundTripper.
func (t toAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	rest, ok := strings.CutPrefix(r.URL.String(), discordgo.EndpointAPI)
	if !ok {
		return nil, errors.New("discord: a call to somewhere else")
	}
	to, err := url.Parse(t.base + apiVersion + rest)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL, r.Host = to, to.Host
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(r)
}
