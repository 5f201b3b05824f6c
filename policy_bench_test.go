package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"gimletd/releases"
	"gimletd/storage/bolt"
)

// policyWorld is a Service with many policies over many apps, of which a tenth has something to promote.
func policyWorld(b *testing.B, policies, apps int, patterns func(n int) []string) *releases.Service {
	b.Helper()
	dir := memory(b)
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(dir, "db")}, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(db.Close(), os.RemoveAll(dir)); err != nil {
			b.Error(err)
		}
	})
	environments := []releases.Environment{{Name: "staging", Repository: "main", Path: "staging"}, {Name: "production", Repository: "main", Path: "production"}}
	err = db.Update(b.Context(), func(tx releases.Tx) error {
		for n := range apps {
			if err := putApp(tx, fmt.Sprintf("app-%04d", n), n%10 == 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var all []releases.Policy
	schedule := ticks(b, "0 2 * * 1-5", "Europe/Budapest")
	for n := range policies {
		all = append(all, releases.Policy{
			Name: fmt.Sprintf("policy-%d", n), Schedule: schedule, Zone: schedule.Zone(), Timing: "0 2 * * 1-5", Apps: globs(b, patterns(n)...),
			From: releases.Source{Environment: "staging", Soak: 24 * time.Hour}, To: "production",
		})
	}
	return releases.NewService(releases.Parts{
		Store: db, Environments: environments, Policies: all, Access: anybody{}, Zone: time.UTC, Now: time.Now, Log: slog.New(slog.DiscardHandler), Loops: releases.NewLoops(),
	})
}

// putApp has an app live in both environments: the same version, or another one.
func putApp(tx releases.Tx, app string, differs bool) error {
	at := time.Now().Add(-48 * time.Hour)
	live := func(env, artifact string) releases.Live {
		return releases.Live{App: app, Env: env, ArtifactID: artifact, ReleaseID: "r-" + app, Version: releases.Version{RepositoryName: "acme/" + app, SHA: artifact, Branch: "main"}, At: at}
	}
	ids := []string{app + "-1"}
	if differs {
		ids = append(ids, app+"-2")
	}
	for _, id := range ids {
		key, err := tx.NextKey(at)
		if err != nil {
			return err
		}
		shipped := &releases.Shipped{Key: key, Targets: []releases.Target{{App: app, Env: "staging"}, {App: app, Env: "production"}}}
		shipped.ID, shipped.Version = id, releases.Version{RepositoryName: "acme/" + app, SHA: fmt.Sprintf("%s-%d", id, key)}
		shipped.Environments = []releases.Manifest{{App: app, Env: "staging"}, {App: app, Env: "production"}}
		if err := tx.PutArtifact(shipped); err != nil {
			return err
		}
	}
	return errors.Join(tx.PutLive(live("production", ids[0])), tx.PutLive(live("staging", ids[len(ids)-1])))
}

// BenchmarkPolicyPass decides what each of 1,000 policies would do now with 5,000 apps: each has its own five, or all have all.
func BenchmarkPolicyPass(b *testing.B) {
	for _, c := range []struct {
		name     string
		policies int
		patterns func(n int) []string
	}{
		{"1000 policies, 5 of 5000 apps each", 1000, func(n int) []string {
			return []string{fmt.Sprintf("app-%04d", n*5), fmt.Sprintf("app-%03d*", n%500), "!x-*"}
		}},
		{"1000 policies, all 5000 apps each", 1000, func(int) []string { return []string{"*"} }},
		{"1 policy, all 5000 apps", 1, func(int) []string { return []string{"*"} }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := policyWorld(b, c.policies, 5000, c.patterns)
			for b.Loop() {
				all, err := s.Outlooks(b.Context(), "", 0)
				if err != nil || len(all) != c.policies {
					b.Fatal(len(all), err)
				}
			}
		})
	}
}

// BenchmarkTenThousandPasses tells the heap after the first hundred and after ten thousand passes.
func BenchmarkTenThousandPasses(b *testing.B) {
	s := policyWorld(b, 100, 500, func(n int) []string { return []string{fmt.Sprintf("app-00%02d", n%50), fmt.Sprintf("app-%03d*", n%50)} })
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	for b.Loop() {
		var early float64
		for n := range 10_000 {
			if _, err := s.Outlooks(b.Context(), "", 0); err != nil {
				b.Fatal(err)
			}
			if n == 99 {
				early = heap()
			}
		}
		b.ReportMetric(early, "MiB-after-100")
		b.ReportMetric(heap(), "MiB-after-10000")
	}
}
