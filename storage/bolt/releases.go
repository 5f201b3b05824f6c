package bolt

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"

	"gimletd/releases"

	"go.etcd.io/bbolt"
)

// The fields of a release that queries select by, beside byTarget and byEnv.
const (
	byArtifact = 'i'
	byRequest  = 'q'
)

// PutRelease stores the release; its index entries, which never change, are written the first time.
func (t *transaction) PutRelease(r releases.Release) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	k := key(r.Key)
	bucket := t.tx.Bucket(bucketReleases)
	isNew := bucket.Get(k) == nil
	if err := bucket.Put(k, body); err != nil {
		return err
	}
	open := t.tx.Bucket(bucketOpen)
	if r.Status.Open() {
		err = open.Put(k, nil)
	} else {
		err = open.Delete(k)
	}
	if err != nil || !isNew {
		return err
	}
	if err := t.tx.Bucket(bucketReleaseIDs).Put([]byte(r.ID), k); err != nil {
		return err
	}
	terms := t.tx.Bucket(bucketReleaseTerms)
	for _, f := range []filter{
		{byTarget, r.Env + "/" + r.App}, {byEnv, r.Env}, {byApp, r.App}, {byArtifact, r.ArtifactID}, {byRequest, r.Request}, {byRepository, r.Version.RepositoryName},
	} {
		if err := terms.Put(term(f.field, f.value, r.Key), nil); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) releaseAt(k []byte) (releases.Release, error) {
	r := releases.Release{Key: toKey(k)}
	if err := json.Unmarshal(t.tx.Bucket(bucketReleases).Get(k), &r); err != nil {
		return r, fmt.Errorf("release record %x: %w", k, err)
	}
	return r, nil
}

// Release returns the release with the id.
func (t *transaction) Release(id string) (releases.Release, error) {
	k := t.tx.Bucket(bucketReleaseIDs).Get([]byte(id))
	if k == nil {
		return releases.Release{}, releases.Errorf(releases.NotFound, "there is no release %q", id)
	}
	return t.releaseAt(k)
}

// Releases returns the newest that match the query.
func (t *transaction) Releases(q releases.ReleaseQuery) ([]releases.Release, error) {
	terms := t.tx.Bucket(bucketReleaseTerms)
	selected := lists(t.tx.Bucket(bucketReleases), terms, targetFilter(releases.Target{App: q.App, Env: q.Env}),
		filter{byArtifact, q.ArtifactID}, filter{byRequest, q.Request}, filter{byRepository, q.Repository})
	theirs, err := ofRepositories(terms, q.Within)
	if err != nil {
		return nil, err
	}
	selected = append(selected, theirs...)
	limit, offset := q.Limit, q.Offset
	if limit <= 0 {
		limit = defaultLimit
	}
	found := []releases.Release{}
	const unlimited = 1 << 40
	err = t.page(selected, q.Since, q.Until, unlimited, 0, func(k []byte) error {
		r, err := t.releaseAt(k)
		if err != nil {
			return err
		}
		if len(q.Statuses) > 0 && !slices.Contains(q.Statuses, r.Status) {
			return nil
		}
		if offset > 0 {
			offset--
			return nil
		}
		if found = append(found, r); len(found) == limit {
			return errEnough
		}
		return nil
	})
	if err == errEnough { //nolint:errorlint // our own sentinel, never wrapped
		err = nil
	}
	return found, err
}

var errEnough = fmt.Errorf("enough")

// OpenReleases returns what the worker has to do, oldest first.
func (t *transaction) OpenReleases() ([]releases.Release, error) {
	var found []releases.Release
	cursor := t.tx.Bucket(bucketOpen).Cursor()
	for k, _ := cursor.First(); k != nil; k, _ = cursor.Next() {
		r, err := t.releaseAt(k)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, nil
}

// PutFiles keeps the files of a release's plan, compressed.
func (t *transaction) PutFiles(releaseID string, files []releases.File) error {
	bucket := t.tx.Bucket(bucketFiles)
	if files == nil {
		return bucket.Delete([]byte(releaseID))
	}
	return putPacked(bucket, releaseID, files)
}

// putPacked stores a value as compressed JSON.
func putPacked(bucket *bbolt.Bucket, name string, value any) error {
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(zip).Encode(value); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return bucket.Put([]byte(name), packed.Bytes())
}

func getPacked(bucket *bbolt.Bucket, name string, into any) (found bool, err error) {
	packed := bucket.Get([]byte(name))
	if packed == nil {
		return false, nil
	}
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return true, err
	}
	return true, json.NewDecoder(zip).Decode(into)
}

// Files returns the files of a release's plan, or a NotFound Error when they are no longer kept.
func (t *transaction) Files(releaseID string) (files []releases.File, err error) {
	found, err := getPacked(t.tx.Bucket(bucketFiles), releaseID, &files)
	if err != nil {
		return nil, fmt.Errorf("files of release %s: %w", releaseID, err)
	}
	if !found {
		return nil, releases.Errorf(releases.NotFound, "the files of release %s are no longer kept", releaseID)
	}
	return files, nil
}

// PutDiff keeps what a release's plan changes; "" removes it.
func (t *transaction) PutDiff(releaseID, diff string) error {
	bucket := t.tx.Bucket(bucketDiffs)
	if diff == "" {
		return bucket.Delete([]byte(releaseID))
	}
	return putPacked(bucket, releaseID, diff)
}

// Diff returns what a release's plan changes, or "" when that is nothing or no longer kept.
func (t *transaction) Diff(releaseID string) (diff string, err error) {
	if _, err = getPacked(t.tx.Bucket(bucketDiffs), releaseID, &diff); err != nil {
		return "", fmt.Errorf("diff of release %s: %w", releaseID, err)
	}
	return diff, nil
}
