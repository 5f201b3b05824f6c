// Package gitops writes releases into a GitOps repository, on go-git and without a work tree.
//
// A release's cost follows the release and not the repository: its blobs, the folder's tree, the trees on the path
// to the root (a twenty-byte hash spliced into their raw bytes) and a commit, sent as one thin pack in which large
// trees are deltas against those that the remote has.
//
// Reading order: repository.go (what is known of the remote, and the attempts), draft.go (a batch of commits in
// memory), tree.go and pack.go (the bytes), then the two backends: wire.go and clone.go for ssh and http(s), and
// local.go for a path on this machine.
package gitops
