package envelope

import (
	"bytes"
	"encoding/json"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// text is a string in JSON that may be missing, or be there and empty.
type text struct {
	value string
	given bool
}

// inside is what the top level of a JSON body says of the event.
type inside struct {
	eventID, messageType, serviceMessageType, correlationID, causationID text
	specVersion                                                          text // of a CloudEvent
}

// field returns where the value of a top-level key belongs, nil for others.
func (in *inside) field(key string) *text {
	switch key {
	case "event_id":
		return &in.eventID
	case "message_type":
		return &in.messageType
	case "service_message_type":
		return &in.serviceMessageType
	case "correlation_id":
		return &in.correlationID
	case "causation_id":
		return &in.causationID
	case "specversion":
		return &in.specVersion
	}
	return nil
}

// isCloudEvent reports whether a body with such an inside is a CloudEvent in the
// JSON format, as it stands there: NATS had no headers to say so for long.
func (in *inside) isCloudEvent(body []byte) bool {
	if !in.specVersion.given {
		return false
	}
	for _, name := range []string{"id", "source", "type"} {
		if parse(body).Get(name).Type != gjson.String {
			return false
		}
	}
	return true
}

// look reads the top level of a JSON object. The flaw is why it is none, "" when it is.
func look(body []byte) (in inside, flaw string) {
	switch start := bytes.TrimLeft(body, " \t\r\n"); {
	case len(start) == 0:
		return in, "is empty"
	case start[0] != '{' && !validJSON(body):
		return in, "is not JSON"
	case start[0] != '{':
		return in, "is JSON but not an object"
	case !validJSON(body):
		return in, "is not valid JSON"
	}
	parse(body).ForEach(func(key, value gjson.Result) bool {
		field := in.field(key.Str)
		if field == nil || field.given {
			return true
		}
		*field = textOf(value)
		return !in.complete(body[value.Index:])
	})
	if !in.messageType.given {
		in.messageType = in.serviceMessageType
	}
	return in, ""
}

// complete reports whether the rest of the body holds nothing more to find, so
// that a look ends early: what names an event mostly stands at its beginning.
// A backslash may hide a key.
func (in *inside) complete(rest []byte) bool {
	if !in.eventID.given || !in.messageType.given {
		return false
	}
	if in.correlationID.given && in.causationID.given {
		return true
	}
	return !bytes.Contains(rest, []byte(`tion_id"`)) && bytes.IndexByte(rest, '\\') < 0
}

// textOf takes strings, and whole numbers as they are written. Anything else
// is not meant for us and counts as missing.
func textOf(v gjson.Result) text {
	switch {
	case v.Type == gjson.String:
		return text{strings.Clone(v.Str), true} // v.Str is a part of the body
	case v.Type == gjson.Number && strings.Trim(v.Raw, "0123456789") == "":
		return text{strings.Clone(v.Raw), true}
	}
	return text{}
}

// maxNesting is how many brackets make a body suspicious: the quick validation
// is recursive and a few megabytes of "[" would exhaust the stack.
const maxNesting = 5000

// validJSON reports whether a body is one JSON value, nested at most 10,000 deep.
func validJSON(body []byte) bool {
	if bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > maxNesting {
		return json.Valid(body)
	}
	return gjson.ValidBytes(body)
}

// parse returns the value in a valid JSON body without copying the body, which
// for a message of 1 KB would cost as much as the look itself. What is kept of
// the strings in it must be cloned.
func parse(body []byte) gjson.Result {
	return gjson.Parse(unsafe.String(unsafe.SliceData(body), len(body))) //nolint:gosec // body is only read while the string lives
}
