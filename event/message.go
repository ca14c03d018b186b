package event

import "time"

// Message is an event on its way into the store: decoded, not yet routed.
type Message struct {
	Event
	Payload []byte
	// Problem is why it cannot be handled though it is kept: [Undecodable] or
	// [Invalid], with a Detail for people. Both are "" for a sound message.
	Problem Reason
	Detail  string
	// Mark is stored with it, nil for none: it is a run of that schedule.
	Mark *Mark
}

// Receipt says what became of a [Message].
type Receipt struct {
	Table     Table
	ID        string
	Duplicate bool // it was stored before; nothing new was
}

// Attempt is one execution, handed to a handler. The handler must not change
// what it points to: other deliveries of the same event read it as well.
type Attempt struct {
	Event      *Event
	Payload    []byte
	Handler    string
	Route      string
	Number     int // 1 for the first of this generation
	Generation int
	// ClaimID names the attempt to whoever may take it over and say later what
	// became of it; "" where nobody may.
	ClaimID string
	// Alone asks for no company in a request: it was in flight in a crash, and
	// may have been the cause.
	Alone bool
}

// Outcome is the class of an [Answer].
type Outcome uint8

// The outcomes of an attempt.
const (
	Done  Outcome = 1 // handled: COMPLETED
	Again Outcome = 2 // may succeed later: RETRY, or FAILED when the policy is exhausted
	Never Outcome = 3 // trying again would not help: ERROR
	// Taken: the handler has taken it over and says later what became of it, as
	// of a claim. It stays IN_PROGRESS, for as long as Lease.
	Taken Outcome = 4
	// Unsent: no attempt was made, as the handler takes nothing now. It is due as
	// before, and nothing is counted.
	Unsent Outcome = 5
)

// Answer is what came of an [Attempt].
type Answer struct {
	Outcome Outcome
	Reason  Reason // "" when Done
	Detail  string // at most [MaxDetail] bytes
	Code    int    // HTTP status, 0 for none
	Took    time.Duration
	// Rest asks for no attempt at this handler for so long: Retry-After.
	Rest time.Duration
	// Delay asks for no attempt of this event for so long.
	Delay time.Duration
	// Lease is how long a Taken event is the handler's.
	Lease time.Duration
	// Silent says nothing of the handler: another answer to the same request does.
	Silent bool
	// Uncharged answers do not count against the policy: 429.
	Uncharged bool
	// Pause asks to pause the handler until a person resumes it: 410.
	Pause bool
	// FollowUps are the events in the answer, in their order. Table, creation
	// and correlation are completed by the router.
	FollowUps []Message
	// Sent are the bodies that left eventd and are to be kept as payload rows.
	// Their Body is nil: it is the event's own.
	Sent []Payload
}

// Field is one header.
type Field struct{ Name, Value string }

// NATSMessage is a message as NATS carries it. No header is there twice.
type NATSMessage struct {
	Subject string
	Header  []Field
	Body    []byte
}

// Publication is a message to be published to JetStream, kept in the outbox
// until the server has acknowledged it.
type Publication struct {
	ID      uint64 // its place in the outbox
	Subject string
	Header  map[string]string
	Body    []byte
	// EventSeq is the event it stands for. Where the body was too large to be
	// kept twice, Body is nil and is read from there.
	EventSeq uint64
}
