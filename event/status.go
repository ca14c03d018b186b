package event

import (
	"fmt"
	"strings"
)

// Status says where an event, or one of its deliveries, stands.
type Status uint8

// The statuses. Their numbers are stored: never renumber them.
const (
	// Unprocessed: stored, waiting for a processor.
	Unprocessed Status = 1
	// InProgress: an attempt is running. The attempt was counted before it
	// started, so an execution can never be missing from the record.
	InProgress Status = 2
	// Completed: handled, and its follow-up events are stored.
	Completed Status = 3
	// Retry: an attempt failed, another is scheduled at NextAttempt.
	Retry Status = 4
	// Error: parked. Trying again would not help until someone acts: a reload
	// that routes it, or a redrive.
	Error Status = 5
	// Failed: given up. Attempts or time are exhausted, it was poison, or a
	// person cancelled it. Only a redrive leads out.
	Failed Status = 6
)

// Statuses lists every status in the order of an event's life.
var Statuses = []Status{Unprocessed, InProgress, Completed, Retry, Error, Failed}

var statusNames = [...]string{
	Unprocessed: "UNPROCESSED", InProgress: "IN_PROGRESS", Completed: "COMPLETED",
	Retry: "RETRY", Error: "ERROR", Failed: "FAILED",
}

// String returns the status as it stands in JSON, UNPROCESSED for one.
func (s Status) String() string {
	if int(s) < len(statusNames) && statusNames[s] != "" {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// ParseStatus returns the status with the given name, in any case.
func ParseStatus(s string) (Status, error) {
	for _, st := range Statuses {
		if strings.EqualFold(statusNames[st], s) {
			return st, nil
		}
	}
	return 0, fmt.Errorf("no status is named %q (%s)", s, strings.Join(statusNames[1:], ", "))
}

// MarshalText implements [encoding.TextMarshaler].
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Status) UnmarshalText(b []byte) (err error) {
	*s, err = ParseStatus(string(b))
	return err
}

// Final reports whether nothing more happens by itself: COMPLETED, ERROR or FAILED.
func (s Status) Final() bool { return s == Completed || s == Error || s == Failed }

// DeadLetter reports whether an event that ends so is a dead letter: ERROR or FAILED.
func (s Status) DeadLetter() bool { return s == Error || s == Failed }

var legal = [...][]Status{
	Unprocessed: {InProgress, Error, Failed},
	// Retry follows an attempt, Unprocessed a released one.
	InProgress: {Completed, Retry, Error, Failed, Unprocessed},
	// Retry to Unprocessed: a person asks for it now.
	Retry:     {InProgress, Error, Failed, Unprocessed},
	Completed: {Unprocessed},
	Error:     {Unprocessed, Failed},
	Failed:    {Unprocessed},
}

// CanStep reports whether a delivery may go from one status to the other.
func CanStep(from, to Status) bool {
	if int(from) >= len(legal) {
		return false
	}
	for _, s := range legal[from] {
		if s == to {
			return true
		}
	}
	return false
}

// rank orders statuses from most to least finished.
var rank = [...]int{Completed: 1, Error: 2, Failed: 3, Retry: 4, InProgress: 5, Unprocessed: 6}
