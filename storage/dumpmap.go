package storage

import (
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
)

// dumpOf writes an event down. Its payload is copied when the line is written.
func dumpOf(e *event.Event, s *event.State, payload []byte) *dumpEvent {
	d := &dumpEvent{
		Seq: e.Seq, Table: e.Table, ID: text(e.ID), MessageType: text(e.MessageType),
		SourceService: text(e.SourceService), TargetService: text(e.TargetService), Topic: text(e.Topic),
		CorrelationID: text(e.CorrelationID), CausationID: text(e.CausationID),
		CreatedBy: text(e.CreatedBy), CreatedAt: instant{e.CreatedAt}, ContentType: text(e.ContentType), Hops: e.Hops,
		DeliverAt: instant{e.DeliverAt}, Expires: instant{e.Expires},
		Attributes: e.Attributes, Literals: converted[text](e.Literals), Headers: e.Headers, Source: text(e.Source),
		Status: standing(s.Status), Reason: text(s.Reason), UpdatedBy: text(s.UpdatedBy), UpdatedAt: instant{s.UpdatedAt},
		Payload: payload, PayloadRow: s.PayloadRow,
	}
	if !e.Position.IsZero() {
		p := dumpStreamOf(e.Position)
		d.Stream = &p
	}
	for i := range s.Deliveries {
		d.Deliveries = append(d.Deliveries, dumpShareOf(&s.Deliveries[i]))
	}
	for i := range s.Timeline {
		d.Timeline = append(d.Timeline, dumpStepOf(&s.Timeline[i]))
	}
	return d
}

// converted returns a list of another kind of text; nil for none.
func converted[To, From ~string](list []From) (out []To) {
	for _, s := range list {
		out = append(out, To(s))
	}
	return out
}

func dumpDocumentOf(d *event.Document) *dumpDocument {
	return &dumpDocument{
		Version: d.Version, CreatedBy: text(d.CreatedBy), CreatedAt: instant{d.CreatedAt},
		UpdatedBy: text(d.UpdatedBy), UpdatedAt: instant{d.UpdatedAt}, Body: d.Body,
	}
}

func (d *dumpDocument) document(correlationID string) *event.Document {
	return &event.Document{
		CorrelationID: correlationID, Version: d.Version, CreatedBy: string(d.CreatedBy), CreatedAt: d.CreatedAt.Time,
		UpdatedBy: string(d.UpdatedBy), UpdatedAt: d.UpdatedAt.Time, Body: d.Body,
	}
}

func dumpStreamOf(p event.Position) dumpStream {
	return dumpStream{Name: text(p.Stream), Sequence: p.Sequence, Stored: instant{p.Stored}}
}

func (d *dumpStream) position() event.Position {
	return event.Position{Stream: string(d.Name), Sequence: d.Sequence, Stored: d.Stored.Time}
}

func dumpShareOf(d *event.Delivery) dumpShare {
	return dumpShare{
		Handler: text(d.Handler), Route: text(d.Route), Status: standing(d.Status), Reason: text(d.Reason),
		Attempts: d.Attempts, Uncharged: d.Uncharged, Interruptions: d.Interruptions, Generation: d.Generation,
		FirstAttempt: instant{d.FirstAttempt}, NextAttempt: instant{d.NextAttempt},
	}
}

func (d *dumpShare) delivery() event.Delivery {
	return event.Delivery{
		Handler: string(d.Handler), Route: string(d.Route), Status: event.Status(d.Status), Reason: event.Reason(d.Reason),
		Attempts: d.Attempts, Uncharged: d.Uncharged, Interruptions: d.Interruptions, Generation: d.Generation,
		FirstAttempt: d.FirstAttempt.Time, NextAttempt: d.NextAttempt.Time,
	}
}

func dumpStepOf(e *event.Entry) dumpStep {
	return dumpStep{
		At: instant{e.At}, Status: standing(e.Status), Attempt: e.Attempt, Handler: text(e.Handler),
		Reason: text(e.Reason), Detail: text(e.Detail), Code: e.Code, Duration: e.Duration.Microseconds(),
	}
}

func (d *dumpStep) entry() event.Entry {
	return event.Entry{
		At: d.At.Time, Status: event.Status(d.Status), Attempt: d.Attempt, Handler: string(d.Handler),
		Reason: event.Reason(d.Reason), Detail: string(d.Detail), Code: d.Code, Duration: time.Duration(d.Duration) * time.Microsecond,
	}
}

func (d *dumpEvent) event() *event.Event {
	e := &event.Event{
		Seq: d.Seq, Table: d.Table, ID: string(d.ID), MessageType: string(d.MessageType),
		SourceService: string(d.SourceService), TargetService: string(d.TargetService), Topic: string(d.Topic),
		CorrelationID: string(d.CorrelationID), CausationID: string(d.CausationID),
		CreatedBy: string(d.CreatedBy), CreatedAt: d.CreatedAt.Time, ContentType: string(d.ContentType), Hops: d.Hops,
		DeliverAt: d.DeliverAt.Time, Expires: d.Expires.Time,
		Attributes: d.Attributes, Literals: converted[string](d.Literals), Headers: d.Headers, Source: string(d.Source),
	}
	if d.Stream != nil {
		e.Position = d.Stream.position()
	}
	return e
}

func (d *dumpEvent) state() event.State {
	s := event.State{
		Status: event.Status(d.Status), Reason: event.Reason(d.Reason),
		UpdatedBy: string(d.UpdatedBy), UpdatedAt: d.UpdatedAt.Time, PayloadRow: d.PayloadRow,
	}
	for i := range d.Deliveries {
		s.Deliveries = append(s.Deliveries, d.Deliveries[i].delivery())
	}
	for i := range d.Timeline {
		s.Timeline = append(s.Timeline, d.Timeline[i].entry())
	}
	return s
}

func (d *dumpPayload) payload() event.Payload {
	p := event.Payload{
		Topic: string(d.Topic), SourceService: string(d.SourceService), TargetService: string(d.TargetService),
		ContentType: string(d.ContentType), CreatedBy: string(d.CreatedBy), CreatedAt: d.CreatedAt.Time, Removed: d.Removed,
	}
	if d.Body != nil {
		p.Body = append([]byte{}, *d.Body...) // not nil: that is the event's own
	}
	return p
}

// decodeRow reads a payload row beyond the first.
func decodeRow(v []byte) (p dumpPayload, err error) {
	var d body
	if err := decodeSealed(v, &d); err != nil {
		return p, err
	}
	p = dumpPayload{
		Topic: text(d.Topic), SourceService: text(d.SourceService), TargetService: text(d.TargetService),
		ContentType: text(d.ContentType), CreatedBy: text(d.CreatedBy), CreatedAt: instant{fromMicros(d.CreatedAt)},
		Row: d.Row, Removed: d.Removed,
	}
	if !d.Own && !(d.Removed && d.Body == nil) {
		b := dumpBody(d.Body)
		p.Body = &b
	}
	return p, nil
}

// decodePublication reads an outbox row. own: its body is the event's payload, or
// that of one of its payload rows.
func decodePublication(v []byte) (p event.Publication, own bool, row int, err error) {
	var d publication
	err = decodeSealed(v, &d)
	return event.Publication{Subject: d.Subject, Header: d.Header, Body: d.Body, EventSeq: d.Seq}, d.Own, d.Row, err
}

func decodePosition(v []byte) (event.Position, error) {
	var d position
	err := decodeSealed(v, &d)
	return event.Position{Stream: d.Stream, Sequence: d.Sequence, Stored: fromNanos(d.Stored)}, err
}

func decodeSealed(v []byte, into any) error {
	b, err := unsealed(v)
	if err != nil {
		return err
	}
	if lenient.Unmarshal(b, into) != nil {
		return errDamaged
	}
	return nil
}

// encodePublication writes an outbox row down as it stood.
func encodePublication(d *dumpPublication) ([]byte, error) {
	p := publication{Subject: string(d.Subject), Header: d.Header, Seq: d.Seq, Own: d.Body == nil, Row: d.Row}
	if d.Body != nil {
		p.Body = *d.Body
	}
	c, err := cbor.Marshal(p)
	return sealed(c), err
}

func encodePosition(p event.Position) ([]byte, error) {
	c, err := cbor.Marshal(position{Stream: p.Stream, Sequence: p.Sequence, Stored: nanos(p.Stored)})
	return sealed(c), err
}
