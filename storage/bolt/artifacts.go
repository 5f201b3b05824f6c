package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"gimletd/releases"

	"go.etcd.io/bbolt"
)

// transaction implements releases.Tx on one bbolt transaction.
type transaction struct {
	tx   *bbolt.Tx
	told bool // an outcome was published
}

// The fields of an artifact that queries select by.
const (
	byRepository   = 'r'
	byBranch       = 'b'
	byEvent        = 'e'
	bySourceBranch = 's'
	byTag          = 't'
	bySHA          = 'h'
	byTarget       = 'x' // env/app
	byEnv          = 'n'
	byApp          = 'a'
)

// artifactRecord is the stored form of releases.Shipped.
type artifactRecord struct {
	Artifact  *releases.Artifact  `json:"artifact"`
	Expanded  []releases.Manifest `json:"expanded,omitempty"`
	Speaks    []string            `json:"speaks,omitempty"`
	Targets   []releases.Target   `json:"targets"`
	Decisions []releases.Decision `json:"decisions"`
	Dropped   []string            `json:"dropped,omitempty"`
}

// PutArtifact stores a new artifact and its index entries.
func (t *transaction) PutArtifact(s *releases.Shipped) error {
	body, err := json.Marshal(artifactRecord{&s.Artifact, s.Expanded, s.Speaks, s.Targets, s.Decisions, s.Dropped})
	if err != nil {
		return err
	}
	if t.tx.Bucket(bucketArtifactIDs).Get([]byte(s.ID)) != nil {
		return releases.Errorf(releases.Conflict, "artifact %s exists", s.ID)
	}
	if err := t.tx.Bucket(bucketArtifacts).Put(key(s.Key), body); err != nil {
		return err
	}
	if err := t.tx.Bucket(bucketArtifactIDs).Put([]byte(s.ID), key(s.Key)); err != nil {
		return err
	}
	terms := t.tx.Bucket(bucketArtifactTerms)
	for _, term := range artifactTerms(s) {
		if err := terms.Put(term, nil); err != nil {
			return err
		}
	}
	return nil
}

func artifactTerms(s *releases.Shipped) [][]byte {
	v := s.Version
	event := v.Event
	if event == "" {
		event = releases.EventPush
	}
	terms := [][]byte{
		term(byRepository, v.RepositoryName, s.Key), term(bySHA, strings.ToLower(v.SHA), s.Key), term(byEvent, string(event), s.Key),
	}
	for _, optional := range []filter{{byBranch, v.Branch}, {bySourceBranch, v.SourceBranch}, {byTag, v.Tag}} {
		if optional.value != "" {
			terms = append(terms, term(optional.field, optional.value, s.Key))
		}
	}
	for _, target := range s.Targets {
		terms = append(terms, term(byTarget, target.Env+"/"+target.App, s.Key),
			term(byEnv, target.Env, s.Key), term(byApp, target.App, s.Key))
	}
	return terms
}

func (t *transaction) artifactAt(k []byte) (*releases.Shipped, error) {
	body := t.tx.Bucket(bucketArtifacts).Get(k)
	var record artifactRecord
	if err := json.Unmarshal(body, &record); err != nil {
		return nil, fmt.Errorf("artifact record %x: %w", k, err)
	}
	return &releases.Shipped{
		Artifact: *record.Artifact, Expanded: record.Expanded, Speaks: record.Speaks, Key: toKey(k), Targets: record.Targets, Decisions: record.Decisions, Dropped: record.Dropped,
	}, nil
}

// Artifact returns the artifact with the id.
func (t *transaction) Artifact(id string) (*releases.Shipped, error) {
	k := t.tx.Bucket(bucketArtifactIDs).Get([]byte(id))
	if k == nil {
		return nil, releases.Errorf(releases.NotFound, "there is no artifact %q", id)
	}
	return t.artifactAt(k)
}

// Artifacts returns the newest that match the query.
func (t *transaction) Artifacts(q releases.ArtifactQuery) ([]*releases.Shipped, error) {
	terms := t.tx.Bucket(bucketArtifactTerms)
	selected := lists(t.tx.Bucket(bucketArtifacts), terms,
		filter{byRepository, q.Repository}, filter{byBranch, q.Branch}, filter{byEvent, string(q.Event)},
		filter{bySourceBranch, q.SourceBranch}, filter{byTag, q.Tag}, targetFilter(q.Target))
	if len(q.SHAs) > 0 {
		var union anyOf
		for _, sha := range q.SHAs {
			union = append(union, newList(terms, bySHA, strings.ToLower(sha)))
		}
		selected = append(selected, union)
	}
	theirs, err := ofRepositories(terms, q.Within)
	if err != nil {
		return nil, err
	}
	selected = append(selected, theirs...)
	found := []*releases.Shipped{}
	err = t.page(selected, q.Since, q.Until, q.Limit, q.Offset, func(k []byte) error {
		s, err := t.artifactAt(k)
		found = append(found, s)
		return err
	})
	return found, err
}

// filter is one restriction of a query; an empty value restricts nothing.
type filter struct {
	field byte
	value string
}

func targetFilter(target releases.Target) filter {
	switch {
	case target.App != "" && target.Env != "":
		return filter{byTarget, target.Env + "/" + target.App}
	case target.Env != "":
		return filter{byEnv, target.Env}
	}
	return filter{byApp, target.App}
}

// lists opens an index list for each filter that restricts, after the list of all records.
func lists(records, terms *bbolt.Bucket, filters ...filter) []anyOf {
	all := []anyOf{{allRecords(records)}}
	for _, f := range filters {
		if f.value != "" {
			all = append(all, anyOf{newList(terms, f.field, f.value)})
		}
	}
	return all
}

const defaultLimit = 10

// page calls yield with the records that are in every list and within the times, after the offset and up to the
// limit.
func (t *transaction) page(selected []anyOf, since, until time.Time, limit, offset int, yield func(k []byte) error) error {
	if limit <= 0 {
		limit = defaultLimit
	}
	from, to := releases.Key(math.MaxUint64), releases.Key(0)
	if !until.IsZero() {
		from = releases.KeyAt(until)
	}
	if !since.IsZero() {
		to = releases.KeyAt(since)
	}
	return newest(selected, from, to, func(k releases.Key) (bool, error) {
		if offset > 0 {
			offset--
			return true, nil
		}
		limit--
		return limit > 0, yield(key(k))
	})
}

// SHAs returns distinct hashes with the prefix that have a manifest for the target.
func (t *transaction) SHAs(prefix string, target releases.Target, limit int) ([]string, error) {
	terms := t.tx.Bucket(bucketArtifactTerms)
	start := append([]byte{bySHA, ':'}, strings.ToLower(prefix)...)
	wanted := newList(terms, byTarget, target.Env+"/"+target.App)
	var found []string
	cursor := terms.Cursor()
	for entry, _ := cursor.Seek(start); bytes.HasPrefix(entry, start) && len(found) < limit; {
		sha := string(entry[2 : len(entry)-9])
		has := false
		both := []anyOf{{newList(terms, bySHA, sha)}, {wanted}}
		if err := newest(both, math.MaxUint64, 0, func(releases.Key) (bool, error) { has = true; return false, nil }); err != nil {
			return nil, err
		}
		if has {
			found = append(found, sha)
		}
		entry, _ = cursor.Seek(append(term(bySHA, sha, math.MaxUint64), 0))
	}
	return found, nil
}

// Arrival looks the artifact's key up.
func (t *transaction) Arrival(id string) (k releases.Key, known bool, err error) {
	found := t.tx.Bucket(bucketArtifactIDs).Get([]byte(id))
	if found == nil {
		return 0, false, nil
	}
	return toKey(found), true, nil
}

// Fits looks the target up in the index, without reading the artifact.
func (t *transaction) Fits(id string, target releases.Target) (bool, error) {
	k := t.tx.Bucket(bucketArtifactIDs).Get([]byte(id))
	if k == nil {
		return false, nil
	}
	entry := term(byTarget, target.Env+"/"+target.App, toKey(k))
	found, _ := t.tx.Bucket(bucketArtifactTerms).Cursor().Seek(entry)
	return bytes.Equal(found, entry), nil
}

const (
	dayLayout = "2006-01-02"
	day       = 24 * time.Hour
)

// Seen looks a fingerprint up among those of the last 24 hours.
func (t *transaction) Seen(fingerprint string, now time.Time) (string, error) {
	seen := t.tx.Bucket(bucketSeen)
	for _, at := range []time.Time{now, now.Add(-day)} {
		bucket := seen.Bucket([]byte(at.UTC().Format(dayLayout)))
		if bucket == nil {
			continue
		}
		entry := bucket.Get([]byte(fingerprint))
		if len(entry) > 8 && now.Sub(toKey(entry[:8]).Time()) < day {
			return string(entry[8:]), nil
		}
	}
	return "", nil
}

// Remember keeps a fingerprint for 24 hours. Each UTC day has a bucket; those before yesterday go as a whole.
func (t *transaction) Remember(fingerprint, value string, now time.Time) error {
	seen := t.tx.Bucket(bucketSeen)
	today := []byte(now.UTC().Format(dayLayout))
	bucket := seen.Bucket(today)
	if bucket == nil {
		var err error
		if bucket, err = seen.CreateBucket(today); err != nil {
			return err
		}
		oldest := []byte(now.Add(-day).UTC().Format(dayLayout))
		for {
			name, _ := seen.Cursor().First()
			if name == nil || bytes.Compare(name, oldest) >= 0 {
				break
			}
			if err := seen.DeleteBucket(bytes.Clone(name)); err != nil {
				return err
			}
		}
	}
	return bucket.Put([]byte(fingerprint), append(key(releases.KeyAt(now)), value...))
}

// NextKey returns the time in nanoseconds, or one more than the last key when the clock has not moved on.
func (t *transaction) NextKey(now time.Time) (releases.Key, error) {
	meta := t.tx.Bucket(bucketMeta)
	next := releases.KeyAt(now)
	if last := meta.Get([]byte("last_key")); last != nil {
		next = max(next, releases.Key(binary.BigEndian.Uint64(last))+1)
	}
	return next, meta.Put([]byte("last_key"), key(next))
}

// Apps returns the apps of all artifacts. It skips from one name in the index to the next, so that its cost follows the
// apps, not the artifacts.
func (t *transaction) Apps() (apps []string, err error) {
	prefix := []byte{byApp, ':'}
	cursor := t.tx.Bucket(bucketArtifactTerms).Cursor()
	for k, _ := cursor.Seek(prefix); bytes.HasPrefix(k, prefix); {
		end := bytes.IndexByte(k, 0)
		apps = append(apps, string(k[len(prefix):end]))
		k, _ = cursor.Seek(append(bytes.Clone(k[:end]), 1)) // a name holds nothing below 1
	}
	return apps, nil
}
