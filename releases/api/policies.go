package api

import (
	"context"
	"net/http"
	"time"

	"gimletd/releases"
)

// told is a policy's run or what one would do, as the API shows it.
type told struct {
	Policy string         `json:"policy"`
	From   string         `json:"from"`
	To     string         `json:"to"`
	Next   *time.Time     `json:"next,omitempty"`
	Due    *time.Time     `json:"due,omitempty"`
	At     *time.Time     `json:"at,omitempty"`
	Fate   releases.Fate  `json:"fate,omitempty"`
	Why    string         `json:"why,omitempty"`
	Apps   []toldApp      `json:"apps"`
	Quiet  map[string]int `json:"quiet,omitempty"`
}

type toldApp struct {
	App      string               `json:"app"`
	Version  string               `json:"version,omitempty"`
	Artifact string               `json:"artifactId,omitempty"`
	Live     string               `json:"live,omitempty"`
	Releases bool                 `json:"releases"`
	Skip     string               `json:"skip,omitempty"`
	Reason   string               `json:"reason"`
	Release  string               `json:"release,omitempty"`
	Status   releases.Status      `json:"status,omitempty"`
	Gates    []releases.GateState `json:"gates,omitempty"`
}

func tellApp(d releases.Decision) toldApp {
	return toldApp{App: d.App, Version: d.Version, Artifact: d.Artifact, Live: d.Live, Releases: d.Fires, Skip: d.Skip, Reason: d.Reason}
}

// getPolicies tells when the scheduled policies run next, and what they would do now.
func (s *Server) getPolicies(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	if err := speaksForAll(r); err != nil {
		return 0, nil, err
	}
	outlooks, err := s.service.Outlooks(r.Context(), r.URL.Query().Get("policy"), 0)
	if err != nil {
		return 0, nil, err
	}
	all := []told{}
	for _, o := range outlooks {
		one := told{Policy: o.Policy.Name, From: o.Policy.From.String(), To: o.Policy.To, Quiet: o.Quiet, Apps: []toldApp{}}
		if !o.Next.IsZero() {
			one.Next = &o.Next
		}
		for _, d := range o.Apps {
			one.Apps = append(one.Apps, tellApp(d))
		}
		all = append(all, one)
	}
	page, err := cut(r, all)
	return http.StatusOK, page, err
}

// forecast is the answer to what will happen.
type forecast struct {
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Runs    []told    `json:"runs"`
	Removed []removal `json:"removed"`
}

func tellRuns(views []releases.RunView) []told {
	all := []told{}
	for _, v := range views {
		one := told{Policy: v.Policy, From: v.From, To: v.To, Due: &v.Due, At: &v.At, Fate: v.Fate, Why: v.Why, Quiet: v.Quiet, Apps: []toldApp{}}
		for _, l := range v.Lines {
			app := tellApp(l.Decision)
			app.Gates = l.Gates
			if asked, ok := v.Releases[l.Release]; ok {
				app.Status = asked.Status
				if app.Releases && asked.Reason != "" && asked.Status != releases.Published {
					app.Reason = asked.Reason
				}
			}
			one.Apps = append(one.Apps, app)
		}
		all = append(all, one)
	}
	return all
}

// Bounds of looking ahead and back, in days.
const (
	defaultDays = 7
	maxDays     = 62
)

// span is the number of days that the call names, and the configuration that it sends to be tried.
func (s *Server) span(r *http.Request, most int) (days int, c *releases.Changed, err error) {
	params := query{values: r.URL.Query()}
	if days = params.number("days", most); days == 0 {
		days = defaultDays
	}
	if params.err != nil || s.config.Changed == nil {
		return days, nil, params.err
	}
	body, err := read(r)
	if err != nil || len(body) == 0 {
		return days, nil, err
	}
	if c, err = s.config.Changed(body); err != nil {
		return days, nil, releases.Wrap(releases.Invalid, err, "the configuration cannot be tried")
	}
	return days, c, nil
}

// postForecast foretells what the policies will do: with a body, those of the configuration in it.
func (s *Server) postForecast(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	days, c, err := s.span(r, maxDays)
	if err != nil {
		return 0, nil, err
	}
	ctx, done, err := s.rehearse(r)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	f, err := s.service.Forecast(ctx, time.Now().Add(time.Duration(days)*24*time.Hour), c)
	if err != nil {
		return 0, nil, err
	}
	answer := forecast{From: f.From, Until: f.Until, Runs: tellRuns(f.Runs), Removed: []removal{}}
	for _, gone := range f.Removed {
		answer.Removed = append(answer.Removed, removal{App: gone.App, Env: gone.Env, Reason: gone.Steps[0].Reason})
	}
	return http.StatusOK, answer, nil
}

// backtest is the answer to what would have happened.
type backtest struct {
	From      time.Time             `json:"from"`
	Until     time.Time             `json:"until"`
	Compared  []releases.Comparison `json:"compared"`
	Unchanged int                   `json:"unchanged"`
}

// postBacktest tells what the policies, or those of the configuration in the body, would have released from what was shipped.
func (s *Server) postBacktest(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	const most = 366
	days, c, err := s.span(r, most)
	if err != nil {
		return 0, nil, err
	}
	ctx, done, err := s.rehearse(r)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	b, err := s.service.Backtest(ctx, time.Now().Add(-time.Duration(days)*24*time.Hour), c)
	if err != nil {
		return 0, nil, err
	}
	answer := backtest{From: b.From, Until: b.Until, Compared: []releases.Comparison{}}
	for _, one := range b.Compared {
		if one.Same() {
			answer.Unchanged++
			continue
		}
		answer.Compared = append(answer.Compared, one)
	}
	return http.StatusOK, answer, nil
}

// rehearseWithin is less than callers wait.
const rehearseWithin = 50 * time.Second

// rehearse lets one rehearsal happen at a time, and not for long: each has a store of its own. It takes the admin token.
func (s *Server) rehearse(r *http.Request) (ctx context.Context, done func(), err error) {
	if !caller(r).Root {
		return nil, nil, releases.Errorf(releases.NotAllowed, "looking ahead and back takes the admin token: it is hard work for the server")
	}
	select {
	case s.rehearsing <- struct{}{}:
		ctx, cancel := context.WithTimeout(r.Context(), rehearseWithin)
		return ctx, func() { cancel(); <-s.rehearsing }, nil
	default:
		return nil, nil, releases.Errorf(releases.Unavailable, "somebody else looks ahead or back right now; try again in a moment")
	}
}
