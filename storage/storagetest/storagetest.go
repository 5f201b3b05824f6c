// Package storagetest is what every store must do, as one suite that each implementation's tests run.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

// Outbox is the other side of what transactions publish.
type Outbox interface {
	Next(ctx context.Context, after uint64) (releases.Outcome, error)
	Done(ctx context.Context, seq uint64) error
	Pending() int
}

// Store is a store under test.
type Store interface {
	releases.Store
	Outbox
	Sent(ctx context.Context, key string) (string, bool, error)
	SetSent(ctx context.Context, key, ref string) error
	Inbox
}

// Inbox keeps requests.
type Inbox interface {
	Accept(ctx context.Context, id string, body []byte) (known bool, err error)
	Finish(ctx context.Context, id string) error
	Unfinished(ctx context.Context) ([][]byte, error)
}

// Run runs the suite. open returns a new, empty store.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Store){
		"artifacts are found by every filter, and by all of them together": testArtifactFilters,
		"pages go through all artifacts, newest first":                     testArtifactPages,
		"hashes are found by prefix, for their target":                     testSHAs,
		"fingerprints are known for a day":                                 testFingerprints,
		"releases are found, and open ones in order":                       testReleases,
		"files come back, and go":                                          testFiles,
		"what is live and held":                                            testState,
		"a failing write undoes itself and no other":                       testFailingWrite,
		"the outbox gives each outcome until it is done":                   testOutbox,
		"the ledger remembers":                                             testLedger,
		"apps are listed once each":                                        testApps,
		"diffs come back, and go":                                          testDiffs,
		"a request is accepted once, and unfinished until it is done":      testInbox,
		"what controls releases comes back, and goes":                      testControls,
		"what policies have done comes back, in order":                     testPolicies,
		"the audit only grows":                                             testAudit,
		"tokens are found by the hash of their secret":                     testTokens,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

var start = time.Date(2026, 3, 29, 23, 30, 0, 0, time.UTC) //nolint:gochecknoglobals // half an hour before a midnight, never changed

func update(t *testing.T, s Store, write func(tx releases.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), write); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s Store, read func(tx releases.Tx) error) {
	t.Helper()
	if err := s.View(t.Context(), read); err != nil {
		t.Fatal(err)
	}
}

// put stores an artifact of a version, at a minute after the start.
func put(t *testing.T, s Store, id string, minute int, v releases.Version, targets ...releases.Target) {
	t.Helper()
	update(t, s, func(tx releases.Tx) error {
		key, err := tx.NextKey(start.Add(time.Duration(minute) * time.Minute))
		if err != nil {
			return err
		}
		return tx.PutArtifact(&releases.Shipped{
			Artifact: releases.Artifact{ID: id, Version: v, Environments: []releases.Manifest{}}, Key: key, Targets: targets,
			Decisions: []releases.Decision{{App: "web", Reason: "because"}}, Dropped: []string{"TOKEN"},
		})
	})
}

func ids(found []*releases.Shipped) []string {
	all := []string{}
	for _, a := range found {
		all = append(all, a.ID)
	}
	return all
}

func expectIDs(t *testing.T, s Store, what string, q releases.ArtifactQuery, want ...string) {
	t.Helper()
	view(t, s, func(tx releases.Tx) error {
		found, err := tx.Artifacts(q)
		if diff := cmp.Diff(append([]string{}, want...), ids(found)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		return err
	})
}

func testArtifactFilters(t *testing.T, s Store) {
	web, api := releases.Target{App: "web", Env: "staging"}, releases.Target{App: "api", Env: "production"}
	put(t, s, "a", 1, releases.Version{RepositoryName: "acme/web", SHA: "aaaa1111", Branch: "main"}, web)
	put(t, s, "b", 2, releases.Version{RepositoryName: "acme/web", SHA: "bbbb2222", Branch: "main", Event: "push"}, web, api)
	put(t, s, "c", 3, releases.Version{RepositoryName: "acme/web-2", SHA: "cccc3333", Branch: "feature/x", SourceBranch: "x", Event: "pr"}, api)
	put(t, s, "d", 4, releases.Version{RepositoryName: "acme/web", SHA: "AAAA1111", Branch: "main", Tag: "v1", Event: "tag"}, web)
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	expectIDs(t, s, "all", releases.ArtifactQuery{}, "d", "c", "b", "a")
	expectIDs(t, s, "repository", releases.ArtifactQuery{Repository: "acme/web"}, "d", "b", "a")
	expectIDs(t, s, "branch with a slash", releases.ArtifactQuery{Branch: "feature/x"}, "c")
	expectIDs(t, s, "a part of a branch", releases.ArtifactQuery{Branch: "feature"})
	expectIDs(t, s, "an absent event is a push", releases.ArtifactQuery{Event: "push"}, "b", "a")
	expectIDs(t, s, "source branch", releases.ArtifactQuery{SourceBranch: "x"}, "c")
	expectIDs(t, s, "tag", releases.ArtifactQuery{Tag: "v1"}, "d")
	expectIDs(t, s, "hash in any case", releases.ArtifactQuery{SHAs: []string{"aaaa1111"}}, "d", "a")
	expectIDs(t, s, "several hashes", releases.ArtifactQuery{SHAs: []string{"cccc3333", "bbbb2222"}}, "c", "b")
	expectIDs(t, s, "app", releases.ArtifactQuery{Target: releases.Target{App: "api"}}, "c", "b")
	expectIDs(t, s, "environment", releases.ArtifactQuery{Target: releases.Target{Env: "staging"}}, "d", "b", "a")
	expectIDs(t, s, "target", releases.ArtifactQuery{Target: api}, "c", "b")
	expectIDs(t, s, "together", releases.ArtifactQuery{Repository: "acme/web", Event: "push", Target: api, SHAs: []string{"bbbb2222", "aaaa1111"}}, "b")
	expectIDs(t, s, "since", releases.ArtifactQuery{Since: at(3)}, "d", "c")
	expectIDs(t, s, "until", releases.ArtifactQuery{Until: at(2)}, "b", "a")
	expectIDs(t, s, "of some repositories", releases.ArtifactQuery{Within: []string{"acme/*", "!acme/web-2"}}, "d", "b", "a")
	expectIDs(t, s, "of one of two that begin alike", releases.ArtifactQuery{Within: []string{"acme/web"}, Limit: 2}, "d", "b")
	expectIDs(t, s, "of repositories that are not there", releases.ArtifactQuery{Within: []string{"other/*"}})
	expectIDs(t, s, "between", releases.ArtifactQuery{Since: at(2), Until: at(3), Repository: "acme/web"}, "b")
	view(t, s, func(tx releases.Tx) error {
		a, err := tx.Artifact("b")
		if err == nil && (len(a.Targets) != 2 || len(a.Decisions) != 1 || !slices.Equal(a.Dropped, []string{"TOKEN"}) || a.Version.SHA != "bbbb2222") {
			t.Errorf("got %+v", a)
		}
		if _, err := tx.Artifact("nope"); releases.KindOf(err) != releases.NotFound {
			t.Errorf("an unknown id: %v", err)
		}
		return err
	})
}

func testArtifactPages(t *testing.T, s Store) {
	for i := range 25 {
		put(t, s, fmt.Sprintf("a%02d", i), 0, releases.Version{RepositoryName: fmt.Sprintf("r%d", i%2), SHA: "00000000"}) // all at one instant
	}
	expectIDs(t, s, "the default is ten", releases.ArtifactQuery{Repository: "r0"}, "a24", "a22", "a20", "a18", "a16", "a14", "a12", "a10", "a08", "a06")
	expectIDs(t, s, "the next page", releases.ArtifactQuery{Repository: "r0", Offset: 10}, "a04", "a02", "a00")
	expectIDs(t, s, "past the end", releases.ArtifactQuery{Offset: 30})
	expectIDs(t, s, "one", releases.ArtifactQuery{Limit: 1}, "a24")
}

func testSHAs(t *testing.T, s Store) {
	web, api := releases.Target{App: "web", Env: "staging"}, releases.Target{App: "api", Env: "staging"}
	for i, sha := range []string{"abcd0001", "abcd0002", "abcd0002", "abce0003"} {
		put(t, s, fmt.Sprint(i), i, releases.Version{RepositoryName: "r", SHA: sha}, web)
	}
	put(t, s, "x", 9, releases.Version{RepositoryName: "r", SHA: "abcd0009"}, api)
	for _, c := range []struct {
		prefix string
		limit  int
		want   []string
	}{
		{"abcd", 5, []string{"abcd0001", "abcd0002"}}, {"abc", 2, []string{"abcd0001", "abcd0002"}}, {"ABCE", 5, []string{"abce0003"}}, {"f", 5, nil}, {"abcd0009", 5, nil},
	} {
		view(t, s, func(tx releases.Tx) error {
			got, err := tx.SHAs(c.prefix, web, c.limit)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.prefix, got, c.want)
			}
			return err
		})
	}
}

func testFingerprints(t *testing.T, s Store) {
	remember := func(print string, at time.Time) {
		update(t, s, func(tx releases.Tx) error { return tx.Remember(print, "id-"+print, at) })
	}
	expect := func(print string, at time.Time, want string) {
		t.Helper()
		view(t, s, func(tx releases.Tx) error {
			got, err := tx.Seen(print, at)
			if got != want {
				t.Errorf("%s at %s: %q, want %q", print, at, got, want)
			}
			return err
		})
	}
	remember("p", start) // half an hour before midnight
	expect("p", start, "id-p")
	expect("p", start.Add(time.Hour), "id-p")
	expect("p", start.Add(24*time.Hour-time.Second), "id-p")
	expect("p", start.Add(24*time.Hour), "")
	expect("q", start, "")
	for day := range 5 {
		remember(fmt.Sprint(day), start.Add(time.Duration(day)*24*time.Hour))
	}
	expect("4", start.Add(4*24*time.Hour), "id-4")
}

// release stores a release and returns it as it is found again.
func release(t *testing.T, s Store, r releases.Release) releases.Release {
	t.Helper()
	update(t, s, func(tx releases.Tx) error {
		if r.Key == 0 {
			var err error
			if r.Key, err = tx.NextKey(start); err != nil {
				return err
			}
		}
		return tx.PutRelease(r)
	})
	return r
}

func testReleases(t *testing.T, s Store) {
	make := func(id, app, env string, status releases.Status) releases.Release {
		return release(t, s, releases.Release{ID: id, App: app, Env: env, Status: status, Request: "q-" + id[:1], ArtifactID: "art-" + app, Created: start, Steps: []releases.Step{{Status: status, At: start}}})
	}
	a1 := make("a1", "web", "staging", releases.Proposed)
	make("a2", "web", "production", releases.Published)
	make("b1", "api", "staging", releases.Approved)
	expect := func(what string, q releases.ReleaseQuery, want ...string) {
		t.Helper()
		view(t, s, func(tx releases.Tx) error {
			found, err := tx.Releases(q)
			got := []string{}
			for _, r := range found {
				got = append(got, r.ID)
			}
			if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
			return err
		})
	}
	open := func(want ...string) {
		t.Helper()
		view(t, s, func(tx releases.Tx) error {
			found, err := tx.OpenReleases()
			got := []string{}
			for _, r := range found {
				got = append(got, r.ID)
			}
			if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
				t.Errorf("open: %s", diff)
			}
			return err
		})
	}
	expect("all", releases.ReleaseQuery{}, "b1", "a2", "a1")
	expect("app", releases.ReleaseQuery{App: "web"}, "a2", "a1")
	expect("app and environment", releases.ReleaseQuery{App: "web", Env: "staging"}, "a1")
	expect("request", releases.ReleaseQuery{Request: "q-a"}, "a2", "a1")
	expect("artifact", releases.ReleaseQuery{ArtifactID: "art-api"}, "b1")
	expect("status", releases.ReleaseQuery{Statuses: []releases.Status{releases.Published}}, "a2")
	expect("limit after status", releases.ReleaseQuery{Statuses: []releases.Status{releases.Proposed, releases.Approved}, Limit: 1, Offset: 1}, "a1")
	open("a1", "b1")
	a1.Status = releases.Failed
	release(t, s, a1)
	open("b1")
	view(t, s, func(tx releases.Tx) error {
		got, err := tx.Release("a1")
		if diff := cmp.Diff(a1, got); diff != "" {
			t.Error(diff)
		}
		if _, err := tx.Release("nope"); releases.KindOf(err) != releases.NotFound {
			t.Errorf("an unknown id: %v", err)
		}
		return err
	})
}

func testFiles(t *testing.T, s Store) {
	files := []releases.File{{Path: "a.yaml", Content: []byte("a\x00\xff")}, {Path: "b.yaml", Content: []byte{}}}
	update(t, s, func(tx releases.Tx) error { return tx.PutFiles("r-1", files) })
	view(t, s, func(tx releases.Tx) error {
		got, err := tx.Files("r-1")
		if diff := cmp.Diff(files, got); diff != "" {
			t.Error(diff)
		}
		return err
	})
	update(t, s, func(tx releases.Tx) error { return tx.PutFiles("r-1", nil) })
	err := s.View(t.Context(), func(tx releases.Tx) error { _, err := tx.Files("r-1"); return err })
	if releases.KindOf(err) != releases.NotFound {
		t.Errorf("after they went: %v", err)
	}
}

func testState(t *testing.T, s Store) {
	live := releases.Live{App: "web", Env: "staging", ReleaseID: "r-1", At: start}
	hold := releases.Hold{App: "web", Env: "staging", By: "ada", At: start}
	update(t, s, func(tx releases.Tx) error {
		return errors.Join(tx.PutLive(live), tx.PutLive(releases.Live{App: "web", Env: "staging-2"}), tx.PutHold(hold))
	})
	view(t, s, func(tx releases.Tx) error {
		got, err1 := tx.Live("web", "staging")
		none, err2 := tx.Live("api", "staging")
		all, err3 := tx.Lives("staging")
		held, err4 := tx.Hold("web", "staging")
		free, err5 := tx.Hold("web", "production")
		if !cmp.Equal(got, &live) || none != nil || len(all) != 1 || !cmp.Equal(held, &hold) || free != nil {
			t.Errorf("%+v %+v %+v %+v %+v", got, none, all, held, free)
		}
		return errors.Join(err1, err2, err3, err4, err5)
	})
	update(t, s, func(tx releases.Tx) error { return tx.ClearHold("web", "staging") })
	view(t, s, func(tx releases.Tx) error {
		held, err := tx.Hold("web", "staging")
		if held != nil {
			t.Error("it is still held")
		}
		return err
	})
}

func testFailingWrite(t *testing.T, s Store) {
	const writers = 50
	var group sync.WaitGroup
	broken := errors.New("broken")
	for i := range writers {
		group.Go(func() {
			err := s.Update(t.Context(), func(tx releases.Tx) error {
				if err := tx.PutLive(releases.Live{App: fmt.Sprintf("app-%02d", i), Env: "staging"}); err != nil {
					return err
				}
				switch i % 10 {
				case 3:
					return broken
				case 7:
					panic("broken")
				}
				return nil
			})
			if fails := i%10 == 3 || i%10 == 7; fails != (err != nil) {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	group.Wait()
	view(t, s, func(tx releases.Tx) error {
		all, err := tx.Lives("staging")
		if len(all) != writers*8/10 {
			t.Errorf("%d writes are there, want %d", len(all), writers*8/10)
		}
		return err
	})
}

func testOutbox(t *testing.T, s Store) {
	publish := func(kind string) {
		update(t, s, func(tx releases.Tx) error { return tx.Publish(releases.Outcome{At: start, Kind: kind}) })
	}
	publish("one")
	publish("two")
	if err := s.Update(t.Context(), func(tx releases.Tx) error {
		return errors.Join(tx.Publish(releases.Outcome{Kind: "never"}), errors.New("undone"))
	}); err == nil {
		t.Error("the failing write did not fail")
	}
	if n := s.Pending(); n != 2 {
		t.Errorf("%d pending, want 2", n)
	}
	next := func(want string) releases.Outcome {
		t.Helper()
		o, err := s.Next(t.Context(), 0)
		if err != nil || o.Kind != want {
			t.Fatalf("got %+v %v, want %s", o, err, want)
		}
		return o
	}
	done := func(o releases.Outcome) {
		t.Helper()
		if err := s.Done(t.Context(), o.Seq); err != nil {
			t.Fatal(err)
		}
	}
	next("one")
	done(next("one"))
	done(next("two"))
	got := make(chan releases.Outcome)
	go func() {
		o, _ := s.Next(t.Context(), 0)
		got <- o
	}()
	publish("three")
	o := <-got
	if o.Kind != "three" {
		t.Errorf("who waits is given %+v", o)
	}
	done(o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that is given up: %v", err)
	}
}

func testLedger(t *testing.T, s Store) {
	if _, ok, err := s.Sent(t.Context(), "k"); ok || err != nil {
		t.Errorf("before: %v %v", ok, err)
	}
	if err := s.SetSent(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if ref, ok, err := s.Sent(t.Context(), "k"); ref != "v" || !ok || err != nil {
		t.Errorf("after: %q %v %v", ref, ok, err)
	}
}

func testApps(t *testing.T, s Store) {
	for i, app := range []string{"web", "api", "web", "web-2", "web"} {
		put(t, s, fmt.Sprint(i), i, releases.Version{RepositoryName: "r", SHA: "00000000"}, releases.Target{App: app, Env: "staging"}, releases.Target{App: app, Env: "production"})
	}
	view(t, s, func(tx releases.Tx) error {
		apps, err := tx.Apps()
		if diff := cmp.Diff([]string{"api", "web", "web-2"}, apps); diff != "" {
			t.Error(diff)
		}
		return err
	})
}

func testDiffs(t *testing.T, s Store) {
	expect := func(want string) {
		t.Helper()
		view(t, s, func(tx releases.Tx) error {
			diff, err := tx.Diff("r-1")
			if diff != want {
				t.Errorf("got %q", diff)
			}
			return err
		})
	}
	expect("")
	update(t, s, func(tx releases.Tx) error { return tx.PutDiff("r-1", "+a\n") })
	expect("+a\n")
	update(t, s, func(tx releases.Tx) error { return tx.PutDiff("r-1", "") })
	expect("")
}

func testInbox(t *testing.T, s Store) {
	unfinished := func(want ...string) {
		t.Helper()
		bodies, err := s.Unfinished(t.Context())
		var got []string
		for _, b := range bodies {
			got = append(got, string(b))
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	for _, id := range []string{"b", "a", "ab"} {
		if known, err := s.Accept(t.Context(), id, []byte("body "+id)); known || err != nil {
			t.Errorf("%s: %v %v", id, known, err)
		}
	}
	if known, err := s.Accept(t.Context(), "a", []byte("again")); !known || err != nil {
		t.Errorf("again: %v %v", known, err)
	}
	unfinished("body b", "body a", "body ab")
	if err := errors.Join(s.Finish(t.Context(), "a"), s.Finish(t.Context(), "nobody")); err != nil {
		t.Error(err)
	}
	unfinished("body b", "body ab")
	if known, err := s.Accept(t.Context(), "a", []byte("again")); !known || err != nil {
		t.Errorf("after it was finished: %v %v", known, err)
	}
}
