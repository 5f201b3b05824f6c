package gitops

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gimletd/releases"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// local is the backend for a bare repository on this machine. It reads and writes the repository's own files the
// way git does, under git's own ref lock, so that other git processes may push there at the same time. The
// repository's hooks do not run.
type local struct {
	dir    string
	branch string

	mu      sync.Mutex
	storage *filesystem.Storage
}

// unpackLimit is how many objects are written one by one; more go into a pack (git's receive.unpackLimit).
const unpackLimit = 100

func openLocal(dir, branch string) (*local, error) {
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		return nil, fmt.Errorf("url: %s has a work tree; a GitOps repository on this machine must be bare (git clone --bare)", dir)
	}
	for _, part := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, part)); err != nil {
			return nil, fmt.Errorf("url: %s is not a bare git repository (git init --bare makes one): %w", dir, err)
		}
	}
	l := &local{dir: dir, branch: branch, storage: openStorage(dir)}
	c, err := l.storage.Config()
	if err != nil {
		return nil, fmt.Errorf("url: %s: %w", dir, err)
	}
	extensions := c.Raw.Section("extensions")
	if format := extensions.Option("objectformat"); format != "" && format != "sha1" {
		return nil, fmt.Errorf("url: %s uses %s hashes; only SHA-1 repositories are supported", dir, format)
	}
	if refs := extensions.Option("refstorage"); refs != "" && refs != "files" {
		return nil, fmt.Errorf("url: %s keeps its refs as %s; only the files format is supported", dir, refs)
	}
	return l, l.unlock()
}

// InitBare makes an empty bare repository whose HEAD is the branch.
func InitBare(dir, branch string) error {
	repo, err := git.PlainInit(dir, true)
	if err != nil {
		return err
	}
	return repo.Storer.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, plumbing.NewBranchReferenceName(branch)))
}

func (l *local) ref() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(l.branch) }

// object reads an object; one that is not found is looked for again among packs that other processes have made.
func (l *local) object(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	typ, raw, err := readObject(l.storage, hash)
	if err == nil {
		return typ, raw, nil
	}
	_ = l.storage.Close()
	l.storage = openStorage(l.dir)
	return readObject(l.storage, hash)
}

func (l *local) refresh(context.Context) (plumbing.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ref, err := l.storage.Reference(l.ref())
	if err == nil {
		if ref.Type() != plumbing.HashReference {
			return plumbing.ZeroHash, releases.Errorf(releases.Unavailable, "branch %s of %s is a symbolic ref", l.branch, l.dir)
		}
		return ref.Hash(), nil
	}
	if !errors.Is(err, plumbing.ErrReferenceNotFound) {
		return plumbing.ZeroHash, err
	}
	other, err := l.otherBranch()
	if err == nil && other != "" {
		err = releases.Errorf(releases.Unavailable, "the GitOps repository has no branch %q (it has %s)", l.branch, other)
	}
	return plumbing.ZeroHash, err // without any, the first release makes the branch
}

// otherBranch names a branch of the repository, if there is one. go-git's own iteration takes lock files for refs.
func (l *local) otherBranch() (name string, err error) {
	packed, err := os.ReadFile(filepath.Join(l.dir, "packed-refs"))
	if err != nil && !isNotExist(err) {
		return "", err
	}
	if _, after, found := strings.Cut(string(packed), " refs/heads/"); found {
		name, _, _ = strings.Cut(after, "\n")
		return name, nil
	}
	heads := filepath.Join(l.dir, "refs", "heads")
	err = filepath.WalkDir(heads, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasSuffix(path, ".lock") {
			name, err = filepath.Rel(heads, path)
		}
		return err
	})
	if isNotExist(err) {
		err = nil
	}
	return name, err
}

func (l *local) heal(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.storage.Close()
	l.storage = openStorage(l.dir)
	return nil
}

func (l *local) cut(plumbing.Hash) bool       { return false }
func (l *local) deepen(context.Context) error { return nil }

func (l *local) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.storage.Close()
}

func (l *local) push(ctx context.Context, old, head plumbing.Hash, objects []item, _ map[string]item) error {
	if now, err := l.refresh(ctx); err != nil || now != old {
		return errors.Join(err, errMoved)
	}
	write := l.writeLoose
	if len(objects) > unpackLimit {
		write = l.writePack
	}
	if err := write(objects); err != nil {
		return fmt.Errorf("write objects: %w", err)
	}
	return l.swap(ctx, old, head)
}

func (l *local) writePack(objects []item) error {
	data, err := pack(objects, nil)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w, err := l.storage.PackfileWriter()
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return err
	}
	return syncNewest(filepath.Join(l.dir, "objects", "pack"))
}

// syncNewest brings what was just written in the folder to the disk, before the branch points to it.
func syncNewest(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	recent := time.Now().Add(-time.Minute)
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.ModTime().Before(recent) {
			continue
		}
		file, err := os.Open(filepath.Join(dir, f.Name())) //nolint:gosec // a folder of the repository
		if err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) writeLoose(objects []item) error {
	var z bytes.Buffer
	zip, err := zlib.NewWriterLevel(&z, zlib.BestSpeed)
	if err != nil {
		return err
	}
	for _, o := range objects {
		z.Reset()
		zip.Reset(&z)
		if _, err := fmt.Fprintf(zip, "%s %d\x00", o.typ, len(o.raw)); err != nil {
			return err
		}
		if _, err := zip.Write(o.raw); err != nil {
			return err
		}
		if err := zip.Close(); err != nil {
			return err
		}
		name := o.hash.String()
		if err := writeFile(filepath.Join(l.dir, "objects", name[:2]), name[2:], z.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// writeFile makes an object's file appear whole or not at all.
func writeFile(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // as git does; the umask decides
		return err
	}
	file, err := os.CreateTemp(dir, "tmp_obj_*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Chmod(0o444), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// lockWait is how long another process may hold the ref's lock.
const lockWait = 10 * time.Second

// ownLock is the file that the ref's lock is a second name of while we hold it: by it we know our own after a crash.
const ownLock = "gimletd.lock"

// swap moves the branch from old to new under git's own lock: the file `<ref>.lock`, which only one process can make, and
// which is renamed over the ref.
func (l *local) swap(ctx context.Context, old, head plumbing.Hash) error {
	path := l.refPath()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { //nolint:gosec // as git does
		return err
	}
	own := filepath.Join(l.dir, ownLock)
	if err := writeSynced(own, head.String()+"\n"); err != nil {
		return err
	}
	defer func() { _ = os.Remove(own) }()
	if err := takeLock(ctx, own, path+".lock"); err != nil {
		return err
	}
	if now, err := l.refresh(ctx); err != nil || now != old {
		return errors.Join(err, errMoved, os.Remove(path+".lock"))
	}
	releases.CrashPoint("gitops.locked")
	return os.Rename(path+".lock", path)
}

func (l *local) refPath() string { return filepath.Join(l.dir, filepath.FromSlash(l.ref().String())) }

// unlock removes a lock that we held when we were killed.
func (l *local) unlock() error {
	own := filepath.Join(l.dir, ownLock)
	ours, err := os.Stat(own)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if held, err := os.Stat(l.refPath() + ".lock"); err == nil && os.SameFile(ours, held) {
		if err := os.Remove(l.refPath() + ".lock"); err != nil {
			return err
		}
	}
	return os.Remove(own)
}

func writeSynced(path, text string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666) //nolint:gosec // as git does
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// takeLock makes the lock as a second name of our own file, as soon as nobody else has it.
func takeLock(ctx context.Context, own, path string) error {
	deadline := time.Now().Add(lockWait)
	for {
		err := os.Link(own, path)
		if err == nil || !errors.Is(err, os.ErrExist) {
			return err
		}
		if time.Now().After(deadline) {
			return releases.Errorf(releases.Unavailable, "%s is held by another git process; if none is running, remove it", path)
		}
		select {
		case <-time.After(5*time.Millisecond + rand.N(20*time.Millisecond)): //nolint:gosec // jitter
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
