package event

import "time"

// Key identifies an event to people: the same ID may stand in several tables,
// as a request and the response to it do.
type Key struct {
	Table         Table
	SourceService string
	ID            string
}

// Event is the part of an event that never changes once it is stored. Its
// payload is kept apart.
type Event struct {
	Seq           uint64 // given by the store, ascending over all tables; 0 before
	Table         Table
	ID            string
	MessageType   string // "" for what could not be decoded
	SourceService string
	TargetService string
	Topic         string // subject it was received on; "" for events made inside
	CorrelationID string
	CausationID   string // "" for the first of a conversation
	CreatedBy     string
	CreatedAt     time.Time // UTC
	ContentType   string    // of the payload
	Hops          int       // follow-ups between the first event and this one
	// DeliverAt is the time before which it is not handed to a handler, Expires
	// the one after which it no longer is; zero for none.
	DeliverAt time.Time
	Expires   time.Time
	// Attributes are the CloudEvents attributes and extensions it arrived with,
	// but id, type and datacontenttype, which have fields of their own.
	Attributes map[string]string
	// Literals are the names of those Attributes that came as a truth value or a
	// whole number of JSON, and not as a string; sorted.
	Literals []string
	// Headers are the message headers it arrived with and that go along with it.
	Headers map[string]string
	// Source is the configured source it came through, schedules/NAME for one that
	// a schedule made; "" for the API and replies.
	Source   string
	Position Position
}

// Key returns what identifies the event to people.
func (e *Event) Key() Key {
	return Key{Table: e.Table, SourceService: e.SourceService, ID: e.ID}
}

// Position is a message's place in a JetStream stream. Stored tells apart the
// streams that had the same name one after the other: sequences start at 1 again.
type Position struct {
	Stream   string
	Sequence uint64
	Stored   time.Time
}

// IsZero reports whether the event came from no stream.
func (p Position) IsZero() bool { return p.Sequence == 0 }

// Equal reports whether both are the same message of the same stream.
func (p Position) Equal(q Position) bool {
	return p.Sequence == q.Sequence && p.Stream == q.Stream && p.Stored.Equal(q.Stored)
}

// State is the part of an event that changes. Every change of it is one
// transaction together with its entry in the timeline.
type State struct {
	Status     Status // derived from the deliveries, or set where there are none
	Reason     Reason // "" when Status says all
	UpdatedBy  string
	UpdatedAt  time.Time
	Deliveries []Delivery
	Timeline   []Entry
	// PayloadRow is the number of the payload row that goes out: 0 for what the
	// event came with, another one after a redrive with an edited payload. The
	// store sets it.
	PayloadRow int
}

// Delivery is one handler's share of an event. A fan-out event has several,
// each with a status and attempts of its own.
type Delivery struct {
	Handler       string
	Route         string
	Status        Status
	Reason        Reason
	Attempts      int // executions recorded in this generation, counted before they start
	Uncharged     int // those of Attempts that do not count against the policy
	Interruptions int // crashes in a row that found it in flight
	Generation    int // 0, and one more for each redrive
	// FirstAttempt is when the policy's max_elapsed begins; zero before.
	FirstAttempt time.Time
	// NextAttempt is when UNPROCESSED or RETRY is due, and when the lease of what is
	// IN_PROGRESS runs out; zero otherwise.
	NextAttempt time.Time
	// OrderKey is the value of the route's order_by: of those of a handler that
	// have the same, one is in flight at a time. "" for no order.
	OrderKey  string
	OnFailure OnFailure // of those with an OrderKey
}

// Entry is one line of an event's timeline: a status it took, or a note that
// leaves the status as it was.
type Entry struct {
	At       time.Time
	Status   Status
	Attempt  int
	Handler  string
	Reason   Reason
	Detail   string // free text, at most [MaxDetail] bytes
	Code     int    // HTTP status, 0 for none
	Duration time.Duration
}

// MaxDetail is how many bytes of an answer are kept in the timeline.
const MaxDetail = 8 << 10

// Record is one row as people see it: an event and its state.
type Record struct {
	Event
	State
}

// Payload is one row of the payload table: a body that crossed a boundary.
type Payload struct {
	EventID       string
	Topic         string
	SourceService string
	TargetService string
	Body          []byte
	ContentType   string
	CreatedBy     string
	CreatedAt     time.Time
	Removed       bool // retention took the body; all else still stands
}

// Derive sets the status and reason of an event from its deliveries: those of
// the least finished one; once all have ended, FAILED and ERROR stand above
// COMPLETED. It leaves an event without deliveries as it is.
func (s *State) Derive() {
	worst := -1
	for i := range s.Deliveries {
		if worst < 0 || rank[s.Deliveries[i].Status] > rank[s.Deliveries[worst].Status] {
			worst = i
		}
	}
	if worst >= 0 {
		s.Status, s.Reason = s.Deliveries[worst].Status, s.Deliveries[worst].Reason
	}
}
