// Package commands carries words in: a request from chat is found, parsed, checked, run as one call on the service, and
// answered. One file a command; parse.go, access.go and reply.go are what they share.
package commands
