package bolt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"gimletd/releases"
)

// PutPolicyState stores how far a policy is.
func (t *transaction) PutPolicyState(s releases.PolicyState) error {
	return putJSON(t.tx.Bucket(bucketPolicies), s.Name, s)
}

// ClearPolicyState removes it.
func (t *transaction) ClearPolicyState(name string) error {
	return t.tx.Bucket(bucketPolicies).Delete([]byte(name))
}

// PolicyStates returns the states of all policies.
func (t *transaction) PolicyStates() ([]releases.PolicyState, error) {
	return getAll[releases.PolicyState](t.tx.Bucket(bucketPolicies), "")
}

// runsOf is the prefix of a policy's runs; a name holds no slash, and what follows it is in the order of time.
func runsOf(policy string) []byte { return []byte(policy + "/") }

// PutRun stores a run, new or changed.
func (t *transaction) PutRun(r releases.Run) error {
	open := t.tx.Bucket(bucketOpenRuns)
	err := open.Delete([]byte(r.ID))
	if r.Ended.IsZero() {
		err = open.Put([]byte(r.ID), nil)
	}
	if err != nil {
		return err
	}
	return putJSON(t.tx.Bucket(bucketRuns), r.ID, r)
}

// Run returns the run with the id.
func (t *transaction) Run(id string) (*releases.Run, error) {
	r, err := getJSON[releases.Run](t.tx.Bucket(bucketRuns), id)
	if err == nil && r == nil {
		err = releases.Errorf(releases.NotFound, "there is no run %q; only the newest are kept", id)
	}
	return r, err
}

// Runs returns the newest runs of the policy.
func (t *transaction) Runs(policy string, limit int) (newest []releases.Run, err error) {
	err = t.back(policy, func(name, body []byte) (bool, error) {
		var r releases.Run
		if err := json.Unmarshal(body, &r); err != nil {
			return false, fmt.Errorf("record %s: %w", name, err)
		}
		newest = append(newest, r)
		return len(newest) < limit, nil
	})
	return newest, err
}

// OpenRuns returns the runs that have not ended.
func (t *transaction) OpenRuns() (open []releases.Run, err error) {
	cursor := t.tx.Bucket(bucketOpenRuns).Cursor()
	for id, _ := cursor.First(); id != nil; id, _ = cursor.Next() {
		r, err := t.Run(string(id))
		if err != nil {
			return nil, err
		}
		open = append(open, *r)
	}
	return open, nil
}

// PruneRuns removes the policy's ended runs but the newest.
func (t *transaction) PruneRuns(policy string, keep int, needed map[string]bool) error {
	var old [][]byte
	n := 0
	err := t.back(policy, func(name, _ []byte) (bool, error) {
		if n++; n > keep && !needed[string(name)] && t.tx.Bucket(bucketOpenRuns).Get(name) == nil {
			old = append(old, bytes.Clone(name))
		}
		return true, nil
	})
	for _, name := range old {
		if err == nil {
			err = t.tx.Bucket(bucketRuns).Delete(name)
		}
	}
	return err
}

// back walks through the policy's runs, newest first.
func (t *transaction) back(policy string, visit func(name, body []byte) (bool, error)) error {
	prefix := runsOf(policy)
	cursor := t.tx.Bucket(bucketRuns).Cursor()
	after, _ := cursor.Seek(append(bytes.Clone(prefix), 0xff))
	before := cursor.Prev
	if after == nil {
		before = cursor.Last
	}
	for name, body := before(); bytes.HasPrefix(name, prefix); name, body = cursor.Prev() {
		if goOn, err := visit(name, body); err != nil || !goOn {
			return err
		}
	}
	return nil
}

// PutSettings keeps the configuration in force.
func (t *transaction) PutSettings(settings map[string]string) error {
	return putJSON(t.tx.Bucket(bucketSettings), "all", settings)
}

// Settings returns it; nil when none was kept.
func (t *transaction) Settings() (map[string]string, error) {
	found, err := getJSON[map[string]string](t.tx.Bucket(bucketSettings), "all")
	if err != nil || found == nil {
		return nil, err
	}
	return *found, nil
}

// Hear remembers a delivery.
func (t *transaction) Hear(delivery string, at time.Time) (first bool, err error) {
	bucket := t.tx.Bucket(bucketDeliveries)
	if bucket.Get([]byte(delivery)) != nil {
		return false, nil
	}
	return true, bucket.Put([]byte(delivery), key(releases.KeyAt(at)))
}

// PutDeletion remembers when a branch was deleted.
func (t *transaction) PutDeletion(repository, branch string, at time.Time) error {
	return t.tx.Bucket(bucketDeletions).Put([]byte(repository+" "+branch), key(releases.KeyAt(at)))
}

// Deletions returns the branches that were deleted since a moment.
func (t *transaction) Deletions(since time.Time) (map[string]time.Time, error) {
	found := map[string]time.Time{}
	cursor := t.tx.Bucket(bucketDeletions).Cursor()
	for name, at := cursor.First(); name != nil; name, at = cursor.Next() {
		if when := toKey(at).Time(); !when.Before(since) {
			found[string(name)] = when
		}
	}
	return found, nil
}
