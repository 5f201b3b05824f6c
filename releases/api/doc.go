// Package api is the HTTP edge: the calls that CI systems and Gimlet's command-line clients make, and, on a listener of
// its own, health and metrics.
package api
