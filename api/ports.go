package api

import (
	"context"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Intake takes events in.
type Intake interface {
	// Accept stores messages; they are on disk when it returns nil, and none is
	// when it returns an error. The receipts are in the order of the messages.
	// [event.ErrUnavailable] asks to try again later.
	Accept(ctx context.Context, msgs []event.Message) ([]event.Receipt, error)
}

// Reader reads the store.
type Reader interface {
	// List returns the records a filter selects, without their timeline. next
	// is where to go on, 0 for no more.
	List(ctx context.Context, f event.Filter, p event.Page) (records []event.Record, next uint64, err error)
	// Find returns the records of an ID over all tables, with their timeline.
	Find(ctx context.Context, id string) ([]event.Record, error)
	// Payloads returns the bodies of an event; the first is the one it was
	// received with.
	Payloads(ctx context.Context, seq uint64) ([]event.Payload, error)
}

// WorkingData keeps one JSON object for each conversation.
type WorkingData interface {
	// WorkingData returns it; [event.ErrNotFound] when there is none.
	WorkingData(ctx context.Context, correlationID string) (event.Document, error)
	// AmendWorkingData changes it and returns what it is then, on disk. Errors:
	// [event.ErrNotFound] when no event has the correlation id,
	// [event.ErrTooLarge], [event.ErrUnavailable], and that of the check.
	AmendWorkingData(ctx context.Context, a event.Amendment) (event.Document, error)
}

// Operator changes single events. Both return [event.ErrConflict] when the
// status does not allow it and [event.ErrNotFound] when the event, or the
// handler or delivery that is asked for, is not there.
type Operator interface {
	Redrive(ctx context.Context, seq uint64, o event.RedriveOrder) (event.Record, error)
	Cancel(ctx context.Context, seq uint64, o event.CancelOrder) (event.Record, error)
}

// Claims give events of polled handlers away. An unknown handler or claim is
// [event.ErrNotFound]; one that is not polled, or is over, [event.ErrConflict].
type Claims interface {
	Claim(ctx context.Context, handler string, o event.ClaimOrder) ([]event.Claim, error)
	CompleteClaim(ctx context.Context, id, by string, followUps []event.Message) (event.Record, error)
	FailClaim(ctx context.Context, id, by string, f event.ClaimFailure) (event.Record, error)
	ExtendClaim(ctx context.Context, id, by string, lease time.Duration) (until time.Time, err error)
	ReleaseClaim(ctx context.Context, id, by string) (event.Record, error)
}

// Redriver redrives many events. [event.ErrNotFound] is an unknown handler or
// job, [event.ErrConflict] another job that is in the way, or one that has ended.
type Redriver interface {
	StartRedrive(ctx context.Context, j *event.Redrive) error
	PlanRedrive(ctx context.Context, j *event.Redrive) (*event.RedrivePlan, error)
	Redrives(ctx context.Context) ([]event.Redrive, error)
	ShowRedrive(ctx context.Context, id uint64) (*event.Redrive, error)
	CancelRedrive(ctx context.Context, id uint64) (*event.Redrive, error)
}

// Switches pause and resume. An unknown name is [event.ErrNotFound].
type Switches interface {
	SetHandlerPaused(ctx context.Context, name string, paused bool) error
	SetSourcePaused(ctx context.Context, name string, paused bool) error
}

// Overview tells how eventd stands.
type Overview interface {
	Snapshot() event.Snapshot
	Routes() []event.RouteInfo
	Schedules() []event.ScheduleInfo
	// Problems tells why it is not ready, a sentence each; none when it is.
	Problems() []string
}

// Explainer tells where an event would go, without taking it.
type Explainer interface {
	Explain(m event.Message) []event.Explanation
}

// Backups copies the store.
type Backups interface {
	// Backup returns a consistent copy, which the caller closes.
	// [event.ErrConflict]: another one is not closed yet; [event.ErrUnavailable]:
	// there is no room for it.
	Backup(ctx context.Context) (*event.Backup, error)
}

// Control reloads and shows the configuration.
type Control interface {
	// Reload puts the file in force. When it fails the old configuration stays;
	// an error that unwraps to several, or has several lines, is shown as a list.
	Reload(ctx context.Context) error
	// Config returns the configuration in force as YAML, secrets redacted.
	Config() ([]byte, error)
}
