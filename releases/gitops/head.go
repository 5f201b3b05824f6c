package gitops

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
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

// tagAt is the tag of the commit, or ""; of several the greatest version, or, where none is one, the last by name.
func tagAt(r *git.Repository, commit plumbing.Hash) string {
	tags, err := r.Tags()
	if err != nil {
		return ""
	}
	var newest *semver.Version
	var name, last string
	_ = tags.ForEach(func(ref *plumbing.Reference) error {
		at := ref.Hash()
		if tag, err := r.TagObject(at); err == nil {
			at = tag.Target
		}
		if at != commit {
			return nil
		}
		last = max(last, ref.Name().Short())
		if v, err := semver.NewVersion(ref.Name().Short()); err == nil && (newest == nil || v.GreaterThan(newest)) {
			newest, name = v, ref.Name().Short()
		}
		return nil
	})
	return cmp.Or(name, last)
}
