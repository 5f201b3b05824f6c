package releases

import (
	"errors"
	"fmt"
)

// Kind says what happens next with an error: whose fault it is, and whether trying again can help.
type Kind string

// The kinds of Error.
const (
	Invalid     Kind = "invalid"     // the request is wrong and stays wrong
	NotFound    Kind = "not found"   // what it names does not exist
	NotAllowed  Kind = "not allowed" // the actor has no right to it
	Conflict    Kind = "conflict"    // it contradicts what is already there
	Stale       Kind = "stale"       // it was made for a state that is no longer true
	Unavailable Kind = "unavailable" // something outside did not answer; the same request may work later
)

// Error carries a sentence for people (Msg) and, for operators, the cause under it (Err, may be nil).
type Error struct {
	Kind Kind
	Msg  string
	Err  error
}

// Error returns the sentence and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error with a cause.
func Wrap(kind Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...), Err: err}
}

// KindOf returns the kind of the outermost Error in the chain, or "" when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}
