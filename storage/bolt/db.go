package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gimletd/releases"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// DB is the store in one file. It implements releases.Store, notify.Queue and notify.Ledger.
type DB struct {
	bolt    *bbolt.DB
	now     func() time.Time
	writes  chan *write
	done    chan struct{}
	closing chan struct{} // no write is taken any more
	arrived chan struct{} // an outcome was committed
}

// Config says where the file lies.
type Config struct {
	Path string `yaml:"path"`
	// MaxSize bounds the file, in bytes; 0 means no bound. A store that is full refuses writes and stays readable.
	MaxSize int `yaml:"maxSize"`
}

// schemaVersion is written into new files; a file with a greater one was written by a newer program.
const schemaVersion = 1

//nolint:gochecknoglobals // names, never changed
var (
	bucketMeta          = []byte("meta")
	bucketArtifacts     = []byte("artifacts")
	bucketArtifactIDs   = []byte("artifact_ids")
	bucketArtifactTerms = []byte("artifact_terms")
	bucketSeen          = []byte("seen")
	bucketReleases      = []byte("releases")
	bucketReleaseIDs    = []byte("release_ids")
	bucketReleaseTerms  = []byte("release_terms")
	bucketOpen          = []byte("open")
	bucketFiles         = []byte("files")
	bucketDiffs         = []byte("diffs")
	bucketInbox         = []byte("inbox")
	bucketLive          = []byte("live")
	bucketHolds         = []byte("holds")
	bucketLocks         = []byte("locks")
	bucketFreezes       = []byte("freezes")
	bucketMarks         = []byte("marks")
	bucketDelegations   = []byte("delegations")
	bucketReviews       = []byte("reviews")
	bucketTokens        = []byte("tokens")
	bucketPolicies      = []byte("policies")
	bucketRuns          = []byte("runs")
	bucketOpenRuns      = []byte("open_runs")
	bucketSettings      = []byte("settings")
	bucketDeliveries    = []byte("deliveries")
	bucketDeletions     = []byte("deletions")
	bucketAudit         = []byte("audit")
	bucketOutbox        = []byte("outbox")
	bucketParked        = []byte("parked")
	bucketLedger        = []byte("ledger")
)

// Open opens or creates the file and its folder. A file that another process holds is an error after two seconds.
func Open(c Config, now func() time.Time) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, err
	}
	file, err := bbolt.Open(c.Path, 0o600, &bbolt.Options{
		Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType, MaxSize: c.MaxSize,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: another process holds it", c.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Path, err)
	}
	if err := file.Update(prepare); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", c.Path, err), file.Close())
	}
	db := &DB{bolt: file, now: now, writes: make(chan *write), done: make(chan struct{}), closing: make(chan struct{}), arrived: make(chan struct{}, 1)}
	go db.writeLoop()
	return db, nil
}

func prepare(tx *bbolt.Tx) error {
	for _, name := range [][]byte{
		bucketMeta, bucketArtifacts, bucketArtifactIDs, bucketArtifactTerms, bucketSeen, bucketReleases, bucketReleaseIDs,
		bucketReleaseTerms, bucketOpen, bucketFiles, bucketDiffs, bucketInbox, bucketLive, bucketHolds, bucketOutbox, bucketParked, bucketLedger,
		bucketLocks, bucketFreezes, bucketMarks, bucketDelegations, bucketReviews, bucketTokens, bucketAudit,
		bucketPolicies, bucketRuns, bucketOpenRuns, bucketSettings, bucketDeliveries, bucketDeletions,
	} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	switch version := meta.Get([]byte("schema")); {
	case version == nil:
		return meta.Put([]byte("schema"), key(schemaVersion))
	case toKey(version) > schemaVersion:
		return fmt.Errorf("written by a newer GimletD (schema %d, this one knows %d)", toKey(version), schemaVersion)
	}
	return nil
}

// ErrHeld says that another process has the file open.
var ErrHeld = errors.New("another process holds it")

// OpenReadOnly opens the file of a process that does not run, or a copy of one, without changing it. Only View may be used.
func OpenReadOnly(path string) (*DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	file, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: %w", path, ErrHeld)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db := &DB{bolt: file, now: time.Now, writes: make(chan *write), done: make(chan struct{}), closing: make(chan struct{}), arrived: make(chan struct{}, 1)}
	close(db.done)
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketAudit} {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("open %s: it has no audit; is it a store of GimletD?", path)
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return db, nil
}

// Close waits for the writes in hand and closes the file. No Update may start after it.
func (db *DB) Close() error {
	close(db.closing)
	<-db.done
	return db.bolt.Close()
}

// View runs the function on a consistent snapshot.
func (db *DB) View(ctx context.Context, read func(releases.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return db.bolt.View(func(tx *bbolt.Tx) error { return read(&transaction{tx: tx}) })
}

// write is one caller's part of a transaction.
type write struct {
	apply func(*transaction) error
	err   chan error
}

// Update runs the function in a transaction that it may share with others that wait at the same time. When this
// function fails, only its own effects are undone.
func (db *DB) Update(ctx context.Context, apply func(releases.Tx) error) error {
	return db.update(ctx, func(tx *transaction) error { return apply(tx) })
}

func (db *DB) update(ctx context.Context, apply func(*transaction) error) error {
	w := &write{apply: apply, err: make(chan error, 1)}
	select {
	case db.writes <- w:
	case <-db.closing:
		return releases.Errorf(releases.Unavailable, "the store is closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	// Once handed over, the write happens or fails; only the answer tells which, so the context waits for it.
	return <-w.err
}

// maxGroup bounds how many waiting writes share a transaction, and so how much a failing one makes others repeat.
const maxGroup = 256

func (db *DB) writeLoop() {
	defer close(db.done)
	for {
		var group []*write
		select {
		case first := <-db.writes:
			group = append(group, first)
		case <-db.closing:
			return
		}
	collect:
		for len(group) < maxGroup {
			select {
			case w := <-db.writes:
				group = append(group, w)
			default:
				break collect
			}
		}
		db.commit(group)
	}
}

// commit runs the group in one transaction. bbolt cannot undo a part of one, so when a member fails the
// transaction is abandoned, that member is answered, and the others run again without it.
func (db *DB) commit(group []*write) {
	for len(group) > 0 {
		failed := -1
		told := false
		err := db.bolt.Update(func(tx *bbolt.Tx) error {
			shared := &transaction{tx: tx}
			for i, w := range group {
				if err := guard(w.apply, shared); err != nil {
					failed = i
					return err
				}
			}
			told = shared.told
			releases.CrashPoint("store.commit")
			return nil
		})
		if failed >= 0 {
			group[failed].err <- err
			group = append(group[:failed:failed], group[failed+1:]...)
			continue
		}
		if err != nil {
			err = releases.Wrap(releases.Unavailable, err, "the store cannot be written (disk full?)")
		}
		for _, w := range group {
			w.err <- err
		}
		if told && err == nil {
			select {
			case db.arrived <- struct{}{}:
			default:
			}
		}
		return
	}
}

// guard turns a panic of one member into its own error, so that it cannot take down the others' transaction.
func guard(apply func(*transaction) error, tx *transaction) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v", p)
		}
	}()
	return apply(tx)
}
