package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"gimletd/releases"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// stalled is for how long a loop may give no sign of life before the process is not ready. The longest that a loop does
// one thing is a push.
const stalled = 4 * time.Minute

// Admin is what operators see: metrics, health, readiness.
type Admin struct {
	Loops   *releases.Loops
	Metrics *Metrics
	Store   func(*http.Request) error // whether the store can be read
	Now     func() time.Time
}

// Handler routes /metrics, /healthz and /readyz.
func (a Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.ready)
	return mux
}

// ready answers 200 as long as the store can be read and every loop is alive. A loop that is kept from its work by
// something outside (a git remote that is down) says so here and stays ready: artifacts can still come in.
func (a Admin) ready(w http.ResponseWriter, r *http.Request) {
	type line struct {
		Alive bool   `json:"alive"`
		Fault string `json:"fault,omitempty"`
	}
	status := http.StatusOK
	lines := map[string]line{}
	for _, b := range a.Loops.All() {
		alive := a.Now().Sub(b.At) < stalled
		lines[b.Name] = line{Alive: alive, Fault: b.Fault}
		if !alive {
			status = http.StatusServiceUnavailable
		}
	}
	store := line{Alive: true}
	if err := a.Store(r); err != nil {
		status, store = http.StatusServiceUnavailable, line{Fault: err.Error()}
	}
	lines["store"] = store
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(lines)
}

// Metrics are what is counted.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics makes the metrics of a process.
func NewMetrics(loops *releases.Loops, open func() map[releases.Status]int, untold func() int) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gimletd_http_requests_total", Help: "Calls to the API."}, []string{"call", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gimletd_http_request_seconds", Help: "How long calls to the API took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"call"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		state{loops: loops, open: open, untold: untold})
	return m
}

// Count counts the calls of a handler.
func (m *Metrics) Count(call string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		m.requests.WithLabelValues(call, strconv.Itoa(recorder.status)).Inc()
		m.seconds.WithLabelValues(call).Observe(time.Since(start).Seconds())
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is inside.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// state is read when it is asked for.
type state struct {
	loops  *releases.Loops
	open   func() map[releases.Status]int
	untold func() int
}

//nolint:gochecknoglobals // descriptions, never changed
var (
	descBeat   = prometheus.NewDesc("gimletd_loop_last_beat_timestamp_seconds", "When a loop last gave a sign of life.", []string{"loop"}, nil)
	descFault  = prometheus.NewDesc("gimletd_loop_fault", "1 when a loop is kept from its work.", []string{"loop"}, nil)
	descOpen   = prometheus.NewDesc("gimletd_releases_open", "Releases on their way.", []string{"status"}, nil)
	descUntold = prometheus.NewDesc("gimletd_outcomes_untold", "Events that people were not told of yet.", nil, nil)
)

func (s state) Describe(c chan<- *prometheus.Desc) {
	c <- descBeat
	c <- descFault
	c <- descOpen
	c <- descUntold
}

func (s state) Collect(c chan<- prometheus.Metric) {
	for _, b := range s.loops.All() {
		fault := 0.0
		if b.Fault != "" {
			fault = 1
		}
		c <- prometheus.MustNewConstMetric(descBeat, prometheus.GaugeValue, float64(b.At.UnixNano())/1e9, b.Name)
		c <- prometheus.MustNewConstMetric(descFault, prometheus.GaugeValue, fault, b.Name)
	}
	open := s.open()
	for _, status := range []releases.Status{releases.Proposed, releases.Waiting, releases.Approved, releases.Publishing} {
		c <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(open[status]), string(status))
	}
	c <- prometheus.MustNewConstMetric(descUntold, prometheus.GaugeValue, float64(s.untold()))
}
