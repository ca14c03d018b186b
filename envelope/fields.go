package envelope

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// fields are the headers of a message, sorted out. Ids and attributes are as
// they came, even if that is not UTF-8: made valid, two of them could become the
// same.
type fields struct {
	contentType   string
	messageType   string // Eventd-Message-Type
	messageID     string // Nats-Msg-Id
	correlationID string
	causationID   string
	deliverAt     string
	delay         string
	attributes    map[string]string // of CloudEvents binary mode, decoded; names in lower case
	flaw          error             // of one that cannot be decoded
	rest          map[string]string // goes along with the event
}

// sortOut reads headers, whatever the case of their names. They are taken in
// order, so that names that differ in case only give the same event each time.
func sortOut(header map[string][]string, by carrier) *fields {
	var room [24]string
	names := room[:0]
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	f := &fields{}
	for _, name := range names {
		if values := header[name]; len(values) > 0 {
			f.add(name, values, by)
		}
	}
	f.contentType = strings.ToValidUTF8(f.contentType, replacement)
	return f
}

// carrier is what headers came with.
type carrier int

const (
	byNATS carrier = iota
	byRequest
	byReply // of a handler: most of its headers are about the answer
)

// carries reports whether a header, its name in lower case, can be about the event.
func (c carrier) carries(lower string) bool {
	switch c {
	case byRequest:
		return !ofExchange(lower)
	case byReply:
		switch lower {
		case "content-type", "correlation-id", "causation-id", "eventd-deliver-at", "eventd-delay", "traceparent", "tracestate":
			return true
		}
		return strings.HasPrefix(lower, "ce-")
	}
	return true
}

// lowered are the names in lower case that nearly every answer has.
var lowered = map[string]string{"Content-Type": "content-type", "Content-Length": "content-length", "Date": "date",
	"Ce-Specversion": "ce-specversion", "Ce-Id": "ce-id", "Ce-Source": "ce-source", "Ce-Type": "ce-type", "Ce-Time": "ce-time"}

func lowerCase(name string) string {
	if lower, ok := lowered[name]; ok {
		return lower
	}
	return strings.ToLower(name)
}

func (f *fields) add(name string, values []string, by carrier) {
	lower := lowerCase(name)
	if by == byReply && !by.carries(lower) {
		return
	}
	if field := f.named(lower); field != nil {
		if *field == "" {
			*field = values[0]
		}
		return
	}
	if attribute, ok := strings.CutPrefix(lower, "ce-"); ok {
		value, ok := decodeValue(values[0])
		if !ok && f.flaw == nil {
			f.flaw = fmt.Errorf("CloudEvents attribute %s: what is percent-encoded is not UTF-8: %s", quote(attribute), quote(value))
		}
		set(&f.attributes, attribute, value)
		return
	}
	if travels(lower) && by.carries(lower) {
		set(&f.rest, strings.ToValidUTF8(name, replacement), strings.ToValidUTF8(strings.Join(values, ", "), replacement))
	}
}

// named returns the field for a header that eventd itself reads.
func (f *fields) named(lower string) *string {
	switch lower {
	case "content-type":
		return &f.contentType
	case "eventd-message-type":
		return &f.messageType
	case "nats-msg-id":
		return &f.messageID
	case "correlation-id":
		return &f.correlationID
	case "causation-id":
		return &f.causationID
	case "eventd-deliver-at":
		return &f.deliverAt
	case "eventd-delay":
		return &f.delay
	}
	return nil
}

// set keeps the first value of a name.
func set(m *map[string]string, name, value string) {
	if *m == nil {
		*m = make(map[string]string)
	}
	if _, ok := (*m)[name]; !ok {
		(*m)[name] = value
	}
}

// decodeValue undoes what the HTTP binding of CloudEvents does to the value of
// an attribute: quotes, then one round of percent-encoding. A value that was
// never encoded is returned as it is. It is not ok when it would not be text.
func decodeValue(s string) (value string, ok bool) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = unquote(s[1 : len(s)-1])
	}
	if strings.IndexByte(s, '%') >= 0 {
		if plain, err := url.PathUnescape(s); err == nil {
			if !utf8.ValidString(plain) {
				return s, false
			}
			return plain, true
		}
	}
	return s, true
}

// unquote takes the backslashes out of a quoted string of HTTP.
func unquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// due returns the time before which the event must not be handed out, zero for
// none. A delay counts from when the message was sent.
func (f *fields) due(sent time.Time) (time.Time, error) {
	if f.deliverAt != "" {
		at, err := time.Parse(time.RFC3339, f.deliverAt)
		if err != nil {
			return time.Time{}, fmt.Errorf("header Eventd-Deliver-At is no RFC 3339 time: %s", quote(f.deliverAt))
		}
		return at.UTC(), nil
	}
	if f.delay == "" {
		return time.Time{}, nil
	}
	delay, err := time.ParseDuration(f.delay)
	if err != nil {
		return time.Time{}, fmt.Errorf("header Eventd-Delay is no duration such as 90s or 2h: %s", quote(f.delay))
	}
	if delay <= 0 {
		return time.Time{}, nil
	}
	return sent.Add(delay).UTC(), nil
}
