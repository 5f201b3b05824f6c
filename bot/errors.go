package bot

import (
	"errors"
	"fmt"
	"time"
)

// Errors of Send, Edit and Find. An error that is none of them is for good, and for that message alone.
var (
	// ErrNoMessage says that the message to be edited is not there any more.
	ErrNoMessage = errors.New("the message is gone")
	// ErrNobody says that there is no such user.
	ErrNobody = errors.New("there is nobody by that id")
	// ErrNoChannel says that the bot cannot post there: the channel is archived, unknown, or the bot is not in it.
	ErrNoChannel = errors.New("the channel cannot be posted to")
)

// TemporaryError is an error that goes away: the same call may work after the wait.
type TemporaryError struct {
	After time.Duration
	Err   error
	// Busy says that nothing is wrong, there is only too much at once.
	Busy bool
}

func (e *TemporaryError) Error() string { return fmt.Sprintf("try again after %s: %v", e.After, e.Err) }

// Unwrap returns the cause.
func (e *TemporaryError) Unwrap() error { return e.Err }
