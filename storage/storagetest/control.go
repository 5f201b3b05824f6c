package storagetest

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

func testControls(t *testing.T, s Store) {
	ada, grace := releases.Actor{Name: "ada", Via: "slack", User: "U1", Person: "person:ada"}, releases.Actor{Name: "grace", Via: "slack", User: "U2"}
	lock := func(app, env string) releases.Lock {
		return releases.Lock{ID: "l-" + app, App: app, Env: env, Owner: ada, Reason: "why", At: start, Until: start.Add(time.Hour)}
	}
	freeze := func(id, env string) releases.Freeze {
		return releases.Freeze{ID: id, Env: env, Reason: "why", By: ada, From: start, Until: start.Add(time.Hour)}
	}
	mark := releases.Mark{ArtifactID: "acme/web-1", Reason: "it leaks", By: ada, At: start, Targets: []releases.Target{{App: "web", Env: "staging"}}}
	open := releases.Review{ReleaseID: "r-1", App: "web", Glass: releases.Glass{By: ada, Second: &grace, Reason: "it burns"}, Due: start}
	signed := open
	signed.SignedBy = &grace
	delegation := releases.Delegation{From: ada, To: grace, At: start, Until: start.Add(time.Hour)}
	update(t, s, func(tx releases.Tx) error {
		return errors.Join(
			tx.PutLock(lock("web", "staging")), tx.PutLock(lock("*", "staging")), tx.PutLock(lock("web", "production")), tx.PutLock(lock("web", "stag")), tx.ClearLock("api", "staging"),
			tx.PutFreeze(freeze("f-1", "staging")), tx.PutFreeze(freeze("weekend 2026", "staging")), tx.PutFreeze(freeze("f-1", "stag")),
			tx.PutMark(mark), tx.PutReview(open), tx.PutDelegation(delegation),
		)
	})
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	view(t, s, func(tx releases.Tx) error {
		staging, err1 := tx.Locks("staging")
		all, err2 := tx.Locks("")
		same("locks of an environment", staging, []releases.Lock{lock("*", "staging"), lock("web", "staging")})
		same("all locks", len(all), 4)
		freezes, err3 := tx.Freezes("staging")
		same("freezes", freezes, []releases.Freeze{freeze("f-1", "staging"), freeze("weekend 2026", "staging")})
		found, err4 := tx.Mark("acme/web-1")
		same("mark", found, &mark)
		none, err5 := tx.Mark("acme/web")
		same("no mark", none, (*releases.Mark)(nil))
		reviews, err6 := tx.Reviews()
		same("reviews", reviews, []releases.Review{open})
		delegations, err7 := tx.Delegations()
		same("delegations", delegations, []releases.Delegation{delegation})
		return errors.Join(err1, err2, err3, err4, err5, err6, err7)
	})
	update(t, s, func(tx releases.Tx) error {
		return errors.Join(tx.ClearLock("web", "staging"), tx.ClearFreeze("staging", "f-1"), tx.ClearMark("acme/web-1"), tx.PutReview(signed), tx.ClearDelegation("person:ada"))
	})
	view(t, s, func(tx releases.Tx) error {
		locks, err1 := tx.Locks("staging")
		freezes, err2 := tx.Freezes("staging")
		marks, err3 := tx.Marks()
		reviews, err4 := tx.Reviews()
		over, err5 := tx.Review("r-1")
		delegations, err6 := tx.Delegations()
		same("what is left", []int{len(locks), len(freezes), len(marks), len(reviews), len(delegations)}, []int{1, 1, 0, 0, 0})
		same("a review that was signed off", over, &signed)
		return errors.Join(err1, err2, err3, err4, err5, err6)
	})
}

func testAudit(t *testing.T, s Store) {
	appendRecord := func(tx releases.Tx, action string) error {
		last, err := tx.LastRecord()
		if err != nil {
			return err
		}
		r, err := releases.Record{At: start, Action: action, Actor: "ada", Door: "slack"}.Seal(last)
		if err != nil {
			return err
		}
		return tx.PutRecord(r)
	}
	const n = 300
	for i := range n {
		update(t, s, func(tx releases.Tx) error { return appendRecord(tx, fmt.Sprint("act ", i)) })
	}
	undone := errors.New("undone")
	err := s.Update(t.Context(), func(tx releases.Tx) error { return errors.Join(appendRecord(tx, "never"), undone) })
	if !errors.Is(err, undone) {
		t.Error(err)
	}
	err = s.Update(t.Context(), func(tx releases.Tx) error {
		return tx.PutRecord(releases.Record{Seq: 5, Action: "in place of another"})
	})
	if err == nil {
		t.Error("a record was replaced")
	}
	count := func(lines iter.Seq2[[]byte, error], most int) (seen []string) {
		for line, err := range lines {
			if err != nil {
				t.Fatal(err)
			}
			_, action, _ := strings.Cut(string(line), `"action":"`)
			action, _, _ = strings.Cut(action, `"`)
			if seen = append(seen, action); len(seen) == most {
				break
			}
		}
		return seen
	}
	view(t, s, func(tx releases.Tx) error {
		head, err := tx.LastRecord()
		if err != nil || head.Seq != n {
			t.Errorf("the head is %d: %v", head.Seq, err)
		}
		if all := count(tx.AuditFrom(1), 0); len(all) != n || all[0] != "act 0" || all[n-1] != "act 299" {
			t.Errorf("%d records", len(all))
		}
		if diff := cmp.Diff([]string{"act 299", "act 298"}, count(tx.AuditBack(n), 2)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"act 9", "act 10"}, count(tx.AuditFrom(10), 2)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"act 1", "act 0"}, count(tx.AuditBack(2), 0)); diff != "" {
			t.Error(diff)
		}
		verified, err := releases.VerifyAudit(tx.AuditFrom(1), &releases.Anchor{Seq: head.Seq, Hash: head.Hash}, nil)
		if err != nil || verified != n {
			t.Errorf("%d: %v", verified, err)
		}
		return nil
	})
}

func testTokens(t *testing.T, s Store) {
	ci := releases.Token{Name: "ci", Hash: releases.HashToken("secret"), By: "admin", Created: start}
	update(t, s, func(tx releases.Tx) error { return tx.PutToken(ci) })
	view(t, s, func(tx releases.Tx) error {
		found, err1 := tx.TokenByHash(ci.Hash)
		other, err2 := tx.TokenByHash(releases.HashToken("another"))
		all, err3 := tx.Tokens()
		if diff := cmp.Diff([]any{&ci, (*releases.Token)(nil), []releases.Token{ci}}, []any{found, other, all}); diff != "" {
			t.Error(diff)
		}
		return errors.Join(err1, err2, err3)
	})
	update(t, s, func(tx releases.Tx) error { return errors.Join(tx.ClearToken("ci"), tx.ClearToken("nobody's")) })
	view(t, s, func(tx releases.Tx) error {
		found, err1 := tx.TokenByHash(ci.Hash)
		all, err2 := tx.Tokens()
		if found != nil || len(all) != 0 {
			t.Errorf("%v %v", found, all)
		}
		return errors.Join(err1, err2)
	})
}
