package gitops

import (
	"fmt"
	"io"

	"gimletd/releases"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

func readTree(from reader, hash plumbing.Hash) ([]byte, error) {
	typ, raw, err := from.object(hash)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.TreeObject {
		return nil, fmt.Errorf("object %s is a %s, expected a tree", hash, typ)
	}
	return raw, nil
}

func readCommit(from reader, hash plumbing.Hash) (*object.Commit, error) {
	typ, raw, err := from.object(hash)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.CommitObject {
		return nil, fmt.Errorf("object %s is a %s, expected a commit", hash, typ)
	}
	encoded := &plumbing.MemoryObject{}
	encoded.SetType(plumbing.CommitObject)
	if _, err := encoded.Write(raw); err != nil {
		return nil, err
	}
	commit := &object.Commit{Hash: hash}
	if err := commit.Decode(encoded); err != nil {
		return nil, fmt.Errorf("commit %s: %w", hash, err)
	}
	return commit, nil
}

// readFiles reads the blobs of a folder's tree. Folders inside it are passed over: ours have none.
func readFiles(from reader, raw []byte) ([]releases.File, error) {
	var files []releases.File
	for e, err := range entries(raw) {
		if err != nil {
			return nil, err
		}
		if e.isTree() {
			continue
		}
		_, content, err := from.object(e.hash)
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", e.name, err)
		}
		files = append(files, releases.File{Path: e.name, Content: content})
	}
	return files, nil
}

// contents are the bytes of an object in memory.
func contents(o *plumbing.MemoryObject) []byte {
	r, err := o.Reader()
	if err != nil {
		return nil
	}
	raw, _ := io.ReadAll(r)
	return raw
}
