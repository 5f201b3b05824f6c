// Package bolt keeps everything in one bbolt file.
//
// The layout: every record lies in one bucket under its Key (eight big-endian bytes, ordered by arrival); `ids`
// buckets map names to keys; `terms` buckets hold one empty entry per (term, key), so that a query is the
// intersection of a few ordered lists (see terms.go). Writers that wait together share one transaction and so one
// fsync (see db.go).
package bolt
