// Package manifest turns a manifest into the files of its folder: a Helm chart from a place that the configuration
// lists, raw YAML, or both, with the artifact's variables resolved.
//
// A variable can only ever become part of the string that names it: templates run over single strings of the parsed
// tree, never over YAML text (variables.go, raw.go). Charts are programs of other people, and a Go template cannot be
// stopped from outside, so they run in a process of their own that is given no surroundings and is killed when it
// takes too long or too much (worker.go runs there, pool.go here).
package manifest
