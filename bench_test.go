package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gimletd/commands"
	"gimletd/releases"
	"gimletd/releases/api"
	"gimletd/releases/gitops"
	"gimletd/releases/gitops/gittest"
	"gimletd/releases/manifest"
	"gimletd/storage/bolt"

	"go.etcd.io/bbolt"
)

// Every benchmark measures both sides of its ratio in one run. docs/performance.md has the figures and the command.

// system is a GimletD in this process, without its edges.
type system struct {
	tb      testing.TB
	service *releases.Service
	db      *bolt.DB
	repo    *gitops.Repository
	charts  string
}

func newSystem(tb testing.TB, dir, url, cache string) *system {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	charts, err := filepath.Abs("commands/demo")
	if err != nil {
		tb.Fatal(err)
	}
	s := &system{tb: tb, charts: "file://" + charts}
	if s.db, err = bolt.Open(bolt.Config{Path: filepath.Join(dir, "gimletd.db")}, time.Now); err != nil {
		tb.Fatal(err)
	}
	if s.repo, err = gitops.New("main", gitops.Config{URL: url, Cache: cache}.WithDefaults("main", dir), log); err != nil {
		tb.Fatal(err)
	}
	renderer := manifest.New(manifest.Config{
		Sources: []manifest.Source{{URL: s.charts}}, Cache: filepath.Join(dir, "charts"), Worker: []string{self, manifest.WorkerCommand},
	}, log)
	s.service = releases.NewService(releases.Parts{
		Store: s.db, Renderer: renderer, Repositories: map[string]releases.Repository{"main": s.repo},
		Environments: []releases.Environment{{Name: "staging", Repository: "main", Path: "staging"}}, Access: commands.Members{}, Zone: time.UTC, Now: time.Now, Log: log, Loops: releases.NewLoops(),
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.service.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		<-ended
		renderer.Close()
		_ = s.repo.Close()
		_ = s.db.Close()
	})
	return s
}

// root may do everything.
var root = releases.Actor{Name: "admin", Via: "api", Root: true}

// ship takes an artifact in that fires no policy.
func (s *system) ship(app string, n int) *releases.Shipped {
	s.tb.Helper()
	sha := fmt.Sprintf("%040x", 0xabc00000+n)
	shipped, _, err := s.service.Ingest(context.Background(), &releases.Artifact{
		Version: releases.Version{RepositoryName: "acme/" + app, SHA: sha, Branch: "main", Message: "Change"},
		Context: map[string]string{"SHA": sha},
		Environments: []releases.Manifest{{
			App: app, Env: "staging", Namespace: "staging", Chart: releases.Chart{Repository: s.charts, Name: "chart"},
			Values: json.RawMessage(`{"image": {"repository": "registry.example/app", "tag": "{{ .SHA }}"}}`),
		}},
	}, "", root)
	if err != nil {
		s.tb.Fatal(err)
	}
	return shipped
}

func (s *system) propose(a *releases.Shipped) {
	s.tb.Helper()
	if _, err := s.service.Propose(context.Background(), releases.Ask{Env: "staging", ArtifactID: a.ID, By: root}); err != nil {
		s.tb.Fatal(err)
	}
}

// await takes outcomes until n releases are published.
func (s *system) await(n int) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for n > 0 {
		o, err := s.db.Next(ctx, 0)
		if err != nil {
			s.tb.Fatal(err)
		}
		if o.Release != nil && o.Release.Status == releases.Published {
			n--
		} else if o.Release != nil && !o.Release.Status.Open() {
			s.tb.Fatalf("release is %s: %s", o.Release.Status, o.Release.Reason)
		}
		if err := s.db.Done(ctx, o.Seq); err != nil {
			s.tb.Fatal(err)
		}
	}
}

// repository is a bare repository with apps in one environment and commits of history.
func repository(tb testing.TB, dir string, apps, history int) {
	tb.Helper()
	gittest.Bare(tb, dir, nil)
	var stream strings.Builder
	who := "committer Somebody Else <else@example.com> %d +0000\ndata 1\nx\n"
	fmt.Fprintf(&stream, "commit refs/heads/main\n"+who, 1_600_000_000)
	for i := range apps {
		for _, name := range []string{"deployment.yaml", "service.yaml", "release.json"} {
			content := fmt.Sprintf("# %s of app %d\n", name, i)
			fmt.Fprintf(&stream, "M 100644 inline staging/%s/%s\ndata %d\n%s\n", appName(i), name, len(content), content)
		}
	}
	for i := range history {
		content := fmt.Sprintf("# change %d\n", i)
		fmt.Fprintf(&stream, "commit refs/heads/main\n"+who+"M 100644 inline staging/%s/deployment.yaml\ndata %d\n%s\n", 1_600_000_001+i, appName(i%apps), len(content), content)
	}
	gittest.FastImport(tb, dir, stream.String())
	// fast-import stores the newest version of a file as a chain of changes to the oldest, which makes the server's own
	// check of a push slow. A host's packs, made by gc of what was pushed, have the newest whole.
	gittest.Git(tb, dir, "repack", "-adfq")
	gittest.Git(tb, dir, "gc", "--quiet")
}

func appName(i int) string { return fmt.Sprintf("app-%05d", i) }

// likeCommits makes a clone of the repository with n commits upon main, each like a release's, and returns their hashes.
func likeCommits(tb testing.TB, url string, n, apps int) (clone string, hashes []string) {
	tb.Helper()
	clone = filepath.Join(tb.TempDir(), "clone")
	gittest.Git(tb, filepath.Dir(clone), "clone", "--quiet", "--bare", url, clone)
	files, err := filepath.Glob("commands/demo/chart/templates/*.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var stream strings.Builder
	for i := range n {
		fmt.Fprintf(&stream, "commit refs/heads/like\ncommitter Somebody Else <else@example.com> 1700000000 +0000\ndata 1\nx\n")
		if i == 0 {
			stream.WriteString("from refs/heads/main^0\n")
		}
		for _, f := range files[:2] {
			text, err := os.ReadFile(f)
			if err != nil {
				tb.Fatal(err)
			}
			content := fmt.Sprintf("# %d\n%s", i, text)
			fmt.Fprintf(&stream, "M 100644 inline staging/%s/%s\ndata %d\n%s\n", appName(i%apps), filepath.Base(f), len(content), content)
		}
	}
	gittest.FastImport(tb, clone, stream.String())
	return clone, strings.Fields(gittest.Git(tb, clone, "rev-list", "--reverse", "main..like"))
}

// timed runs something on a quiet heap and says how long it took.
func timed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// place is a remote of one kind, twice: ours and git's, so that they do not meet.
type place struct {
	ours, gits string // URLs
	dir        string // of ours
	server     *gittest.Server
	waited     atomic.Int64 // time that the git server took for our requests
}

func newPlace(b *testing.B, kind string, apps, history int) *place {
	b.Helper()
	p := &place{server: gittest.Serve(b)}
	p.dir = filepath.Join(p.server.Root, "ours.git")
	repository(b, p.dir, apps, history)
	gits := filepath.Join(p.server.Root, "gits.git")
	if out, err := exec.Command("cp", "-r", p.dir, gits).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	p.ours, p.gits = p.dir, gits
	if kind == "http" {
		p.ours, p.gits = p.server.URL+"/ours.git", p.server.URL+"/gits.git"
	}
	p.server.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/ours.git") {
			return false
		}
		start := time.Now()
		p.server.Backend(w, r)
		p.waited.Add(int64(time.Since(start)))
		return true
	})
	return p
}

// BenchmarkRelease is one release from the request to the push, against `git push` of a like commit made beforehand.
func BenchmarkRelease(b *testing.B) {
	for _, kind := range []string{"http", "local"} {
		for _, c := range []struct {
			name          string
			apps, history int
		}{{"apps=10", 10, 100}, {"apps=10000", 10_000, 100}, {"apps=1000/history=50000", 1000, 50_000}, {"apps=1000/history=100", 1000, 100}} {
			b.Run(kind+"/"+c.name, func(b *testing.B) {
				p := newPlace(b, kind, c.apps, c.history)
				s := newSystem(b, b.TempDir(), p.ours, filepath.Join(b.TempDir(), "clone.git"))
				const warm = 3
				for i := range warm {
					s.propose(s.ship(appName(i%c.apps), i))
					s.await(1)
				}
				clone, hashes := likeCommits(b, p.gits, b.N+warm, c.apps)
				gittest.Git(b, clone, "push", "--quiet", p.gits, hashes[warm-1]+":refs/heads/main")
				var ours, own, gits []time.Duration
				var sent int64
				b.ResetTimer()
				for i := range b.N {
					a := s.ship(appName((i+warm)%c.apps), i+warm)
					runtime.GC()
					p.waited.Store(0)
					before := p.server.Received()
					took := timed(func() { s.propose(a); s.await(1) })
					sent += p.server.Received() - before
					ours, own = append(ours, took), append(own, took-time.Duration(p.waited.Load()))
					gits = append(gits, timed(func() { gittest.Git(b, clone, "push", "--quiet", p.gits, hashes[i+warm]+":refs/heads/main") }))
				}
				b.ReportMetric(ms(median(ours)), "ours-ms")
				b.ReportMetric(ms(median(gits)), "git-push-ms")
				b.ReportMetric(ms(median(ours))/ms(median(gits)), "ratio")
				b.ReportMetric(ms(median(own)), "own-ms")
				if kind == "http" {
					b.ReportMetric(float64(sent)/float64(b.N), "sent-B")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkReleaseAfterMany compares the releases after thousands of our own with the first ones.
func BenchmarkReleaseAfterMany(b *testing.B) {
	const many, sample, apps = 5000, 25, 100
	for _, kind := range []string{"http", "local"} {
		b.Run(kind, func(b *testing.B) {
			p := newPlace(b, kind, apps, 100)
			cache := filepath.Join(b.TempDir(), "clone.git")
			s := newSystem(b, b.TempDir(), p.ours, cache)
			n := 0
			one := func() time.Duration {
				a := s.ship(appName(n%apps), n)
				n++
				return timed(func() { s.propose(a); s.await(1) })
			}
			sampled := func() time.Duration {
				var all []time.Duration
				for range sample {
					all = append(all, one())
				}
				return median(all)
			}
			one()
			for range b.N {
				first := sampled()
				for n < many {
					one()
				}
				if kind == "local" {
					// What a host's own maintenance does; git push would be as slow without it.
					gittest.Git(b, p.dir, "gc", "--quiet")
				}
				last := sampled()
				b.ReportMetric(ms(first), "first-ms")
				b.ReportMetric(ms(last), "after-5000-ms")
				b.ReportMetric(ms(last)/ms(first), "ratio")
			}
			b.ReportMetric(float64(size(cache))/(1<<20), "clone-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func size(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if info, err := entry.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// BenchmarkBatch has 100 releases that wait together leave, against git's work-tree way: edit, add, commit each; one push.
func BenchmarkBatch(b *testing.B) {
	const batch = 100
	for _, kind := range []string{"http", "local"} {
		for _, apps := range []int{10, 10_000} {
			b.Run(fmt.Sprintf("%s/apps=%d", kind, apps), func(b *testing.B) {
				p := newPlace(b, kind, apps, 100)
				r, err := gitops.New("main", gitops.Config{URL: p.ours, Cache: filepath.Join(b.TempDir(), "clone.git")}.WithDefaults("main", b.TempDir()), slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				work := gittest.Clone(b, p.gits)
				var ours, gits []time.Duration
				for round := range b.N {
					drafts := make([]releases.Draft, batch)
					trees := map[string]string{}
					for i := range drafts {
						app := "staging/" + appName((i*97)%apps)
						folder, err := r.Read(b.Context(), app)
						if err != nil {
							b.Fatal(err)
						}
						if trees[app] == "" {
							trees[app] = folder.Tree
						}
						id := fmt.Sprintf("r-%d-%d", round, i)
						drafts[i] = releases.Draft{
							ReleaseID: id, Folder: app, BaseTree: trees[app], Message: "Release\n\nRelease-Id: " + id + "\n", At: time.Now(),
							Files: []releases.File{{Path: "deployment.yaml", Content: fmt.Appendf(nil, "round: %d\nn: %d\n", round, i)}},
						}
						// With few apps several drafts are for one folder; each is made for what the one before leaves.
						trees[app] = folderTree(b, drafts[i].Files[0])
					}
					ours = append(ours, timed(func() {
						results, err := r.Publish(b.Context(), drafts)
						if err != nil {
							b.Fatal(err)
						}
						for _, result := range results {
							if result.Written != releases.Committed {
								b.Fatalf("%+v", result)
							}
						}
					}))
					gits = append(gits, timed(func() { workTreeWay(b, work, batch, apps, round) }))
				}
				_ = r.Close()
				b.ReportMetric(batch/median(ours).Seconds(), "ours-rel/s")
				b.ReportMetric(batch/median(gits).Seconds(), "git-rel/s")
				b.ReportMetric(median(gits).Seconds()/median(ours).Seconds(), "ratio")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// folderTree is the hash of a folder with the one file.
func folderTree(b *testing.B, f releases.File) string {
	b.Helper()
	dir := b.TempDir()
	gittest.Git(b, dir, "init", "--quiet")
	if err := os.WriteFile(filepath.Join(dir, f.Path), f.Content, 0o600); err != nil {
		b.Fatal(err)
	}
	gittest.Git(b, dir, "add", ".")
	return gittest.Git(b, dir, "write-tree")
}

func workTreeWay(b *testing.B, work string, batch, apps, round int) {
	b.Helper()
	for i := range batch {
		name := filepath.Join("staging", appName((i*97)%apps), "deployment.yaml")
		if err := os.WriteFile(filepath.Join(work, name), fmt.Appendf(nil, "round: %d\nn: %d\n", round, i), 0o600); err != nil {
			b.Fatal(err)
		}
		gittest.Git(b, work, "add", name)
		gittest.Git(b, work, "commit", "--quiet", "-m", "Release")
	}
	gittest.Git(b, work, "push", "--quiet", "origin", "HEAD:main")
}

// BenchmarkIngest ships artifacts of 10 KB from 64 clients, against a handler that only writes the same bytes in one
// batched transaction.
func BenchmarkIngest(b *testing.B) {
	const clients = 64
	s := newSystem(b, b.TempDir(), bareLocal(b), "")
	metrics := api.NewMetrics(releases.NewLoops(), func() map[releases.Status]int { return nil }, func() int { return 0 })
	ours := httptest.NewServer(api.New(s.service, api.Config{AdminToken: adminToken, MaxBody: 1 << 20}, metrics, slog.New(slog.DiscardHandler)).Handler())
	b.Cleanup(ours.Close)
	plain := httptest.NewServer(plainHandler(b))
	b.Cleanup(plain.Close)
	rate := func(url string, first, n int) float64 {
		var next atomic.Int64
		next.Store(int64(first))
		var group sync.WaitGroup
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
		took := timed(func() {
			for range clients {
				group.Go(func() {
					for {
						i := int(next.Add(1))
						if i > first+n {
							return
						}
						postArtifact(b, client, url, tenKilobytes(i))
					}
				})
			}
			group.Wait()
		})
		return float64(n) / took.Seconds()
	}
	const n = 4000
	done := 0
	var rates, plains []float64
	rate(ours.URL, 1<<30, 200)
	rate(plain.URL, 1<<30, 200)
	for range b.N {
		for range 3 {
			rates = append(rates, rate(ours.URL, done, n))
			plains = append(plains, rate(plain.URL, done, n))
			done += n
		}
	}
	slices.Sort(rates)
	slices.Sort(plains)
	b.ReportMetric(rates[len(rates)/2], "ours/s")
	b.ReportMetric(plains[len(plains)/2], "plain/s")
	b.ReportMetric(rates[len(rates)/2]/plains[len(plains)/2], "ratio")
	b.ReportMetric(0, "ns/op")
}

func bareLocal(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "gitops.git")
	gittest.Bare(tb, dir, nil)
	return dir
}

func plainHandler(b *testing.B) http.Handler {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "plain.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	name := []byte("artifacts")
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(name); return err }); err != nil {
		b.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = db.Batch(func(tx *bbolt.Tx) error {
				bucket := tx.Bucket(name)
				n, err := bucket.NextSequence()
				if err != nil {
					return err
				}
				return bucket.Put(fmt.Appendf(nil, "%016x", n), body)
			})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
}

func postArtifact(b *testing.B, client *http.Client, url string, body []byte) {
	req, err := http.NewRequest(http.MethodPost, url+"/api/artifact", bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		b.Errorf("answered %s", res.Status)
	}
}

var padding = strings.Repeat("all work and no play makes a long environment ", 3)

// tenKilobytes is an artifact as CI systems ship them: a context of many variables, two environments.
func tenKilobytes(i int) []byte {
	env := map[string]string{"SHA": fmt.Sprintf("%040x", i)}
	for n := range 50 {
		env[fmt.Sprintf("CI_VARIABLE_%d", n)] = padding
	}
	manifest := func(name string) map[string]any {
		return map[string]any{
			"app": "app", "env": name, "namespace": "apps", "chart": map[string]string{"repository": "https://charts.example", "name": "app", "version": "1.0.0"},
			"values": map[string]any{"image": map[string]string{"repository": "registry.example/app", "tag": "{{ .SHA }}"}, "replicas": 2, "vars": map[string]string{"A": padding, "B": padding}},
		}
	}
	text, _ := json.Marshal(map[string]any{
		"version":      map[string]any{"repositoryName": fmt.Sprintf("acme/repo-%d", i%50), "sha": fmt.Sprintf("%040x", i), "branch": "main", "event": "push", "message": "Change " + padding},
		"context":      env,
		"environments": []any{manifest("staging"), manifest("production")},
	})
	return text
}

// BenchmarkNewestOfRepository lists the newest 20 artifacts of one repository among 1,000 and among 100,000.
func BenchmarkNewestOfRepository(b *testing.B) {
	few, many := filled(b, 1000), filled(b, 100_000)
	query := releases.ArtifactQuery{Repository: "acme/repo-7", Limit: 20}
	var fews, manys []time.Duration
	for range b.N {
		for range 200 {
			fews = append(fews, timed(func() { list(b, few, query) }))
			manys = append(manys, timed(func() { list(b, many, query) }))
		}
	}
	b.ReportMetric(float64(median(fews).Microseconds()), "of-1000-us")
	b.ReportMetric(float64(median(manys).Microseconds()), "of-100000-us")
	b.ReportMetric(float64(median(manys))/float64(median(fews)), "ratio")
	b.ReportMetric(0, "ns/op")
}

func list(b *testing.B, db *bolt.DB, q releases.ArtifactQuery) {
	err := db.View(b.Context(), func(tx releases.Tx) error {
		found, err := tx.Artifacts(q)
		if err == nil && len(found) != 20 {
			err = fmt.Errorf("found %d", len(found))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// filled is a store with n artifacts of fifty repositories.
func filled(tb testing.TB, n int) *bolt.DB {
	tb.Helper()
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(tb.TempDir(), "gimletd.db")}, time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	fill(tb, db, n)
	return db
}

func fill(tb testing.TB, db *bolt.DB, n int) {
	tb.Helper()
	const group = 1000
	for start := 0; start < n; start += group {
		err := db.Update(tb.Context(), func(tx releases.Tx) error {
			for i := start; i < min(n, start+group); i++ {
				key, err := tx.NextKey(time.Now())
				if err != nil {
					return err
				}
				a, err := releases.DecodeArtifact(tenKilobytes(i))
				if err != nil {
					return err
				}
				a.ID = fmt.Sprintf("%s-%d", a.Version.RepositoryName, i)
				targets := []releases.Target{{App: "app", Env: "staging"}, {App: "app", Env: "production"}}
				if err := tx.PutArtifact(&releases.Shipped{Artifact: *a, Key: key, Targets: targets}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkServe starts the binary with 100,000 artifacts, a 10,000-app repository and its clone on disk.
func BenchmarkServe(b *testing.B) {
	w := newWorld(b, nil)
	if out, err := exec.Command("rm", "-rf", w.remote).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	repository(b, w.remote, 10_000, 100)
	w.binary = filepath.Join(b.TempDir(), "gimletd")
	if out, err := exec.Command("go", "build", "-o", w.binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(w.dir, "gimletd.db")}, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, db, 100_000)
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	releaseSome := func(s *server, from int) {
		for i := range 50 {
			s.post(w.artifact(appName(i*199), fmt.Sprintf("%040x", 0xdef0000+from+i), nil))
		}
		s.typed("# settle")
	}
	s := w.start() // makes the clone
	releaseSome(s, 0)
	s.stop()
	for range b.N {
		var s *server
		took := timed(func() { s = w.start() })
		idle := resident(b, s.cmd.Process.Pid)
		peak := idle
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					peak = max(peak, resident(b, s.cmd.Process.Pid))
				case <-stop:
					return
				}
			}
		}()
		releaseSome(s, 100)
		close(stop)
		<-stopped
		s.stop()
		b.ReportMetric(ms(took), "ready-ms")
		b.ReportMetric(float64(idle)/(1<<20), "idle-MiB")
		b.ReportMetric(float64(peak)/(1<<20), "releasing-MiB")
	}
	b.ReportMetric(0, "ns/op")
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is the memory of a process and its render workers, in bytes.
func resident(b *testing.B, pid int) (total int64) {
	pids := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for child := range strings.FieldsSeq(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				pids = append(pids, n)
			}
		}
	}
	for _, p := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			continue
		}
		if m := residentLine.FindSubmatch(text); m != nil {
			kib, _ := strconv.ParseInt(string(m[1]), 10, 64)
			total += kib << 10
		}
	}
	return total
}
