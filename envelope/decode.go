package envelope

import (
	"errors"
	"strconv"
	"strings"

	"github.com/eventd-io/eventd/event"
)

// Decode turns a received message into an event. It takes the first form that
// fits: CloudEvents structured, CloudEvents binary, JSON with top-level
// event_id and message_type, the headers Eventd-Message-Type and Nats-Msg-Id,
// the message type of the origin.
//
// It never fails. A message that fits none, or is a broken CloudEvent, comes
// back whole with Problem [event.Undecodable] and a Detail that says what is
// missing. The ID of a message that names none is derived from its position
// and is "" when it has none. The payload shares memory with body.
func Decode(header map[string][]string, body []byte, o Origin) event.Message {
	f := sortOut(header, byNATS)
	m, err := f.decode(body, &o)
	if err != nil {
		m = f.keep(body, &o, event.Undecodable, err.Error())
	}
	if m.ID == "" && !o.Position.IsZero() {
		m.ID = idOf(o.Position)
	}
	return m
}

func (f *fields) decode(body []byte, o *Origin) (event.Message, error) {
	switch formOf(f.contentType) {
	case structuredForm:
		return f.structured(body, o)
	case batchForm:
		return event.Message{}, errors.New("a batch of CloudEvents cannot be one event: publish each as a message of its own")
	case unknownForm:
		return event.Message{}, errors.New("CloudEvents come as JSON, " + quote(f.contentType) + " is not supported")
	}
	if f.attributes["type"] != "" {
		return f.binary(body, o)
	}
	return f.bare(body, o)
}

// Refuse turns a received message into an event that holds it as it came, whole
// and undecoded: with the given problem, an ID derived from its position, and
// nothing that it says of itself but as headers.
func Refuse(header map[string][]string, body []byte, o Origin, problem event.Reason, detail string) event.Message {
	m := sortOut(header, byNATS).keep(body, &o, problem, detail)
	m.ID = idOf(o.Position)
	for name, values := range header { // for people; they do not travel on
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "webhook-") {
			set(&m.Headers, strings.ToValidUTF8(lower, replacement), strings.ToValidUTF8(strings.Join(values, ", "), replacement))
		}
	}
	return m
}

// DecodeAgain decodes what was kept as it came, as if it came now from o, whose
// subject and position are those of e. It is [Decode] otherwise. What was no text when
// it came stays undecodable: two ids could be the same since.
func DecodeAgain(e *event.Event, payload []byte, o Origin) event.Message {
	header := make(map[string][]string, len(e.Headers)+1)
	for name, value := range e.Headers {
		if strings.Contains(name+value, replacement) || strings.Contains(value, encodedReplacement) {
			return event.Message{Event: *e, Problem: event.Undecodable, Detail: "header " + quote(name) + " was not valid UTF-8"}
		}
		header[name] = []string{value}
	}
	if e.ContentType != "" {
		header["content-type"] = []string{e.ContentType}
	}
	o.Topic, o.Position = e.Topic, e.Position
	return Decode(header, payload, o)
}

// encodedReplacement is what stands in an encoded value for bytes that were no text.
const encodedReplacement = "%EF%BF%BD"

// idOf returns an ID that is the same whenever this message is delivered.
func idOf(p event.Position) string {
	return event.DeriveID(p.Stream, strconv.FormatUint(p.Sequence, 10), strconv.FormatInt(p.Stored.UnixNano(), 10))
}

// keep returns a message that is not decoded, with all it arrived with.
func (f *fields) keep(body []byte, o *Origin, problem event.Reason, detail string) event.Message {
	m := o.message()
	m.ContentType, m.Headers, m.Payload = f.contentType, f.rest, body
	for name, value := range map[string]string{ // of the headers that eventd itself reads
		"eventd-message-type": f.messageType, "nats-msg-id": f.messageID, "correlation-id": f.correlationID,
		"causation-id": f.causationID, "eventd-deliver-at": f.deliverAt, "eventd-delay": f.delay,
	} {
		if value != "" {
			set(&m.Headers, name, strings.ToValidUTF8(value, replacement))
		}
	}
	for name, value := range f.attributes {
		set(&m.Headers, strings.ToValidUTF8("ce-"+name, replacement), encodeValue(strings.ToValidUTF8(value, replacement)))
	}
	m.Problem, m.Detail = problem, detail
	return m
}

// complete gives a decoded message what the headers say in all forms, and
// checks what identifies it. An empty id is left to the caller.
func (f *fields) complete(m *event.Message, o *Origin) (err error) {
	if err = checkName("message_type", m.MessageType); err != nil {
		return err
	}
	if f.correlationID != "" && m.CorrelationID == "" {
		m.CorrelationID = f.correlationID
	}
	if f.causationID != "" && m.CausationID == "" {
		m.CausationID = f.causationID
	}
	for _, v := range []struct{ what, value string }{
		{"event_id", m.ID}, {"correlation_id", m.CorrelationID}, {"causation_id", m.CausationID},
	} {
		if err = checkOptional(v.what, v.value); err != nil {
			return err
		}
	}
	m.Headers = f.rest
	m.DeliverAt, err = f.due(o.sent())
	return err
}

// bare decodes a message that is no CloudEvent: its id and type stand in its
// JSON, in its headers or in the origin.
func (f *fields) bare(body []byte, o *Origin) (event.Message, error) {
	m := o.message()
	m.Payload, m.ContentType = body, f.contentType
	in, flaw := look(body)
	if flaw == "" && m.ContentType == "" {
		m.ContentType = jsonType
	}
	switch {
	case in.messageType.given && in.eventID.given:
		m.MessageType, m.ID = in.messageType.value, in.eventID.value
	case f.messageType != "":
		m.MessageType, m.ID = f.messageType, either(f.messageID, in.eventID.value)
	case in.messageType.given:
		m.MessageType, m.ID = in.messageType.value, f.messageID
	case in.isCloudEvent(body):
		return f.object(body, parse(body), o)
	case o.MessageType != "":
		m.MessageType, m.ID = o.MessageType, either(in.eventID.value, f.messageID)
	default:
		return event.Message{}, errors.New(f.missing(flaw))
	}
	if in.eventID.given && in.eventID.value == "" {
		return event.Message{}, errors.New("event_id is empty")
	}
	// The header counts before the JSON, which may be someone else's.
	m.CorrelationID, m.CausationID = either(f.correlationID, in.correlationID.value), either(f.causationID, in.causationID.value)
	return m, f.complete(&m, o)
}

// missing tells people what a message lacks to be an event. Flaw is why its
// body says no message type.
func (f *fields) missing(flaw string) string {
	if flaw == "" {
		flaw = "has no message_type"
	}
	cloud := "no CloudEvent (no header ce-type)"
	if len(f.attributes) > 0 {
		cloud = "no whole CloudEvent (it has ce- headers, but no ce-type)"
	}
	return strings.Join([]string{"it says no message type: " + cloud, "the body " + flaw,
		"no header Eventd-Message-Type", "and the source has no message_type"}, ", ")
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
