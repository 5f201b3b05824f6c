// Package notify carries news out: an outcome from the store becomes messages in the right places, once.
//
// route.go says where and compose.go says what; both are pure. deliver.go sends: it remembers where a release's
// message is, so that later states edit it, and marks an outcome done when every place was told. After a crash a place
// may be told the same state once more, never less.
package notify
