package bolt

import (
	"bytes"
	"encoding/binary"

	"gimletd/releases"

	"go.etcd.io/bbolt"
)

func key(k releases.Key) []byte { return binary.BigEndian.AppendUint64(nil, uint64(k)) }

func toKey(b []byte) releases.Key { return releases.Key(binary.BigEndian.Uint64(b)) }

// term is an entry of an index: a field, its value, and, after a NUL, the key of the record that has it.
func term(field byte, value string, k releases.Key) []byte {
	b := make([]byte, 0, len(value)+11)
	b = append(b, field, ':')
	b = append(b, value...)
	b = append(b, 0)
	return binary.BigEndian.AppendUint64(b, uint64(k))
}

// list walks the keys of one term, newest first. Without a field it walks a bucket of records.
type list struct {
	cursor *bbolt.Cursor
	prefix []byte
}

func newList(bucket *bbolt.Bucket, field byte, value string) *list {
	full := term(field, value, 0)
	return &list{cursor: bucket.Cursor(), prefix: full[:len(full)-8]}
}

func allRecords(bucket *bbolt.Bucket) *list { return &list{cursor: bucket.Cursor()} }

// atOrBefore returns the greatest key of the list that is not above k.
func (l *list) atOrBefore(k releases.Key) (releases.Key, bool) {
	target := binary.BigEndian.AppendUint64(bytes.Clone(l.prefix), uint64(k))
	found, _ := l.cursor.Seek(target)
	if !bytes.Equal(found, target) {
		if found == nil {
			found, _ = l.cursor.Last()
		} else {
			found, _ = l.cursor.Prev()
		}
	}
	if len(found) != len(target) || !bytes.HasPrefix(found, l.prefix) {
		return 0, false
	}
	return toKey(found[len(l.prefix):]), true
}

// anyOf is the union of lists.
type anyOf []*list

func (u anyOf) atOrBefore(k releases.Key) (best releases.Key, ok bool) {
	for _, l := range u {
		if found, has := l.atOrBefore(k); has && (!ok || found > best) {
			best, ok = found, true
		}
	}
	return best, ok
}

// ofRepositories is the union of the lists of the source repositories that the globs take. Without globs it is nothing.
func ofRepositories(terms *bbolt.Bucket, globs []string) (all []anyOf, err error) {
	if len(globs) == 0 {
		return nil, nil
	}
	taken, err := releases.NewGlobs(globs)
	if err != nil {
		return nil, err
	}
	union := anyOf{}
	start := []byte{byRepository, ':'}
	cursor := terms.Cursor()
	for entry, _ := cursor.Seek(start); bytes.HasPrefix(entry, start); {
		name, _, _ := bytes.Cut(entry[len(start):], []byte{0})
		if repository := string(name); taken.Match(repository) {
			union = append(union, newList(terms, byRepository, repository))
		}
		entry, _ = cursor.Seek(append(append(bytes.Clone(start), name...), 1)) // past all that it has
	}
	return []anyOf{union}, nil
}

// newest calls yield with the keys that are in every list, from the newest at or before `from` down to `until`,
// until yield returns false. Each list skips to where the others stand, so the cost follows the rarest term.
func newest(lists []anyOf, from, until releases.Key, yield func(releases.Key) (bool, error)) error {
	candidate := from
	for {
		agreed := true
		for _, l := range lists {
			found, ok := l.atOrBefore(candidate)
			if !ok || found < until {
				return nil
			}
			if found < candidate {
				candidate, agreed = found, false
			}
		}
		if !agreed {
			continue
		}
		goOn, err := yield(candidate)
		if err != nil || !goOn || candidate == 0 {
			return err
		}
		candidate--
	}
}
