package router

import (
	"context"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Ledger stores events and their steps. Its methods return once everything is
// on disk; an error then means that nothing is known to be.
type Ledger interface {
	Accept(ctx context.Context, admissions []*event.Admission) error
	// UpdateWithin may wait so long for other work to share a commit with.
	UpdateWithin(ctx context.Context, patience time.Duration, updates ...*event.Update) error
}

// Schedule tells what waits.
type Schedule interface {
	Due(ctx context.Context, q event.DueQuery) (list []event.Due, next time.Time, err error)
	// DueAside finds in the queue, behind a place, those with the one status, and
	// says where to go on later. It may find none though there are some.
	DueAside(ctx context.Context, q event.DueQuery, status event.Status, after event.DuePlace) (list []event.Due, reached event.DuePlace, err error)
	Waiting(handler string) (unprocessed, retries int)
	WaitingHandlers() []string
	// Overdue counts the requests that a handler has sent at or before a time and
	// that await their response, up to a limit of its own.
	Overdue(handler string, sent time.Time) int
	Inflight(ctx context.Context, after uint64, limit int) ([]uint64, error)
	Parked(ctx context.Context, status event.Status, after uint64, limit int) ([]uint64, error)
}

// Reader reads stored events.
type Reader interface {
	Get(ctx context.Context, seq uint64) (event.Record, error)
	Payload(ctx context.Context, seq uint64) ([]byte, error)
	Find(ctx context.Context, id string) ([]event.Record, error)
}

// Redrives keeps the jobs that redrive many events.
type Redrives interface {
	List(ctx context.Context, f event.Filter, p event.Page) (list []event.Record, next uint64, err error)
	AddRedrive(ctx context.Context, j *event.Redrive) error
	Redrive(ctx context.Context, id uint64) (*event.Redrive, error)
	Redrives(ctx context.Context) ([]event.Redrive, error)
	// AdvanceRedrive takes steps and notes in the job what became of them, in one
	// transaction.
	AdvanceRedrive(ctx context.Context, id uint64, change func(*event.Redrive), updates ...*event.Update) error
}

// Settings keeps what people have set, over restarts.
type Settings interface {
	SetPaused(ctx context.Context, kind, name, reason string) error
	Paused(kind, name string) (reason string)
}

// WorkingData keeps one JSON object for each conversation.
type WorkingData interface {
	// WorkingData returns it; [event.ErrNotFound] when there is none.
	WorkingData(ctx context.Context, correlationID string) (event.Document, error)
	// AmendWorkingData changes it in the transaction that reads it for change.
	AmendWorkingData(ctx context.Context, correlationID, by string, change func(event.Document) ([]byte, error)) (event.Document, error)
}

// Ordering tells what waits for its turn behind others of its order key.
type Ordering interface {
	// Lined goes through it, behind a place it has returned; nil says that there is no more.
	Lined(ctx context.Context, handler string, after []byte, limit int) (list []event.Due, next []byte, err error)
	// TurnsCome receives the handlers of what came to its turn with no step, as who
	// was before it is damaged.
	TurnsCome() <-chan []string
	// OrderHeads returns what it waits for, when that is RETRY, ERROR or FAILED.
	OrderHeads(ctx context.Context, handler string, limit int) (list []event.OrderHead, more bool, err error)
	// BlockedKeys counts the order keys that wait for something ERROR or FAILED, up
	// to a limit of its own.
	BlockedKeys(handler string) int
}

// Store is all that the router needs to have kept.
type Store interface {
	Ledger
	Schedule
	Reader
	Redrives
	Settings
	WorkingData
	Ordering
}

// Deliverer makes one attempt. It never fails: the answer says all. When ctx
// ends the attempt must end soon after. One that holds attempts back for others
// to come has a method Hurry(), which is called when no more will.
// One whose Deliver may wait before it sends has a method Withdraw(), which is
// called when nothing may be sent for now: what waits is then [event.Unsent].
type Deliverer interface {
	Deliver(ctx context.Context, a *event.Attempt) event.Answer
}

// Prober asks a handler whether it is well. An error says in a few words what is
// wrong. It ends soon after ctx does.
type Prober interface {
	Probe(ctx context.Context) error
}

// Checker holds payloads against what is expected of them.
type Checker interface {
	// Check says what is wrong with a payload, in one line of at most 900 bytes;
	// "" for nothing.
	Check(payload []byte) string
}

// Observer is told the facts that become metrics. Its methods must not block.
type Observer interface {
	EventReceived(source, messageType string)
	EventDuplicate(source string)
	EventEnded(messageType string, took time.Duration)
	DeliveryEnded(handler string, outcome event.Status, reason event.Reason, took time.Duration)
	RetryLateness(late time.Duration)
}
