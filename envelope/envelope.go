// Package envelope knows the forms an event takes outside of eventd:
// CloudEvents in binary and structured mode, batches of them, plain JSON, and
// bare headers. It turns a received message into an event and an attempt into
// what is sent out.
//
// What holds always:
//   - [Decode] takes any input and keeps its bytes: what is no event in any
//     known form comes back with a Problem and a Detail for people.
//   - All text of a decoded event is valid UTF-8, an id or a message type holds
//     no control characters and at most [MaxName] bytes.
//   - The same message decodes to the same event, however often it is received.
//   - [Encode] returns headers that may be sent as they are, whatever the event
//     arrived with.
//
// Payloads are never copied: a decoded payload may be a part of the body it
// came in, an encoded body may be the payload itself.
//
// Reading order: envelope.go (what goes in and out), fields.go (headers sorted
// out), bare.go, binary.go, structured.go, plain.go (the forms), attributes.go
// (what CloudEvents demands), encode.go and batch.go (the way out).
package envelope

import (
	"errors"
	"strings"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Errors that [DecodeRequest] wraps.
var (
	// ErrMalformed: the request is no event in any known form.
	ErrMalformed = errors.New("malformed event")
	// ErrTooMany: the request holds more events than are taken at once.
	ErrTooMany = errors.New("too many events")
)

// MaxName is the greatest length of ids, message types and service names, in bytes.
const MaxName = 512

// Origin is what is known of a message before it is decoded.
type Origin struct {
	Table         event.Table
	Source        string // the configured source, "" for the API and replies
	SourceService string
	TargetService string
	Topic         string // the subject it was received on
	MessageType   string // only for messages that do not say it
	CreatedBy     string
	Position      event.Position
	At            time.Time // when it was received
}

// message returns what the origin alone says of an event.
func (o *Origin) message() event.Message {
	return event.Message{Event: event.Event{
		Table: o.Table, Source: o.Source,
		SourceService: o.SourceService, TargetService: o.TargetService, CreatedBy: o.CreatedBy,
		Topic: strings.ToValidUTF8(o.Topic, replacement), Position: o.Position, CreatedAt: o.At,
	}}
}

// sent returns when the message was sent, as far as that is known: a delay
// does not start anew when a message is delivered again.
func (o *Origin) sent() time.Time {
	if !o.Position.Stored.IsZero() {
		return o.Position.Stored
	}
	return o.At
}

// Format is the form in which events are sent out.
type Format uint8

// The formats. Binary is the zero value.
const (
	Binary     Format = iota // the payload as it is, CloudEvents attributes in headers
	Structured               // one CloudEvents JSON object with the payload in it
	Raw                      // the payload as it is, no CloudEvents attributes
)

// contentForm is what a Content-Type says about the form of a message.
type contentForm uint8

const (
	otherForm contentForm = iota
	structuredForm
	batchForm
	unknownForm // a CloudEvents format that is not supported
)

const (
	structuredType = "application/cloudevents+json"
	batchType      = "application/cloudevents-batch+json"
	jsonType       = "application/json"
)

// formOf returns the form that a Content-Type announces.
func formOf(contentType string) contentForm {
	switch mt := mediaType(contentType); mt {
	case structuredType, "application/cloudevents":
		return structuredForm
	case batchType:
		return batchForm
	default:
		if strings.HasPrefix(mt, "application/cloudevents") {
			return unknownForm
		}
		return otherForm
	}
}

// mediaType returns a Content-Type in lower case and without its parameters.
func mediaType(contentType string) string {
	mt, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(mt))
}

// isJSON reports whether a payload of this Content-Type is JSON: */json or */*+json.
func isJSON(contentType string) bool {
	_, subtype, _ := strings.Cut(mediaType(contentType), "/")
	return subtype == "json" || strings.HasSuffix(subtype, "+json")
}
