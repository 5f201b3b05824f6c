// Package releases is the domain: what an artifact, a plan and a release are, the pure rules that decide about
// them, and the Service that is the only door to them for every edge (chat, HTTP, schedules).
//
// It imports nothing else of this module. What it needs from the outside world it states as small interfaces
// (Store, Repository, Renderer); bbolt, git and Helm implement them in packages of their own.
//
// Reading order: artifact.go and release.go for the nouns, policy.go and plan.go for the rules, service.go for
// the use cases, planner.go and publisher.go for the worker that carries a release from request to commit.
package releases
