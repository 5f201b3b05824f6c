package gitops

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/go-git/go-git/v5/plumbing"
)

// The modes of tree entries that we write.
const (
	modeFile = "100644"
	modeTree = "40000"
)

// hashSize is the length of a SHA-1.
const hashSize = 20

// entry is one line of a raw tree object (gitformat: "<mode> <name>\0<20-byte hash>").
type entry struct {
	mode, name string
	hash       plumbing.Hash
	start, end int // its bytes in the raw tree
}

func (e entry) isTree() bool { return e.mode == modeTree }

var errBadTree = errors.New("malformed tree object")

// entryAt reads the entry that starts at the offset.
func entryAt(raw []byte, start int) (entry, error) {
	space := bytes.IndexByte(raw[start:], ' ')
	if space < 0 {
		return entry{}, errBadTree
	}
	name := start + space + 1
	length := bytes.IndexByte(raw[name:], 0)
	end := name + length + 1 + hashSize
	if length < 0 || end > len(raw) {
		return entry{}, errBadTree
	}
	e := entry{mode: string(raw[start : start+space]), name: string(raw[name : name+length]), start: start, end: end}
	copy(e.hash[:], raw[end-hashSize:end])
	return e, nil
}

// entries walks a raw tree.
func entries(raw []byte) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for at := 0; at < len(raw); {
			e, err := entryAt(raw, at)
			if !yield(e, err) || err != nil {
				return
			}
			at = e.end
		}
	}
}

// lookup finds the entry with the name; ok is false when there is none.
func lookup(raw []byte, name string) (found entry, ok bool, err error) {
	// A name follows a mode's space and ends with a NUL; a hash may hold the same bytes by chance, so a hit counts
	// only when a walk confirms it. The search makes the common miss and the walk to a late entry cheap.
	if !bytes.Contains(raw, append(append([]byte{' '}, name...), 0)) {
		return entry{}, false, nil
	}
	for e, err := range entries(raw) {
		if err != nil {
			return entry{}, false, err
		}
		if e.name == name {
			return e, true, nil
		}
	}
	return entry{}, false, nil
}

// sortName is the name by which git orders an entry: a tree's counts with a slash at its end.
func sortName(mode, name string) string {
	if mode == modeTree {
		return name + "/"
	}
	return name
}

// splice returns the raw tree with the entry set to the hash, added when it is not there; with the zero hash, without it.
func splice(raw []byte, mode, name string, hash plumbing.Hash) ([]byte, error) {
	at, end := len(raw), len(raw)
	for e, err := range entries(raw) {
		if err != nil {
			return nil, err
		}
		if e.name == name {
			if e.mode != mode {
				return nil, fmt.Errorf("%q has mode %s in the repository, expected %s", name, e.mode, mode)
			}
			at, end = e.start, e.end
			break
		}
		if sortName(e.mode, e.name) > sortName(mode, name) {
			at, end = e.start, e.start
			break
		}
	}
	if hash.IsZero() {
		return append(append(make([]byte, 0, len(raw)), raw[:at]...), raw[end:]...), nil
	}
	line := make([]byte, 0, len(mode)+len(name)+2+hashSize)
	line = append(append(append(append(line, mode...), ' '), name...), 0)
	line = append(line, hash[:]...)
	out := make([]byte, 0, len(raw)+len(line))
	return append(append(append(out, raw[:at]...), line...), raw[end:]...), nil
}
