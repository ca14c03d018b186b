package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/eventd-io/eventd/event"
)

// MaxLogged is how many bytes of a payload are written to the log.
const MaxLogged = 8 << 10

// Log writes events to eventd's own log.
type Log struct {
	name   string
	logger zerolog.Logger
}

// NewLog returns a handler of the given name.
func NewLog(name string, logger zerolog.Logger) *Log {
	return &Log{name: name, logger: logger}
}

// Kind returns "log".
func (l *Log) Kind() string { return "log" }

// Target returns "log": there is but one.
func (l *Log) Target() string { return "log" }

// Deliver writes one line at level Info. It never fails.
func (l *Log) Deliver(_ context.Context, a *event.Attempt) event.Answer {
	start := time.Now()
	e := a.Event
	line := l.logger.Info().Str("event_id", e.ID).Stringer("table", e.Table).Str("message_type", e.MessageType).
		Str("handler", l.name).Int("attempt", a.Number).
		Str("source_service", e.SourceService).Str("correlation_id", e.CorrelationID).Str("content_type", e.ContentType)
	if line.Enabled() {
		line = withPayload(line, a.Payload)
	}
	line.Msg("event")
	return event.Answer{Outcome: event.Done, Took: time.Since(start)}
}

// withPayload adds a payload: JSON in one line as JSON, all else as a string.
// One over [MaxLogged] bytes is cut, and its size is added.
func withPayload(line *zerolog.Event, payload []byte) *zerolog.Event {
	if len(payload) > MaxLogged {
		return line.Int("payload_bytes", len(payload)).Str("payload", detailOf(payload[:MaxLogged]))
	}
	var compact bytes.Buffer
	if utf8.Valid(payload) && json.Compact(&compact, payload) == nil {
		return line.RawJSON("payload", compact.Bytes())
	}
	return line.Str("payload", detailOf(payload))
}
