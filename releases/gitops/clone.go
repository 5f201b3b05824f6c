package gitops

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// maxPacks is how many packs gather in the clone before it is made anew: a look-up asks each of them.
const maxPacks = 100

// clone is a bare, shallow repository on disk. It is a cache: whatever is wrong with it, the remote has it all.
type clone struct {
	dir    string
	branch string

	mu      sync.Mutex // go-git's storage is not safe for concurrent use, not even for reading
	storage *filesystem.Storage
	cuts    []plumbing.Hash
}

// newClone also removes what a crash left of spooled packs.
func newClone(dir, branch string) *clone {
	leftovers, _ := filepath.Glob(dir + spooled)
	for _, file := range leftovers {
		_ = os.Remove(file)
	}
	return &clone{dir: dir, branch: branch}
}

// spooled is how the names of spooled packs go on after that of the clone.
const spooled = ".pack-*"

func (c *clone) ref() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(c.branch) }

// open opens what lies on disk and returns its head; the zero hash when there is nothing.
func (c *clone) open() (plumbing.Hash, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.openLocked()
}

func (c *clone) openLocked() (plumbing.Hash, error) {
	if c.storage == nil {
		if _, err := os.Stat(filepath.Join(c.dir, "HEAD")); err != nil {
			if isNotExist(err) {
				return plumbing.ZeroHash, nil
			}
			return plumbing.ZeroHash, err
		}
		c.storage = openStorage(c.dir)
		cuts, err := c.storage.Shallow()
		if err != nil {
			return plumbing.ZeroHash, err
		}
		c.cuts = cuts
	}
	ref, err := c.storage.Reference(c.ref())
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return ref.Hash(), nil
}

// openStorage keeps few objects in memory: large trees are held by the Repository.
func openStorage(dir string) *filesystem.Storage {
	const memory = 4 << 20
	return filesystem.NewStorage(osfs.New(dir), cache.NewObjectLRU(memory))
}

func (c *clone) object(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.storage == nil {
		if _, err := c.openLocked(); err != nil || c.storage == nil {
			return plumbing.AnyObject, nil, plumbing.ErrObjectNotFound
		}
	}
	return readObject(c.storage, hash)
}

// maxObject bounds one object of a GitOps repository.
const maxObject = 256 << 20

func readObject(storage *filesystem.Storage, hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	encoded, err := storage.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return plumbing.AnyObject, nil, err
	}
	if encoded.Size() > maxObject {
		return plumbing.AnyObject, nil, fmt.Errorf("object %s has %d bytes", hash, encoded.Size())
	}
	r, err := encoded.Reader()
	if err != nil {
		return plumbing.AnyObject, nil, err
	}
	raw, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err == nil && plumbing.ComputeHash(encoded.Type(), raw) != hash {
		err = fmt.Errorf("object %s is damaged", hash)
	}
	return encoded.Type(), raw, err
}

// spool writes a pack to a file beside the clone, so that no lock is held while a network is waited for.
func (c *clone) spool(r io.Reader) (string, error) {
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o750); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(filepath.Dir(c.dir), filepath.Base(c.dir)+spooled)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(file, r)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

// add takes a spooled pack in and moves the branch to the head.
func (c *clone) add(pack string, head plumbing.Hash, cuts []plumbing.Hash) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.openLocked(); err != nil {
		return err
	}
	if c.storage == nil {
		return plumbing.ErrObjectNotFound
	}
	return c.addTo(c.storage, pack, head, cuts)
}

func (c *clone) addTo(storage *filesystem.Storage, pack string, head plumbing.Hash, cuts []plumbing.Hash) (err error) {
	file, err := os.Open(pack) //nolint:gosec // our own spool file
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(pack)
	}()
	if err := packfile.UpdateObjectStorage(storage, file); err != nil {
		return fmt.Errorf("take in a pack: %w", err)
	}
	if cuts != nil {
		if err := storage.SetShallow(cuts); err != nil {
			return err
		}
	}
	return storage.SetReference(plumbing.NewHashReference(c.ref(), head))
}

// replace makes the clone anew from a spooled pack. The old one goes when the new one is complete.
func (c *clone) replace(pack string, head plumbing.Hash, cuts []plumbing.Hash) error {
	fresh := c.dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if _, err := git.PlainInit(fresh, true); err != nil {
		return fmt.Errorf("make the clone: %w", err)
	}
	storage := openStorage(fresh)
	if err := c.addTo(storage, pack, head, cuts); err != nil {
		return err
	}
	if err := storage.Close(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.discardLocked(); err != nil {
		return err
	}
	if err := os.Rename(fresh, c.dir); err != nil {
		return err
	}
	_, err := c.openLocked()
	return err
}

func (c *clone) discard() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.discardLocked()
}

func (c *clone) discardLocked() error {
	if c.storage != nil {
		_ = c.storage.Close()
	}
	c.storage, c.cuts = nil, nil
	return os.RemoveAll(c.dir)
}

func (c *clone) shallow() []plumbing.Hash {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.cuts)
}

func (c *clone) isShallow(commit plumbing.Hash) bool { return slices.Contains(c.shallow(), commit) }

// packs counts the packs in the clone.
func (c *clone) packs() int {
	files, _ := filepath.Glob(filepath.Join(c.dir, "objects", "pack", "*.pack"))
	return len(files)
}
