package event

import (
	"io"
	"time"
)

// Admission is an event to be stored, with the state it starts in.
type Admission struct {
	Event   *Event // Seq is set by the store
	Payload []byte // must not change until it is stored
	State   State
	Outbox  []Publication // to be published with it; ID and EventSeq are set by the store
	// Remember changes the working data of the event's conversation in the same
	// transaction, unless the event is a duplicate; nil for nothing. Where it
	// cannot, the event is stored with a note of it.
	Remember Amend
	Mark     *Mark // of the schedule that it is a run of, stored in any case; nil for none
	// Duplicate is set by the store when the same event was stored before. The
	// first one keeps a note of it and nothing else is stored; Event.Seq is then
	// the first one's.
	Duplicate bool
}

// Update is one step of one event: read, change, write, in one transaction.
type Update struct {
	Seq uint64
	// Step changes the state it is given and says what comes with it. It runs
	// in the store's writer: it must be quick and must not call the store. An
	// error leaves the event as it is and becomes Err. Status and reason of the
	// event are derived from the deliveries afterwards.
	Step func(*State) (*Effects, error)
	// Bytes is about how many the effects bring with them; 0 for next to none.
	Bytes int
	// Then is asked, when it is the turn of another delivery of an order key after
	// the step, for a step of that one to take in the same transaction; nil for
	// none. It is quick, too. What became of it is in the step's Err.
	Then func(*Due) *Update
	// Turns are the handlers that an event has come due for which waited for its
	// turn until then, but for those that Then has a step for. The store sets it.
	Turns []string
	// Recalls are the conversations, by correlation id, whose working data the
	// effects may change; it may be left out where that is seldom.
	Recalls []string
	// Err is what became of it: nil, what Step returned, [ErrNotFound],
	// [ErrConflict] for a step that is not legal, an error that says that the
	// record is damaged, or why it was not stored where others were.
	Err error
}

// Effects is what is stored together with a step. Nil stands for nothing.
type Effects struct {
	FollowUps []*Admission
	Outbox    []Publication // ID and EventSeq are set by the store
	Sent      []Payload     // without Body: it is what the event sends out
	Remember  Amend         // as in [Admission]
	Await     *Await        // the step has sent a request that is to be answered
	// Payload goes out from now on, in place of the one so far, which is kept. It
	// becomes a payload row with its Body; nil to leave it.
	Payload *Payload
}

// Await says that a request was sent and is to be answered by a response with
// its id.
type Await struct {
	Delivery int // which of the deliveries sent it
	Sent     time.Time
}

// Due is one delivery that waits for its handler, with all that an attempt needs.
type Due struct {
	Event    *Event
	Payload  []byte
	Index    int // of the delivery in State.Deliveries
	Delivery Delivery
}

// DueQuery says which of a handler's waiting deliveries to return.
type DueQuery struct {
	Handler string
	Now     time.Time // those due at or before it
	Limit   int       // at most so many…
	Bytes   int       // …and no more after so many bytes of payload
	Room    *Room     // …nor more than fit in there; nil for any
}

// Room bounds what is read by the size that it will have elsewhere.
type Room struct {
	Bytes int
	// Size returns how many of them an event needs. One that needs more than
	// there are is passed over, as if it did not wait. The payload is not to be
	// kept.
	Size func(e *Event, payload []byte) int
}

// DuePlace is a place in the queue of a handler, which is in the order of its
// fields. The zero one is before all.
type DuePlace struct {
	At    time.Time // when the delivery is due, in microseconds
	Seq   uint64    // of its event
	Index int       // of the delivery in it
}

// Before reports whether a place comes before another.
func (p DuePlace) Before(other DuePlace) bool {
	if !p.At.Equal(other.At) {
		return p.At.Before(other.At)
	}
	if p.Seq != other.Seq {
		return p.Seq < other.Seq
	}
	return p.Index < other.Index
}

// Backup is a consistent copy of the store. Who gets it reads it, and closes it
// for the next to be taken.
type Backup struct {
	io.ReadCloser
	Size   int64    // bytes
	SHA256 [32]byte // of them
}
