package envelope

import (
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Field is one header.
type Field = event.Field

// Fields are headers. No name is there twice.
type Fields []Field

func (h *Fields) index(name string) int {
	for i := range *h {
		if (*h)[i].Name == name {
			return i
		}
	}
	return -1
}

// add sets a header that is not there yet. The name must be canonical, the value valid.
func (h *Fields) add(name, value string) { *h = append(*h, Field{Name: name, Value: value}) }

// Encode returns what is sent out for an attempt. The names of the headers are
// in canonical form, no header is there twice, and all may be sent as they
// are: what HTTP cannot carry is percent-encoded in attributes of CloudEvents
// and names, and left out among the headers that the event arrived with.
//
// CeSource is the CloudEvents source of events that came without one; the
// source service is appended to it as a path. An event without message type
// goes out raw, for it is no CloudEvent. The headers are written over those in
// buffer, which may be nil. The body is the payload itself but in structured
// form: it must not be changed.
func Encode(buffer Fields, a *event.Attempt, f Format, ceSource string) (fields Fields, body []byte) {
	e := a.Event
	if e.MessageType == "" {
		f = Raw
	}
	h := buffer[:0]
	body = a.Payload
	switch f {
	case Structured:
		h.add("Content-Type", structuredType)
		body = structuredBody(e, a.Payload, ceSource)
	case Raw:
		h.bare(e)
	default:
		h.binary(e, ceSource)
	}
	if f != Structured && e.ContentType != "" && validValue(e.ContentType) {
		h.add("Content-Type", e.ContentType)
	}
	h.travelling(e, f)
	h.own(a)
	return h, body
}

// own adds what eventd says of every attempt.
func (h *Fields) own(a *event.Attempt) {
	h.add("Webhook-Id", safe(a.Event.ID))
	h.add("Eventd-Attempt", strconv.Itoa(a.Number))
	h.add("Eventd-Route", safe(a.Route))
	h.add("Eventd-Table", a.Event.Table.String())
	if a.ClaimID != "" {
		h.add("Eventd-Claim-Id", a.ClaimID)
	}
	for _, name := range []string{"traceparent", "tracestate"} {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if v := a.Event.Attributes[name]; v != "" && validValue(v) && h.index(canonical) < 0 {
			h.add(canonical, v)
		}
	}
}

// bare adds what a handler without CloudEvents needs to know.
func (h *Fields) bare(e *event.Event) {
	for _, v := range []struct{ name, value string }{
		{"Eventd-Message-Type", e.MessageType}, {"Correlation-Id", e.CorrelationID}, {"Causation-Id", e.CausationID},
	} {
		if v.value != "" {
			h.add(v.name, safe(v.value))
		}
	}
}

// travelling adds the headers that the event arrived with, none of which has
// the name of one of eventd's own. Of two whose names differ in case only, the
// one with the smaller value is sent, at each attempt the same.
func (h *Fields) travelling(e *event.Event, f Format) {
	for name, value := range e.Headers {
		if !validName(name) || !validValue(value) || !travels(strings.ToLower(name)) {
			continue
		}
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if f == Structured && canonical == "Content-Encoding" {
			continue // it was about the payload, which is no longer the body
		}
		if i := h.index(canonical); i < 0 {
			h.add(canonical, value)
		} else if value < (*h)[i].Value {
			(*h)[i].Value = value
		}
	}
}

// binary adds the attributes of a CloudEvent in binary mode.
func (h *Fields) binary(e *event.Event, ceSource string) {
	eachAttribute(e, ceSource, func(name, value string) {
		h.add(attributeHeader(name), encodeValue(value))
	})
}

// eachAttribute calls f with each attribute of the event as a CloudEvent but
// datacontenttype, those that must be there first.
func eachAttribute(e *event.Event, ceSource string, f func(name, value string)) {
	f("specversion", specVersion)
	f("id", e.ID)
	f("source", sourceOf(e, ceSource))
	f("type", e.MessageType)
	if e.Attributes["time"] == "" {
		f("time", e.CreatedAt.UTC().Format(time.RFC3339Nano))
	}
	if e.CorrelationID != "" {
		f("correlationid", e.CorrelationID)
	}
	if e.CausationID != "" {
		f("causationid", e.CausationID)
	}
	for name, value := range e.Attributes {
		if !hasField[name] && value != "" && validAttribute(name) {
			f(name, value)
		}
	}
}

// hasField lists the attributes that are not taken from Attributes.
var hasField = map[string]bool{"specversion": true, "id": true, "source": true, "type": true,
	"datacontenttype": true, "correlationid": true, "causationid": true, "data": true, "data_base64": true}

// sourceOf returns the CloudEvents source: that which the event came with, or
// one that names the service it came from.
func sourceOf(e *event.Event, ceSource string) string {
	if s := e.Attributes["source"]; s != "" {
		return s
	}
	if ceSource == "" {
		ceSource = "/eventd"
	}
	if e.SourceService == "" {
		return ceSource
	}
	return ceSource + "/" + url.PathEscape(e.SourceService)
}

// attributeHeader returns the canonical header name of an attribute.
func attributeHeader(name string) string {
	switch name {
	case "specversion":
		return "Ce-Specversion"
	case "id":
		return "Ce-Id"
	case "source":
		return "Ce-Source"
	case "type":
		return "Ce-Type"
	case "time":
		return "Ce-Time"
	case "correlationid":
		return "Ce-Correlationid"
	case "causationid":
		return "Ce-Causationid"
	}
	return "Ce-" + strings.ToUpper(name[:1]) + name[1:]
}
