package event

import "errors"

// Questions that callers ask of an error.
var (
	// ErrNotFound: no such event, handler or source.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the event is in a status that does not allow the step, or
	// someone else changed it first. Nothing was changed.
	ErrConflict = errors.New("conflict")
	// ErrPayloadRemoved: the event is there, but retention took the bytes it
	// came with.
	ErrPayloadRemoved = errors.New("its payload was removed by retention")
	// ErrUnavailable: eventd is shutting down or cannot take it now. Nothing
	// was stored; the caller may try again.
	ErrUnavailable = errors.New("unavailable")
	// ErrTooMuch: the disk is nearly full, and there is no space for so many steps
	// at once. None was taken; the caller may take fewer at a time.
	ErrTooMuch = errors.New("too many steps for the space there is")
	// ErrTooLarge: working data would get larger than [MaxDocument]. Nothing was
	// changed.
	ErrTooLarge = errors.New("too large")
)
