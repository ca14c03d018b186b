package event

import "time"

// ClaimOrder asks for events of a polled handler.
type ClaimOrder struct {
	Max   int           // at most so many, at least 1
	Lease time.Duration // how long they are the claimer's; 0: as configured
	Wait  time.Duration // how long to wait for the first
	By    string        // who claims; "" for the handler's service
	Room  *Room         // what they must fit in; nil for anything
}

// Claim is one event that a service has taken for itself: an attempt that is
// counted and IN_PROGRESS until it is completed, failed or released, or its
// lease runs out.
type Claim struct {
	ID      string // names this attempt; a later one of the same event has another
	Until   time.Time
	Attempt int
	Record  Record // with the delivery that is claimed alone, and no timeline
	Payload []byte
}

// ClaimFailure says what went wrong with a claimed event.
type ClaimFailure struct {
	Detail string        // for the timeline; at most [MaxDetail] bytes are kept
	Retry  bool          // false: ERROR, trying again would not help
	Delay  time.Duration // with Retry: not before, where the policy would be sooner
}
