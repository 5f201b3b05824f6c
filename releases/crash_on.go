//go:build crashtest

package releases

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

var passed atomic.Int64

// CrashPoint kills the process with SIGKILL when GIMLETD_CRASH_AT names the place and it was passed
// GIMLETD_CRASH_AFTER times before.
func CrashPoint(name string) {
	if os.Getenv("GIMLETD_CRASH_AT") != name {
		return
	}
	after, _ := strconv.ParseInt(os.Getenv("GIMLETD_CRASH_AFTER"), 10, 64)
	if passed.Add(1) > after {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
