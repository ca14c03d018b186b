package envelope

import (
	"strconv"

	"github.com/eventd-io/eventd/event"
)

// EncodeElement returns an attempt as one element of a CloudEvents batch in
// JSON, and the CloudEvents source in it. What stands in headers of a single
// attempt are extension attributes: eventdattempt, eventdroute and eventdtable.
// Headers that the event arrived with are not there: a batch has no place for
// them. The event must have a message type.
func EncodeElement(a *event.Attempt, ceSource string) (element []byte, source string) {
	return structuredBody(a.Event, a.Payload, ceSource,
		Field{Name: "eventdattempt", Value: strconv.Itoa(a.Number)},
		Field{Name: "eventdroute", Value: a.Route},
		Field{Name: "eventdtable", Value: a.Event.Table.String()},
	), sourceOf(a.Event, ceSource)
}

// EncodeBatch returns the headers and the body of a request with these elements.
// The headers are written over those in buffer, which may be nil. id names the
// request.
func EncodeBatch(buffer Fields, id string, elements [][]byte) (fields Fields, body []byte) {
	h := buffer[:0]
	h.add("Content-Type", batchType)
	h.add("Webhook-Id", safe(id))
	size := len("[]")
	for _, e := range elements {
		size += len(e) + len(",")
	}
	body = append(make([]byte, 0, size), '[')
	for i, e := range elements {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e...)
	}
	return h, append(body, ']')
}
