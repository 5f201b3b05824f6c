package bolt_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gimletd/releases"
	"gimletd/storage/bolt"
	"gimletd/storage/storagetest"

	"go.etcd.io/bbolt"
)

func open(t *testing.T, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: path}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Store {
		t.Helper()
		db := open(t, filepath.Join(t.TempDir(), "x.db"))
		t.Cleanup(func() { _ = db.Close() })
		return db
	})
}

func TestWhatWasWrittenIsThereAfterOpeningAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "x.db")
	db := open(t, path)
	err := db.Update(t.Context(), func(tx releases.Tx) error {
		return errors.Join(tx.PutLive(releases.Live{App: "web", Env: "staging"}), tx.Publish(releases.Outcome{Kind: "x"}))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	defer func() { _ = db.Close() }()
	if o, err := db.Next(t.Context(), 0); err != nil || o.Kind != "x" {
		t.Errorf("got %+v %v", o, err)
	}
}

func TestAFileInUseIsRefusedWithASentence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path)
	defer func() { _ = db.Close() }()
	if _, err := bolt.Open(bolt.Config{Path: path}, time.Now); err == nil || !strings.Contains(err.Error(), "another process holds it") {
		t.Errorf("got %v", err)
	}
}

func TestAFileOfANewerProgramIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, 99})
	})
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(bolt.Config{Path: path}, time.Now); err == nil || !strings.Contains(err.Error(), "written by a newer GimletD") {
		t.Errorf("got %v", err)
	}
}

func TestAPoisonedOutcomeIsParkedAndTheNextOneTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Update(func(tx *bbolt.Tx) error {
		seq, err := tx.Bucket([]byte("outbox")).NextSequence()
		return errors.Join(err, tx.Bucket([]byte("outbox")).Put([]byte{0, 0, 0, 0, 0, 0, 0, byte(seq)}, []byte("{poison")))
	})
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	defer func() { _ = db.Close() }()
	if err := db.Update(t.Context(), func(tx releases.Tx) error { return tx.Publish(releases.Outcome{Kind: "good"}) }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Next(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "outcome 1 cannot be read and was parked") {
		t.Errorf("got %v", err)
	}
	if o, err := db.Next(t.Context(), 0); err != nil || o.Kind != "good" {
		t.Errorf("got %+v %v", o, err)
	}
}
