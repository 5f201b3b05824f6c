package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"
)

// Requests that were accepted and are being handled. Under `i` and its id lies each one's time and, until it is finished,
// its body; under `t`, its time and its id nothing, for the order.
const (
	inboxByID   = 'i'
	inboxByTime = 't'
)

// rememberedFor is how long a finished request's id is known, so that a repetition of it is recognised.
const rememberedFor = time.Hour

// Accept remembers a request, unless its id is known already.
func (db *DB) Accept(ctx context.Context, id string, body []byte) (known bool, err error) {
	err = db.update(ctx, func(t *transaction) error {
		bucket := t.tx.Bucket(bucketInbox)
		byID := append([]byte{inboxByID}, id...)
		if known = bucket.Get(byID) != nil; known {
			return nil
		}
		at := binary.BigEndian.AppendUint64(nil, uint64(db.now().UnixNano()))
		if err := bucket.Put(byID, append(at, body...)); err != nil {
			return err
		}
		if err := bucket.Put(inboxTime(at, id), nil); err != nil {
			return err
		}
		return forget(bucket, db.now().Add(-rememberedFor))
	})
	return known, err
}

func inboxTime(at []byte, id string) []byte { return append(append([]byte{inboxByTime}, at...), id...) }

// forget removes a few finished requests from before the time; each new one takes more away than it adds.
func forget(bucket *bbolt.Bucket, before time.Time) error {
	const most = 4
	var old [][]byte
	limit := binary.BigEndian.AppendUint64([]byte{inboxByTime}, uint64(before.UnixNano()))
	cursor := bucket.Cursor()
	for k, _ := cursor.Seek([]byte{inboxByTime}); k != nil && len(old) < most && bytes.Compare(k, limit) < 0; k, _ = cursor.Next() {
		old = append(old, bytes.Clone(k))
	}
	for _, k := range old {
		if err := bucket.Delete(k); err != nil {
			return err
		}
		if err := bucket.Delete(append([]byte{inboxByID}, k[9:]...)); err != nil {
			return err
		}
	}
	return nil
}

// Finish notes that a request was handled; its id stays known for a while.
func (db *DB) Finish(ctx context.Context, id string) error {
	return db.update(ctx, func(t *transaction) error {
		bucket := t.tx.Bucket(bucketInbox)
		byID := append([]byte{inboxByID}, id...)
		value := bucket.Get(byID)
		if len(value) < 8 {
			return nil
		}
		return bucket.Put(byID, bytes.Clone(value[:8]))
	})
}

// Unfinished returns the bodies of the requests that were accepted and not finished, oldest first.
func (db *DB) Unfinished(ctx context.Context) (bodies [][]byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketInbox)
		cursor := bucket.Cursor()
		for k, _ := cursor.Seek([]byte{inboxByTime}); k != nil; k, _ = cursor.Next() {
			if value := bucket.Get(append([]byte{inboxByID}, k[9:]...)); len(value) > 8 {
				bodies = append(bodies, bytes.Clone(value[8:]))
			}
		}
		return nil
	})
	return bodies, err
}
