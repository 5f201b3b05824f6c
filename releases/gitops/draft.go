package gitops

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gimletd/releases"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// reader gives the raw bytes of the repository's objects.
type reader interface {
	object(plumbing.Hash) (plumbing.ObjectType, []byte, error)
}

// batch builds commit upon commit in memory, from the head's trees.
type batch struct {
	from      reader
	committer releases.Person
	sign      signer // nil: unsigned
	head      plumbing.Hash
	trees     map[string]plumbing.Hash // what stands at a path in the batch's last commit; zero when nothing does
	raw       map[plumbing.Hash][]byte // trees that were read or made
	bases     map[string]item          // trees that stood at a path at the start: the remote has them
	objects   []item
}

// newBatch starts at the head; the zero hash is an empty repository.
func newBatch(from reader, head plumbing.Hash, committer releases.Person, sign signer) (*batch, error) {
	b := &batch{
		from: from, committer: committer, sign: sign, head: head,
		trees: map[string]plumbing.Hash{"": plumbing.ZeroHash}, raw: map[plumbing.Hash][]byte{}, bases: map[string]item{},
	}
	if head.IsZero() {
		return b, nil
	}
	commit, err := readCommit(from, head)
	if err != nil {
		return nil, err
	}
	b.trees[""] = commit.TreeHash
	return b, b.load("", commit.TreeHash)
}

// load reads the tree that stands at the path at the start.
func (b *batch) load(path string, hash plumbing.Hash) error {
	if hash.IsZero() {
		return nil
	}
	raw, err := readTree(b.from, hash)
	if err != nil {
		return fmt.Errorf("tree at /%s: %w", path, err)
	}
	b.raw[hash] = raw
	b.bases[packPath(path)] = item{typ: plumbing.TreeObject, hash: hash, raw: raw, path: packPath(path)}
	return nil
}

// treeAt returns the tree that stands at the slash-separated path now; the zero hash when there is none.
func (b *batch) treeAt(path string) (plumbing.Hash, error) {
	if hash, known := b.trees[path]; known {
		return hash, nil
	}
	dir, name := split(path)
	parent, err := b.treeAt(dir)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	hash := plumbing.ZeroHash
	if !parent.IsZero() {
		e, found, err := lookup(b.raw[parent], name)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("tree at /%s: %w", dir, err)
		}
		if found && !e.isTree() {
			return plumbing.ZeroHash, releases.Errorf(releases.Conflict, "/%s is a file in the GitOps repository, not a folder", path)
		}
		hash = e.hash
	}
	b.trees[path] = hash
	return hash, b.load(path, hash)
}

// packPath names a tree's place in a pack's bases: "" is for objects that have none.
func packPath(path string) string { return "/" + path }

func split(path string) (dir, name string) {
	if cut := strings.LastIndexByte(path, '/'); cut >= 0 {
		return path[:cut], path[cut+1:]
	}
	return "", path
}

// add puts one draft upon the batch.
func (b *batch) add(d releases.Draft) (releases.Result, error) {
	live, err := b.treeAt(d.Folder)
	if err != nil {
		return releases.Result{}, err
	}
	folder, blobs, err := b.folder(live, d.Files)
	if err != nil {
		return releases.Result{}, err
	}
	switch {
	case folder.hash == live:
		return releases.Result{Written: releases.NothingToDo, Commit: b.head.String(), Tree: hex(live)}, nil
	case hex(live) != d.BaseTree:
		return releases.Result{Written: releases.BaseMoved, Tree: hex(live)}, nil
	}
	b.trees[d.Folder] = folder.hash
	if !folder.hash.IsZero() {
		b.objects = append(append(b.objects, blobs...), folder)
		b.raw[folder.hash] = folder.raw
	}
	if err := b.lift(d.Folder, d.Keep); err != nil {
		return releases.Result{}, err
	}
	if err := b.commit(d); err != nil {
		return releases.Result{}, err
	}
	return releases.Result{Written: releases.Committed, Commit: b.head.String(), Tree: hex(folder.hash)}, nil
}

// folder makes the tree of the files, and the blobs of those that the live folder does not have. Without files there is none:
// git keeps no empty folders.
func (b *batch) folder(live plumbing.Hash, files []releases.File) (folder item, blobs []item, err error) {
	if len(files) == 0 {
		return item{}, nil, nil
	}
	had := map[plumbing.Hash]bool{}
	for e, err := range entries(b.raw[live]) {
		if err != nil {
			return item{}, nil, err
		}
		had[e.hash] = true
	}
	var raw []byte
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b releases.File) int { return strings.Compare(a.Path, b.Path) }) {
		if f.Path == "" || strings.ContainsAny(f.Path, "/\x00") || f.Path == "." || f.Path == ".." || strings.EqualFold(f.Path, ".git") {
			return item{}, nil, releases.Errorf(releases.Invalid, "%q cannot be the name of a file in the GitOps repository", f.Path)
		}
		blob := newItem(plumbing.BlobObject, f.Content)
		if !had[blob.hash] {
			had[blob.hash] = true
			blobs = append(blobs, blob)
		}
		raw = append(append(append(append(raw, modeFile...), ' '), f.Path...), 0)
		raw = append(raw, blob.hash[:]...)
	}
	return newItem(plumbing.TreeObject, raw), blobs, nil
}

// keeper is the file that keeps an environment's folder when no app is in it: what applies the folder fails without it.
const keeper = ".gitkeep"

// lift writes the trees above the folder anew, up to the root; those that have become empty go, but the one to keep.
func (b *batch) lift(folder, keep string) error {
	for path := folder; path != ""; {
		dir, name := split(path)
		above, err := b.treeAt(dir)
		if err != nil {
			return err
		}
		raw, err := splice(b.raw[above], modeTree, name, b.trees[path])
		if err != nil {
			return fmt.Errorf("tree at /%s: %w", dir, err)
		}
		if len(raw) == 0 && dir == keep && dir != "" {
			empty := newItem(plumbing.BlobObject, nil)
			b.objects = append(b.objects, empty)
			if raw, err = splice(nil, modeFile, keeper, empty.hash); err != nil {
				return err
			}
		}
		if len(raw) == 0 && dir != "" {
			b.trees[dir] = plumbing.ZeroHash
			path = dir
			continue
		}
		made := newItem(plumbing.TreeObject, raw)
		made.path = packPath(dir)
		b.trees[dir], b.raw[made.hash] = made.hash, raw
		b.objects = append(b.objects, made)
		path = dir
	}
	return nil
}

func (b *batch) commit(d releases.Draft) error {
	author := d.Author
	if author.Email == "" {
		author.Email = b.committer.Email // git wants one, and we know no other
	}
	commit := &object.Commit{
		Author:    signature(author, d.At),
		Committer: signature(b.committer, d.At),
		Message:   d.Message,
		TreeHash:  b.trees[""],
	}
	if !b.head.IsZero() {
		commit.ParentHashes = []plumbing.Hash{b.head}
	}
	made, err := encodeCommit(commit, b.sign)
	if err != nil {
		return err
	}
	b.head = made.hash
	b.objects = append(b.objects, made)
	return nil
}

func encodeCommit(commit *object.Commit, sign signer) (item, error) {
	encoded := &plumbing.MemoryObject{}
	if sign != nil {
		if err := commit.EncodeWithoutSignature(encoded); err != nil {
			return item{}, err
		}
		signed, err := sign.sign(contents(encoded))
		if err != nil {
			return item{}, fmt.Errorf("sign the commit: %w", err)
		}
		commit.PGPSignature = signed
		encoded = &plumbing.MemoryObject{}
	}
	if err := commit.Encode(encoded); err != nil {
		return item{}, err
	}
	return newItem(plumbing.CommitObject, contents(encoded)), nil
}

func signature(p releases.Person, at time.Time) object.Signature {
	clean := strings.NewReplacer("<", "", ">", "", "\n", " ", "\x00", "")
	return object.Signature{Name: clean.Replace(p.Name), Email: clean.Replace(p.Email), When: at.UTC()}
}

func hex(h plumbing.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}
