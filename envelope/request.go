package envelope

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/eventd-io/eventd/event"
)

// DecodeRequest reads the events of a request to the API or of a handler's
// reply, at most max of them: a CloudEvent in binary or structured mode, a
// batch of them, or as application/json an object
//
//	{"message_type": …, "event_id": …, "payload": …, "content_type": …,
//	 "correlation_id": …, "causation_id": …,
//	 "source_service": …, "target_service": …, "topic": …}
//
// or an array of those. Only message_type must be there, and nothing else may.
// An event that names no id has ID "".
//
// Errors are the sender's mistake: they wrap [ErrMalformed] or [ErrTooMany] and
// say which entry is wrong; no event is returned then. Payloads share memory
// with body.
func DecodeRequest(header map[string][]string, body []byte, o Origin, max int) ([]event.Message, error) {
	return requested(sortOut(header, byRequest), body, o, max)
}

// DecodeReply is [DecodeRequest] for the answer of a handler. Most of its headers
// are about the answer and what happened to it on its way: they are no part of an
// event.
func DecodeReply(header map[string][]string, body []byte, o Origin, max int) ([]event.Message, error) {
	return requested(sortOut(header, byReply), body, o, max)
}

func requested(f *fields, body []byte, o Origin, max int) ([]event.Message, error) {
	msgs, err := f.request(body, &o, max)
	switch {
	case err == nil:
		return msgs, nil
	case errors.Is(err, ErrTooMany):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
}

// IsCloudEvent reports whether the headers announce a CloudEvent, whole or
// broken: its Content-Type is one of theirs, or a required attribute is there.
func IsCloudEvent(header map[string][]string) bool {
	for name, values := range header {
		switch {
		case len(values) == 0:
		case strings.EqualFold(name, "Content-Type") && formOf(values[0]) != otherForm:
			return true
		case len(name) > 3 && strings.EqualFold(name[:3], "ce-") && required[strings.ToLower(name[3:])]:
			return true
		}
	}
	return false
}

// required lists the attributes that each CloudEvent has.
var required = map[string]bool{"specversion": true, "id": true, "source": true, "type": true}

// binaryMode reports whether the headers are meant as those of a CloudEvent.
func (f *fields) binaryMode() bool {
	for name := range f.attributes {
		if required[name] {
			return true
		}
	}
	return false
}

func (f *fields) request(body []byte, o *Origin, max int) ([]event.Message, error) {
	switch form := formOf(f.contentType); {
	case form == structuredForm:
		return one(f.structuredReply(body, o))
	case form == batchForm:
		return f.list(body, o, max, f.object)
	case form == unknownForm:
		return nil, fmt.Errorf("CloudEvents come as JSON, %s is not supported", quote(f.contentType))
	case f.binaryMode():
		return one(f.binaryReply(body, o))
	case f.contentType != "" && mediaType(f.contentType) != jsonType:
		return nil, fmt.Errorf("it is no CloudEvent, and its Content-Type is %s and not %s", quote(f.contentType), jsonType)
	case !validJSON(body):
		return nil, errors.New("the body is not valid JSON")
	}
	if v := parse(body); !v.IsArray() {
		return one(f.plain(body, v, o))
	}
	return f.list(body, o, max, f.plain)
}

func one(m event.Message, err error) ([]event.Message, error) {
	if err != nil {
		return nil, err
	}
	return []event.Message{m}, nil
}

// entry decodes one value that is a part of body.
type entry func(body []byte, v gjson.Result, o *Origin) (event.Message, error)

// list decodes a JSON array of events. Each has its own copy of the headers.
func (f *fields) list(body []byte, o *Origin, max int, decode entry) (msgs []event.Message, err error) {
	if !validJSON(body) {
		return nil, errors.New("the body is not valid JSON")
	}
	array := parse(body)
	if !array.IsArray() {
		return nil, errors.New("the batch is no JSON array")
	}
	array.ForEach(func(_, v gjson.Result) bool {
		if len(msgs) == max {
			err = fmt.Errorf("%w: at most %d are taken at once", ErrTooMany, max)
			return false
		}
		var m event.Message
		if m, err = decode(body, v, o); err != nil {
			err = fmt.Errorf("events[%d]: %w", len(msgs), err)
			return false
		}
		m.Headers = maps.Clone(m.Headers)
		msgs = append(msgs, m)
		return true
	})
	return msgs, err
}
