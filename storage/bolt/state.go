package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"gimletd/releases"

	"go.etcd.io/bbolt"
)

func putJSON(bucket *bbolt.Bucket, name string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return bucket.Put([]byte(name), body)
}

func getJSON[T any](bucket *bbolt.Bucket, name string) (*T, error) {
	body := bucket.Get([]byte(name))
	if body == nil {
		return nil, nil
	}
	value := new(T)
	if err := json.Unmarshal(body, value); err != nil {
		return nil, fmt.Errorf("record %s: %w", name, err)
	}
	return value, nil
}

// PutLive records what is live for an app and environment.
func (t *transaction) PutLive(l releases.Live) error {
	return putJSON(t.tx.Bucket(bucketLive), l.Env+"/"+l.App, l)
}

// ClearLive forgets what is live.
func (t *transaction) ClearLive(app, env string) error {
	return t.tx.Bucket(bucketLive).Delete([]byte(env + "/" + app))
}

// Live returns what is live, or nil.
func (t *transaction) Live(app, env string) (*releases.Live, error) {
	return getJSON[releases.Live](t.tx.Bucket(bucketLive), env+"/"+app)
}

// Lives returns what is live in an environment, by app.
func (t *transaction) Lives(env string) ([]releases.Live, error) {
	var all []releases.Live
	prefix := []byte(env + "/")
	cursor := t.tx.Bucket(bucketLive).Cursor()
	for name, body := cursor.Seek(prefix); bytes.HasPrefix(name, prefix); name, body = cursor.Next() {
		var live releases.Live
		if err := json.Unmarshal(body, &live); err != nil {
			return nil, fmt.Errorf("record %s: %w", name, err)
		}
		all = append(all, live)
	}
	return all, nil
}

// PutHold stops automation for an app and environment.
func (t *transaction) PutHold(h releases.Hold) error {
	return putJSON(t.tx.Bucket(bucketHolds), h.Env+"/"+h.App, h)
}

// ClearHold lifts a hold.
func (t *transaction) ClearHold(app, env string) error {
	return t.tx.Bucket(bucketHolds).Delete([]byte(env + "/" + app))
}

// Hold returns the hold, or nil.
func (t *transaction) Hold(app, env string) (*releases.Hold, error) {
	return getJSON[releases.Hold](t.tx.Bucket(bucketHolds), env+"/"+app)
}

// Publish appends to the outbox.
func (t *transaction) Publish(o releases.Outcome) error {
	bucket := t.tx.Bucket(bucketOutbox)
	seq, err := bucket.NextSequence()
	if err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	t.told = true
	return bucket.Put(key(releases.Key(seq)), body)
}

// Next waits for the oldest outcome after one that is not Done. A record that cannot be read is parked, so that it does not
// keep the ones after it from being told, and returned as an error that names it.
func (db *DB) Next(ctx context.Context, after uint64) (releases.Outcome, error) {
	for {
		var o releases.Outcome
		var poison []byte
		found := false
		err := db.bolt.View(func(tx *bbolt.Tx) error {
			k, body := tx.Bucket(bucketOutbox).Cursor().Seek(key(releases.Key(after + 1)))
			if k == nil {
				return nil
			}
			found = true
			o.Seq = uint64(toKey(k))
			if err := json.Unmarshal(body, &o); err != nil {
				poison = bytes.Clone(k)
				return fmt.Errorf("outcome %d cannot be read and was parked: %w", o.Seq, err)
			}
			return nil
		})
		if poison != nil {
			if parkErr := db.park(ctx, poison); parkErr != nil {
				return o, parkErr
			}
			return o, err
		}
		if err != nil || found {
			return o, err
		}
		select {
		case <-db.arrived:
		case <-ctx.Done():
			return o, ctx.Err()
		}
	}
}

func (db *DB) park(ctx context.Context, k []byte) error {
	return db.update(ctx, func(t *transaction) error {
		outbox := t.tx.Bucket(bucketOutbox)
		if err := t.tx.Bucket(bucketParked).Put(k, bytes.Clone(outbox.Get(k))); err != nil {
			return err
		}
		return outbox.Delete(k)
	})
}

// Done removes an outcome that was told.
func (db *DB) Done(ctx context.Context, seq uint64) error {
	return db.update(ctx, func(t *transaction) error { return t.tx.Bucket(bucketOutbox).Delete(key(releases.Key(seq))) })
}

// Pending is how many outcomes wait to be told.
func (db *DB) Pending() (n int) {
	_ = db.bolt.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(bucketOutbox).Stats().KeyN
		return nil
	})
	return n
}

// Sent returns what was recorded for the key.
func (db *DB) Sent(_ context.Context, name string) (ref string, ok bool, err error) {
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		if value := tx.Bucket(bucketLedger).Get([]byte(name)); value != nil {
			ref, ok = string(value), true
		}
		return nil
	})
	return ref, ok, err
}

// SetSent records where the message with the key was sent.
func (db *DB) SetSent(ctx context.Context, name, ref string) error {
	return db.update(ctx, func(t *transaction) error { return t.tx.Bucket(bucketLedger).Put([]byte(name), []byte(ref)) })
}
