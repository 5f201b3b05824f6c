package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"

	"gimletd/releases"

	"go.etcd.io/bbolt"
)

// getAll returns the records whose names begin with the prefix, in order.
func getAll[T any](bucket *bbolt.Bucket, prefix string) (all []T, err error) {
	cursor := bucket.Cursor()
	for name, body := cursor.Seek([]byte(prefix)); name != nil && bytes.HasPrefix(name, []byte(prefix)); name, body = cursor.Next() {
		var value T
		if err := json.Unmarshal(body, &value); err != nil {
			return nil, fmt.Errorf("record %s: %w", name, err)
		}
		all = append(all, value)
	}
	return all, nil
}

// within is the prefix of the records of an environment; of all without one.
func within(env string) string {
	if env == "" {
		return ""
	}
	return env + "/"
}

// PutLock stores the lock of an app and environment.
func (t *transaction) PutLock(l releases.Lock) error {
	return putJSON(t.tx.Bucket(bucketLocks), l.Env+"/"+l.App, l)
}

// ClearLock removes it.
func (t *transaction) ClearLock(app, env string) error {
	return t.tx.Bucket(bucketLocks).Delete([]byte(env + "/" + app))
}

// Locks returns the locks of an environment, or all.
func (t *transaction) Locks(env string) ([]releases.Lock, error) {
	return getAll[releases.Lock](t.tx.Bucket(bucketLocks), within(env))
}

// PutFreeze stores a freeze.
func (t *transaction) PutFreeze(f releases.Freeze) error {
	return putJSON(t.tx.Bucket(bucketFreezes), f.Env+"/"+f.ID, f)
}

// ClearFreeze removes it.
func (t *transaction) ClearFreeze(env, id string) error {
	return t.tx.Bucket(bucketFreezes).Delete([]byte(env + "/" + id))
}

// Freezes returns the freezes of an environment.
func (t *transaction) Freezes(env string) ([]releases.Freeze, error) {
	return getAll[releases.Freeze](t.tx.Bucket(bucketFreezes), within(env))
}

// PutMark stores the mark of an artifact.
func (t *transaction) PutMark(m releases.Mark) error {
	return putJSON(t.tx.Bucket(bucketMarks), m.ArtifactID, m)
}

// ClearMark removes it.
func (t *transaction) ClearMark(artifactID string) error {
	return t.tx.Bucket(bucketMarks).Delete([]byte(artifactID))
}

// Mark returns the artifact's mark, or nil.
func (t *transaction) Mark(artifactID string) (*releases.Mark, error) {
	return getJSON[releases.Mark](t.tx.Bucket(bucketMarks), artifactID)
}

// Marks returns all marks.
func (t *transaction) Marks() ([]releases.Mark, error) {
	return getAll[releases.Mark](t.tx.Bucket(bucketMarks), "")
}

// PutDelegation stores what somebody has delegated.
func (t *transaction) PutDelegation(d releases.Delegation) error {
	return putJSON(t.tx.Bucket(bucketDelegations), d.From.Identity(), d)
}

// ClearDelegation removes it.
func (t *transaction) ClearDelegation(identity string) error {
	return t.tx.Bucket(bucketDelegations).Delete([]byte(identity))
}

// Delegations returns all of them.
func (t *transaction) Delegations() ([]releases.Delegation, error) {
	return getAll[releases.Delegation](t.tx.Bucket(bucketDelegations), "")
}

// Reviews that are open and those that were signed off lie apart, so that the open ones are found at once.
const (
	reviewOpen   = "open/"
	reviewSigned = "signed/"
)

// PutReview stores a review.
func (t *transaction) PutReview(v releases.Review) error {
	bucket := t.tx.Bucket(bucketReviews)
	if v.SignedBy == nil {
		return putJSON(bucket, reviewOpen+v.ReleaseID, v)
	}
	if err := bucket.Delete([]byte(reviewOpen + v.ReleaseID)); err != nil {
		return err
	}
	return putJSON(bucket, reviewSigned+v.ReleaseID, v)
}

// Review returns the review of a release, or nil.
func (t *transaction) Review(releaseID string) (*releases.Review, error) {
	found, err := getJSON[releases.Review](t.tx.Bucket(bucketReviews), reviewOpen+releaseID)
	if found != nil || err != nil {
		return found, err
	}
	return getJSON[releases.Review](t.tx.Bucket(bucketReviews), reviewSigned+releaseID)
}

// Reviews returns those that nobody has signed off.
func (t *transaction) Reviews() ([]releases.Review, error) {
	return getAll[releases.Review](t.tx.Bucket(bucketReviews), reviewOpen)
}

// keyAuditHead is where the number and hash of the audit's newest record lie, apart from the records.
var keyAuditHead = []byte("audit-head") //nolint:gochecknoglobals // a name, never changed

// PutRecord appends to the audit.
func (t *transaction) PutRecord(r releases.Record) error {
	bucket := t.tx.Bucket(bucketAudit)
	k := key(releases.Key(r.Seq))
	if bucket.Get(k) != nil {
		return fmt.Errorf("the audit has a record %d already", r.Seq)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Its order is that of time, so that pages may be filled to the last byte.
	bucket.FillPercent = 1
	if err := bucket.Put(k, body); err != nil {
		return err
	}
	return t.tx.Bucket(bucketMeta).Put(keyAuditHead, append(key(releases.Key(r.Seq)), r.Hash...))
}

// LastRecord returns the number and hash of the newest record.
func (t *transaction) LastRecord() (r releases.Record, err error) {
	head := t.tx.Bucket(bucketMeta).Get(keyAuditHead)
	if len(head) < 8 {
		if k, _ := t.tx.Bucket(bucketAudit).Cursor().Last(); k != nil {
			return r, fmt.Errorf("the audit has records and no head; `gimletd audit verify` says more")
		}
		return r, nil
	}
	r.Seq, r.Hash = binary.BigEndian.Uint64(head), string(head[8:])
	return r, nil
}

// Audit returns the audit's head, and yields its records from the first on. It is for a file that nobody writes.
func (db *DB) Audit() (head releases.Record, lines iter.Seq2[[]byte, error], err error) {
	err = db.bolt.View(func(tx *bbolt.Tx) error {
		head, err = (&transaction{tx: tx}).LastRecord()
		return err
	})
	return head, func(yield func([]byte, error) bool) {
		err := db.bolt.View(func(tx *bbolt.Tx) error {
			for line, err := range (&transaction{tx: tx}).AuditFrom(0) {
				if !yield(line, err) {
					break
				}
			}
			return nil
		})
		if err != nil {
			yield(nil, err)
		}
	}, err
}

// AuditFrom yields the records from a number on, as they are stored. What is yielded is valid until the next.
func (t *transaction) AuditFrom(seq uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		cursor := t.tx.Bucket(bucketAudit).Cursor()
		for k, body := cursor.Seek(key(releases.Key(seq))); k != nil; k, body = cursor.Next() {
			if !yield(body, nil) {
				return
			}
		}
	}
}

// AuditBack yields the records from a number back.
func (t *transaction) AuditBack(seq uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		cursor := t.tx.Bucket(bucketAudit).Cursor()
		k, body := cursor.Seek(key(releases.Key(seq)))
		if k == nil {
			k, body = cursor.Last()
		}
		for ; k != nil; k, body = cursor.Prev() {
			if !yield(body, nil) {
				return
			}
		}
	}
}

// Tokens lie under their names; under the hash of each one's secret lies its name.
const (
	tokenByName = "name/"
	tokenByHash = "hash/"
)

// PutToken stores a token.
func (t *transaction) PutToken(token releases.Token) error {
	bucket := t.tx.Bucket(bucketTokens)
	if err := bucket.Put([]byte(tokenByHash+token.Hash), []byte(token.Name)); err != nil {
		return err
	}
	return putJSON(bucket, tokenByName+token.Name, token)
}

// ClearToken removes it.
func (t *transaction) ClearToken(name string) error {
	bucket := t.tx.Bucket(bucketTokens)
	token, err := getJSON[releases.Token](bucket, tokenByName+name)
	if err != nil || token == nil {
		return err
	}
	if err := bucket.Delete([]byte(tokenByHash + token.Hash)); err != nil {
		return err
	}
	return bucket.Delete([]byte(tokenByName + name))
}

// Tokens returns all tokens.
func (t *transaction) Tokens() ([]releases.Token, error) {
	return getAll[releases.Token](t.tx.Bucket(bucketTokens), tokenByName)
}

// TokenByHash returns the token whose secret has the hash, or nil.
func (t *transaction) TokenByHash(hash string) (*releases.Token, error) {
	name := t.tx.Bucket(bucketTokens).Get([]byte(tokenByHash + hash))
	if name == nil {
		return nil, nil
	}
	return getJSON[releases.Token](t.tx.Bucket(bucketTokens), tokenByName+string(name))
}
