package gitops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

// Folder is a folder of somebody's repository, such as a chart, at a commit, tag or branch; the remote's HEAD without.
type Folder struct {
	URL         string
	Auth        AuthConfig
	Path        string
	Commit      string
	Tag, Branch string
}

// Limits of a folder that is read.
const (
	maxFolderFiles   = 2000
	maxFolderBytes   = 20 << 20
	maxFolderEntries = 5 * maxFolderFiles // folders in it, too: the same one may be there again and again
)

// ErrNoRef says that the remote has no such commit, tag, branch or folder.
var ErrNoRef = errors.New("it is not there")

var fullCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

func (f Folder) auth() (transport.AuthMethod, error) {
	endpoint, err := transport.NewEndpoint(f.URL)
	switch {
	case err != nil:
		return nil, err
	case endpoint.Protocol == "ssh":
		isolateSSH()
		return sshAuth(f.Auth, endpoint)
	case f.Auth.Password == "":
		return nil, nil //nolint:nilnil // go-git means "none"
	}
	return &githttp.BasicAuth{Username: f.Auth.Username, Password: f.Auth.Password.Reveal()}, nil
}

func (f Folder) remote(storage storage.Storer) *git.Remote {
	return git.NewRemote(storage, &config.RemoteConfig{Name: "origin", URLs: []string{f.URL}})
}

// Resolve returns the commit that the folder is to be read at, asking the remote unless a commit is named.
func (f Folder) Resolve(ctx context.Context) (string, error) {
	return within(ctx, func() (string, error) { return f.resolve(ctx) }, func(string) {})
}

func (f Folder) resolve(ctx context.Context) (string, error) {
	if f.Commit != "" {
		if !fullCommit.MatchString(f.Commit) {
			return "", fmt.Errorf("%q is not the 40 digits of a commit: %w", f.Commit, ErrNoRef)
		}
		return f.Commit, nil
	}
	auth, err := f.auth()
	if err != nil {
		return "", err
	}
	refs, err := f.remote(memory.NewStorage()).ListContext(ctx, &git.ListOptions{Auth: auth, PeelingOption: git.AppendPeeled})
	if err != nil {
		return "", err
	}
	// What an annotated tag stands for is listed after it, under its name and ^{}.
	wanted := []string{"HEAD"}
	switch {
	case f.Tag != "":
		wanted = []string{"refs/tags/" + f.Tag + "^{}", "refs/tags/" + f.Tag}
	case f.Branch != "":
		wanted = []string{"refs/heads/" + f.Branch}
	}
	for _, name := range wanted {
		for _, ref := range refs {
			if ref.Name().String() != name {
				continue
			}
			if ref.Type() == plumbing.SymbolicReference {
				return Folder{URL: f.URL, Auth: f.Auth, Branch: ref.Target().Short()}.resolve(ctx)
			}
			return ref.Hash().String(), nil
		}
	}
	return "", fmt.Errorf("%s: %w", strings.TrimSuffix(wanted[len(wanted)-1], "^{}"), ErrNoRef)
}

// Read returns the folder's files at a commit. The repository around it, which may be large, is kept in a folder of its own in scratch
// meanwhile: in memory it could end the process.
func (f Folder) Read(ctx context.Context, commit, scratch string) (map[string][]byte, error) {
	return within(ctx, func() (map[string][]byte, error) { return f.read(ctx, commit, scratch) }, func(map[string][]byte) {})
}

func (f Folder) read(ctx context.Context, commit, scratch string) (map[string][]byte, error) {
	dir, err := os.MkdirTemp(scratch, "clone-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const cached, large = 16 * cache.MiByte, 1 << 20
	store := filesystem.NewStorageWithOptions(osfs.New(dir), cache.NewObjectLRU(cached), filesystem.Options{LargeObjectThreshold: large})
	defer func() { _ = store.Close() }()
	at, err := f.fetch(ctx, store, commit)
	if err != nil {
		return nil, err
	}
	tree, err := at.Tree()
	if err != nil {
		return nil, err
	}
	if inside := strings.Trim(path.Clean("/"+f.Path), "/"); inside != "" {
		if tree, err = tree.Tree(inside); err != nil {
			return nil, fmt.Errorf("folder %s: %w", inside, ErrNoRef)
		}
	}
	return filesIn(ctx, tree)
}

// fetch gets the commit with as little else as the remote lets one: hosts that give no commit by its name give the branch or tag, and
// only when that has moved on is everything fetched.
func (f Folder) fetch(ctx context.Context, store storage.Storer, commit string) (at *object.Commit, err error) {
	attempts := []git.FetchOptions{{RefSpecs: []config.RefSpec{config.RefSpec(commit + ":refs/heads/wanted")}, Depth: 1}}
	switch {
	case f.Tag != "":
		attempts = append(attempts, git.FetchOptions{RefSpecs: []config.RefSpec{config.RefSpec("+refs/tags/" + f.Tag + ":refs/tags/wanted")}, Depth: 1})
	case f.Branch != "":
		attempts = append(attempts, git.FetchOptions{RefSpecs: []config.RefSpec{config.RefSpec("+refs/heads/" + f.Branch + ":refs/heads/wanted")}, Depth: 1})
	}
	attempts = append(attempts, git.FetchOptions{RefSpecs: []config.RefSpec{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}})
	auth, err := f.auth()
	if err != nil {
		return nil, err
	}
	for _, options := range attempts {
		options.Auth, options.Tags = auth, git.NoTags
		err := f.remote(store).FetchContext(ctx, &options)
		switch {
		case errors.Is(err, git.ErrExactSHA1NotSupported), errors.As(err, new(git.NoMatchingRefSpecError)), errors.Is(err, git.NoErrAlreadyUpToDate):
		case err != nil:
			return nil, err
		}
		if at, err = object.GetCommit(store, plumbing.NewHash(commit)); err == nil {
			return at, nil
		}
	}
	return nil, fmt.Errorf("commit %s: %w", commit, ErrNoRef)
}

func filesIn(ctx context.Context, tree *object.Tree) (map[string][]byte, error) {
	files, size := map[string][]byte{}, int64(0)
	walker := object.NewTreeWalker(tree, true, nil)
	defer walker.Close()
	for entries := 0; ; entries++ {
		name, entry, err := walker.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		if entries >= maxFolderEntries {
			return nil, fmt.Errorf("it has more than %d files and folders", maxFolderEntries)
		}
		switch entry.Mode {
		case filemode.Dir:
			continue
		case filemode.Regular, filemode.Executable, filemode.Deprecated:
		default:
			return nil, fmt.Errorf("%s is a link or a submodule, which is not followed", name)
		}
		blob, err := tree.TreeEntryFile(&entry)
		if err != nil {
			return nil, err
		}
		if size += blob.Size; size > maxFolderBytes || len(files) >= maxFolderFiles {
			return nil, fmt.Errorf("it has more than %d files or %d MiB", maxFolderFiles, maxFolderBytes>>20)
		}
		text, err := blob.Contents()
		if err != nil {
			return nil, err
		}
		files[name] = []byte(text)
	}
}

// Denied reports whether the remote has refused the credentials.
func Denied(err error) bool {
	return errors.Is(err, transport.ErrAuthenticationRequired) || errors.Is(err, transport.ErrAuthorizationFailed) ||
		(err != nil && strings.Contains(err.Error(), "unable to authenticate")) // ssh has no error of its own for it
}

// Strange reports whether the remote's key is not the one that is known.
func Strange(err error) bool { return err != nil && strings.Contains(err.Error(), "knownhosts") }

// Missing reports whether what was asked for is not there, whatever is done.
func Missing(err error) bool {
	return errors.Is(err, ErrNoRef) || errors.Is(err, transport.ErrRepositoryNotFound) || errors.Is(err, transport.ErrEmptyRemoteRepository)
}
