package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/releases"
	"gimletd/releases/gitops/gittest"

	"go.etcd.io/bbolt"
)

// gimletd runs a subcommand and returns its exit status and all that it printed.
func gimletd(args ...string) (status int, said string) {
	var out bytes.Buffer
	status = run(args, strings.NewReader(""), &out, &out)
	return status, out.String()
}

// tampered changes a copy of the store and returns its path.
func tampered(t *testing.T, store string, change func(audit, meta *bbolt.Bucket) error) string {
	t.Helper()
	text, err := os.ReadFile(store)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("audit")), tx.Bucket([]byte("meta"))) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func seqKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

var keyHead = []byte("audit-head")

// forged seals records anew from one on, as somebody would who knows how.
func forged(audit, meta *bbolt.Bucket, from, last uint64, change func(*releases.Record)) error {
	before := releases.Record{}
	if from > 1 {
		if err := json.Unmarshal(audit.Get(seqKey(from-1)), &before); err != nil {
			return err
		}
	}
	for n := from; n <= last; n++ {
		var r releases.Record
		if err := json.Unmarshal(audit.Get(seqKey(n)), &r); err != nil {
			return err
		}
		if n == from {
			change(&r)
		}
		sealed, err := r.Seal(before)
		if err != nil {
			return err
		}
		body, err := json.Marshal(sealed)
		if err != nil {
			return err
		}
		if err := audit.Put(seqKey(n), body); err != nil {
			return err
		}
		before = sealed
	}
	return meta.Put(keyHead, append(seqKey(before.Seq), before.Hash...))
}

func TestTamperingWithTheAuditIsFound(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	for _, sha := range []string{"1111111", "2222222", "3333333"} {
		s.post(w.artifact("web", long(sha), nil))
		s.typed("/release web production")
	}
	s.typed("/rollback web production", "/gimlet cancel r-222222", "/gimlet lock web production a look")
	s.stop()
	store, config := filepath.Join(w.dir, "gimletd.db"), filepath.Join(w.dir, "config.yaml")
	verify := func(args ...string) (int, string) {
		return gimletd(append([]string{"audit", "verify", "--config", config}, args...)...)
	}
	status, said := verify()
	if status != 0 || !strings.Contains(said, "The audit is intact") {
		t.Fatalf("untouched: %d %s", status, said)
	}
	var last uint64
	if _, err := fmt.Sscanf(said, "The audit is intact: %d records", &last); err != nil || last < 20 {
		t.Fatalf("%d records: %s", last, said)
	}
	text := func(audit *bbolt.Bucket, n uint64) string { return string(audit.Get(seqKey(n))) }
	for _, c := range []struct {
		name   string
		change func(audit, meta *bbolt.Bucket) error
		want   string
	}{
		{"a word is edited", func(audit, _ *bbolt.Bucket) error {
			return audit.Put(seqKey(5), []byte(strings.Replace(text(audit, 5), `"actor":"`, `"actor":"x`, 1)))
		}, "record 5 was changed"},
		{"the hash, too", func(audit, _ *bbolt.Bucket) error {
			return audit.Put(seqKey(5), []byte(strings.Replace(text(audit, 5), `"hash":"`, `"hash":"0`, 1)))
		}, "record 5 was changed"},
		{"a space is added", func(audit, _ *bbolt.Bucket) error {
			return audit.Put(seqKey(5), []byte(strings.Replace(text(audit, 5), `{`, `{ `, 1)))
		}, "record 5 is not as it was written"},
		{"a field is added", func(audit, _ *bbolt.Bucket) error {
			return audit.Put(seqKey(5), []byte(strings.Replace(text(audit, 5), `{`, `{"approved":true,`, 1)))
		}, "record 5 cannot be read"},
		{"it is no JSON any more", func(audit, _ *bbolt.Bucket) error { return audit.Put(seqKey(5), []byte("gone")) }, "record 5 cannot be read"},
		{"one is deleted", func(audit, _ *bbolt.Bucket) error { return audit.Delete(seqKey(7)) }, "record 7 is missing"},
		{"the first is deleted", func(audit, _ *bbolt.Bucket) error { return audit.Delete(seqKey(1)) }, "record 1 is missing"},
		{"two change places", func(audit, _ *bbolt.Bucket) error {
			a, b := text(audit, 8), text(audit, 9)
			if err := audit.Put(seqKey(8), []byte(b)); err != nil {
				return err
			}
			return audit.Put(seqKey(9), []byte(a))
		}, "record 8 is missing or out of order"},
		{"the last is cut off", func(audit, _ *bbolt.Bucket) error { return audit.Delete(seqKey(last)) }, fmt.Sprintf("record %d is missing", last)},
		{"all are cut off", func(audit, _ *bbolt.Bucket) error {
			for n := uint64(1); n <= last; n++ {
				if err := audit.Delete(seqKey(n)); err != nil {
					return err
				}
			}
			return nil
		}, "record 1 is missing"},
		{"the end is cut off, and the head with it", func(audit, meta *bbolt.Bucket) error {
			for n := uint64(9); n <= last; n++ {
				if err := audit.Delete(seqKey(n)); err != nil {
					return err
				}
			}
			return forged(audit, meta, 8, 8, func(*releases.Record) {})
		}, "record 9 is missing: the audit ends at 8, and commit"},
		{"one is edited, and all after it are sealed anew", func(audit, meta *bbolt.Bucket) error {
			return forged(audit, meta, 3, last, func(r *releases.Record) { r.Actor = "somebody else" })
		}, "is not the one that commit"},
	} {
		status, said := verify("--store", tampered(t, store, c.change))
		if status == 0 || !strings.Contains(said, "NOT intact") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %d %s, not %q", c.name, status, said, c.want)
		}
	}
	t.Run("in an export", func(t *testing.T) {
		status, lines := gimletd("audit", "export", "--config", config)
		file := filepath.Join(t.TempDir(), "audit.jsonl")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(lines)
		if again, said := verify("--file", file); status != 0 || again != 0 {
			t.Fatalf("untouched: %d %s", again, said)
		}
		cut := strings.SplitAfter(lines, "\n")
		write(strings.Join(append(cut[:4:4], cut[5:]...), ""))
		if status, said := verify("--file", file); status == 0 || !strings.Contains(said, "record 5 is missing") {
			t.Errorf("a line is missing: %d %s", status, said)
		}
	})
	t.Run("after a backup was restored", func(t *testing.T) {
		backup, err := os.ReadFile(store)
		if err != nil {
			t.Fatal(err)
		}
		s := w.start()
		s.typed("/release web production 1111111")
		s.stop()
		if status, said := verify(); status != 0 {
			t.Fatalf("%d %s", status, said)
		}
		if err := os.WriteFile(store, backup, 0o600); err != nil {
			t.Fatal(err)
		}
		if status, said := verify(); status == 0 || !strings.Contains(said, "or a backup was restored") {
			t.Errorf("restored: %d %s", status, said)
		}
		s = w.start() // and it goes on from there
		s.typed("/release web production 2222222", "/release web production 3333333", "/gimlet unlock web production")
		s.stop()
		if status, said := verify(); status == 0 || !strings.Contains(said, "a backup was restored and went on") {
			t.Errorf("restored, and gone on: %d %s", status, said)
		}
	})
}

func TestTheAuditOfARunningServer(t *testing.T) {
	w := newWorld(t, map[string]string{"README.md": "GitOps\n"})
	s := w.start()
	s.post(w.artifact("web", long("1111111"), nil))
	s.typed("/release web production")
	config := filepath.Join(w.dir, "config.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.Replace(text, []byte(`listen: "127.0.0.1:0"`), []byte(`listen: "`+s.api+`"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, said := gimletd("audit", "verify", "--config", config); status != 0 || !strings.Contains(said, "is intact") || !strings.Contains(said, "2 of them anchored") {
		t.Errorf("%d %s", status, said)
	}
	status, lines := gimletd("audit", "export", "--config", config)
	for _, want := range []string{`"action":"artifact.shipped","actor":"admin"`, `"action":"request.release","actor":"tess"`, `"action":"release.published"`} {
		if status != 0 || !strings.Contains(lines, want) {
			t.Errorf("%d: no %s in\n%s", status, want, lines)
		}
	}
	status, secret := gimletd("token", "create", "--config", config, "ci")
	if status != 0 || !strings.HasPrefix(secret, "gimletd_") {
		t.Fatalf("%d %s", status, secret)
	}
	if status, said := gimletd("token", "list", "--config", config); status != 0 || !strings.Contains(said, "ci ") || strings.Contains(said, strings.TrimSpace(secret)) {
		t.Errorf("%d %s", status, said)
	}
	if status, said := gimletd("token", "list", "--config", config, "-o", "json"); status != 0 || !strings.Contains(said, `"name": "ci"`) || strings.Contains(said, `"hash"`) {
		t.Errorf("%d %s", status, said)
	}
	if status, said := gimletd("token", "create", "--config", config, "-o", "json", "other"); status != 0 || !strings.Contains(said, `"token": "gimletd_`) {
		t.Errorf("%d %s", status, said)
	}
	if status, said := gimletd("token", "revoke", "--config", config, "ci"); status != 0 {
		t.Errorf("%d %s", status, said)
	}
	if n := strings.Count(gittest.Git(t, w.remote, "log", "--format=%(trailers:key=Audit-Head)", "main"), "Audit-Head: "); n != 2 {
		t.Errorf("%d commits anchor the audit", n)
	}
}
