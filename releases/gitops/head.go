package gitops

import (
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// Head is what a clone has checked out.
type Head struct {
	Commit, Message           string
	Author, AuthorEmail       string
	Committer, CommitterEmail string
	Created                   int64 // Unix seconds
	Branch, Tag               string
	Remote                    string // URL of origin
}

// HeadOf reads what the clone around a folder has checked out. It asks no remote.
func HeadOf(folder string) (h Head, err error) {
	r, err := git.PlainOpenWithOptions(folder, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if err != nil {
		return h, fmt.Errorf("%s is in no git clone: %w", folder, err)
	}
	ref, err := r.Head()
	if err != nil {
		return h, err
	}
	commit, err := r.CommitObject(ref.Hash())
	if err != nil {
		return h, err
	}
	h = Head{
		Commit: commit.Hash.String(), Message: strings.TrimSpace(commit.Message), Author: commit.Author.Name, AuthorEmail: commit.Author.Email,
		Committer: commit.Committer.Name, CommitterEmail: commit.Committer.Email, Created: commit.Committer.When.Unix(),
	}
	if ref.Name().IsBranch() {
		h.Branch = ref.Name().Short()
	} else {
		h.Tag = tagAt(r, ref.Hash())
	}
	if origin, err := r.Remote("origin"); err == nil && len(origin.Config().URLs) > 0 {
		h.Remote = origin.Config().URLs[0]
	}
	return h, nil
}

// tagAt is a tag of the commit, or "".
func tagAt(r *git.Repository, commit plumbing.Hash) (name string) {
	tags, err := r.Tags()
	if err != nil {
		return ""
	}
	_ = tags.ForEach(func(ref *plumbing.Reference) error {
		at := ref.Hash()
		if tag, err := r.TagObject(at); err == nil {
			at = tag.Target
		}
		if at == commit {
			name = ref.Name().Short()
		}
		return nil
	})
	return name
}
