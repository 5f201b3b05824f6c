package gittest

import (
	"fmt"
	"testing"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Bomb makes a branch of a folder of ten folders that are one and the same, and so on: few objects, and very many names.
func Bomb(tb testing.TB, bare, branch string) {
	tb.Helper()
	repository, err := git.PlainOpen(bare)
	if err != nil {
		tb.Fatal(err)
	}
	type encoder interface {
		Encode(o plumbing.EncodedObject) error
	}
	put := func(o encoder) plumbing.Hash {
		encoded := repository.Storer.NewEncodedObject()
		if err := o.Encode(encoded); err != nil {
			tb.Fatal(err)
		}
		hash, err := repository.Storer.SetEncodedObject(encoded)
		if err != nil {
			tb.Fatal(err)
		}
		return hash
	}
	tree := put(&object.Tree{})
	for range 12 {
		level := &object.Tree{}
		for i := range 10 {
			level.Entries = append(level.Entries, object.TreeEntry{Name: fmt.Sprint("d", i), Mode: filemode.Dir, Hash: tree})
		}
		tree = put(level)
	}
	commit := put(&object.Commit{TreeHash: tree, Message: "bomb"})
	if err := repository.Storer.SetReference(plumbing.NewHashReference(plumbing.NewBranchReferenceName(branch), commit)); err != nil {
		tb.Fatal(err)
	}
}
