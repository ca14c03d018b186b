package storage

import (
	"bytes"
	"math"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
)

// A head is the record of an [event.Event]. Its ids stand first and plain, so
// that the id index can be rebuilt without decoding the rest:
//
//	version 1 | id | correlation id, "" when it is the id | CBOR of headBody
const headVersion = 1

// headBody is the rest of a head. Numbers of fields are stored: never reuse one.
type headBody struct {
	Table         uint8             `cbor:"1,keyasint"`
	MessageType   string            `cbor:"2,keyasint,omitempty"`
	SourceService string            `cbor:"3,keyasint,omitempty"`
	TargetService string            `cbor:"4,keyasint,omitempty"`
	Topic         string            `cbor:"5,keyasint,omitempty"`
	CausationID   string            `cbor:"6,keyasint,omitempty"`
	CreatedBy     string            `cbor:"7,keyasint,omitempty"`
	CreatedAt     uint64            `cbor:"8,keyasint"` // microseconds
	ContentType   string            `cbor:"9,keyasint,omitempty"`
	Hops          int               `cbor:"10,keyasint,omitempty"`
	DeliverAt     uint64            `cbor:"11,keyasint,omitempty"`
	Expires       uint64            `cbor:"12,keyasint,omitempty"`
	Attributes    map[string]string `cbor:"13,keyasint,omitempty"`
	Headers       map[string]string `cbor:"14,keyasint,omitempty"`
	Source        string            `cbor:"15,keyasint,omitempty"`
	Stream        string            `cbor:"16,keyasint,omitempty"`
	StreamSeq     uint64            `cbor:"17,keyasint,omitempty"`
	StreamTime    int64             `cbor:"18,keyasint,omitempty"` // nanoseconds, as the server gives it
	Literals      []string          `cbor:"25,keyasint,omitempty"`
}

// lenient decodes text that is not UTF-8 as it was received: what a message
// said is kept, right or wrong. It takes as many headers as were written.
var lenient, _ = cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid, MaxMapPairs: math.MaxInt32}.DecMode()

// headSpace is about how long a head is.
const headSpace = 384

// headWriter writes heads one behind the other.
type headWriter struct {
	bytes.Buffer
	body headBody // of the last one: encoding one on the stack would copy it to the heap
}

func encodeHead(e *event.Event) ([]byte, error) {
	var w headWriter
	err := w.write(e)
	return w.Bytes(), err
}

func (w *headWriter) write(e *event.Event) error {
	correlation := e.CorrelationID
	if correlation == e.ID {
		correlation = ""
	}
	w.Grow(headSpace)
	w.WriteByte(headVersion)
	w.Write(appendString(w.AvailableBuffer(), e.ID))
	w.Write(appendString(w.AvailableBuffer(), correlation))
	w.body = headBody{
		Table: uint8(e.Table), MessageType: e.MessageType,
		SourceService: e.SourceService, TargetService: e.TargetService,
		Topic: e.Topic, CausationID: e.CausationID, CreatedBy: e.CreatedBy,
		CreatedAt: micros(e.CreatedAt), ContentType: e.ContentType, Hops: e.Hops,
		DeliverAt: optionalMicros(e.DeliverAt), Expires: optionalMicros(e.Expires),
		Attributes: e.Attributes, Literals: e.Literals, Headers: e.Headers, Source: e.Source,
		Stream: e.Position.Stream, StreamSeq: e.Position.Sequence, StreamTime: nanos(e.Position.Stored),
	}
	return cbor.MarshalToBuffer(&w.body, &w.Buffer)
}

// headIDs returns the ids of a head. They alias it; correlation is nil when it
// is the id.
func headIDs(b []byte) (id, correlation []byte, rest []byte, err error) {
	r := reader{b: b}
	if r.byte() != headVersion {
		return nil, nil, nil, errDamaged
	}
	id, correlation = r.bytes(), r.bytes()
	if r.bad {
		return nil, nil, nil, errDamaged
	}
	if len(correlation) == 0 {
		correlation = nil
	}
	return id, correlation, r.b, nil
}

func decodeHead(seq uint64, b []byte) (*event.Event, error) {
	id, correlation, rest, err := headIDs(b)
	if err != nil {
		return nil, err
	}
	var h headBody
	if err := lenient.Unmarshal(rest, &h); err != nil {
		return nil, errDamaged
	}
	if correlation == nil {
		correlation = id
	}
	e := &event.Event{
		Seq: seq, Table: event.Table(h.Table), ID: string(id), MessageType: h.MessageType,
		SourceService: h.SourceService, TargetService: h.TargetService, Topic: h.Topic,
		CorrelationID: string(correlation), CausationID: h.CausationID,
		CreatedBy: h.CreatedBy, CreatedAt: fromMicros(h.CreatedAt), ContentType: h.ContentType,
		Hops: h.Hops, DeliverAt: optionalTime(h.DeliverAt), Expires: optionalTime(h.Expires),
		Attributes: h.Attributes, Literals: h.Literals, Headers: h.Headers, Source: h.Source,
	}
	if h.StreamSeq > 0 {
		e.Position = event.Position{Stream: h.Stream, Sequence: h.StreamSeq, Stored: fromNanos(h.StreamTime)}
	}
	return e, nil
}

func optionalMicros(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

func optionalTime(us uint64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return fromMicros(us)
}

// nanos keeps a server's time as it gave it. The zero time has no nanoseconds
// since 1970 that fit: it becomes 0.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
