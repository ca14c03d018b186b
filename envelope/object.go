package envelope

import (
	"encoding/base64"
	"maps"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/eventd-io/eventd/event"
)

// structuredBody returns an event as one CloudEvents JSON object, the same
// bytes at each attempt. The attributes in more win over those of the event.
func structuredBody(e *event.Event, payload []byte, ceSource string, more ...Field) []byte {
	attributes := make(map[string]string, 8+len(e.Attributes)+len(more))
	eachAttribute(e, ceSource, func(name, value string) { attributes[name] = value })
	for _, f := range more {
		if f.Value != "" { // no attribute may be empty
			attributes[f.Name] = f.Value
		}
	}
	contentType := e.ContentType
	if _, _, err := mime.ParseMediaType(contentType); err != nil {
		contentType = ""
	} else {
		attributes["datacontenttype"] = contentType
	}
	b := make([]byte, 0, 512+len(payload)+len(payload)/2)
	for i, name := range slices.Sorted(maps.Keys(attributes)) {
		b = append(b, "{,"[min(i, 1)])
		b = gjson.AppendJSONString(b, name)
		b = append(b, ':')
		if value := attributes[name]; slices.Contains(e.Literals, name) && isLiteral(value) {
			b = append(b, value...)
		} else {
			b = gjson.AppendJSONString(b, value)
		}
	}
	if len(payload) > 0 {
		b = appendData(b, payload, contentType)
	}
	return append(b, '}')
}

// isLiteral reports whether a value is a truth value or a whole number of JSON.
func isLiteral(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return s == "true" || s == "false" ||
		digits != "" && strings.Trim(digits, "0123456789") == "" && (digits == "0" || digits[0] != '0')
}

// appendData appends a payload: JSON as it is, text as a string, all else in
// base64, and so too what only claims to be JSON or text.
func appendData(b, payload []byte, contentType string) []byte {
	switch valid := utf8.Valid(payload); {
	case valid && isJSON(contentType) && validJSON(payload):
		b = append(b, `,"data":`...)
		return append(b, payload...)
	case valid && !isJSON(contentType) && strings.HasPrefix(mediaType(contentType), "text/"):
		b = append(b, `,"data":`...)
		return gjson.AppendJSONString(b, string(payload))
	}
	b = append(b, `,"data_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, payload)
	return append(b, '"')
}
