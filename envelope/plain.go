package envelope

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/eventd-io/eventd/event"
)

// plain decodes one object of the JSON form that requests use.
func (f *fields) plain(body []byte, v gjson.Result, o *Origin) (event.Message, error) {
	m := o.message()
	if !v.IsObject() {
		return m, errors.New("it is no JSON object")
	}
	p := plainEvent{Message: &m}
	var err error
	v.ForEach(func(key, value gjson.Result) bool {
		err = p.add(key.Str, value)
		return err == nil
	})
	switch {
	case err != nil:
		return m, err
	case m.MessageType == "":
		return m, errors.New("message_type is missing")
	}
	if m.Payload, err = p.body(body); err != nil {
		return m, err
	}
	return m, f.complete(&m, o)
}

// plainEvent is such an object on its way to becoming a message.
type plainEvent struct {
	*event.Message
	payload gjson.Result
}

func (p *plainEvent) add(key string, v gjson.Result) error {
	if key == "payload" {
		p.payload = v
		return nil
	}
	field := p.field(key)
	switch {
	case field == nil:
		return unknownKey(key)
	case v.Type == gjson.Null:
		return nil
	case v.Type != gjson.String:
		return fmt.Errorf("%s is no string: %s", key, quote(v.Raw))
	}
	*field = strings.Clone(v.Str)
	return checkName(key, *field)
}

// field returns where the value of a key belongs, nil for an unknown one.
func (p *plainEvent) field(key string) *string {
	switch key {
	case "message_type":
		return &p.MessageType
	case "event_id":
		return &p.ID
	case "content_type":
		return &p.ContentType
	case "correlation_id":
		return &p.CorrelationID
	case "causation_id":
		return &p.CausationID
	case "source_service":
		return &p.SourceService
	case "target_service":
		return &p.TargetService
	case "topic":
		return &p.Topic
	}
	return nil
}

// body returns the payload: the text of a string when it is not JSON, and
// otherwise the JSON as it stands.
func (p *plainEvent) body(body []byte) ([]byte, error) {
	if !p.payload.Exists() {
		return nil, nil
	}
	if p.ContentType == "" {
		p.ContentType = jsonType
	}
	return dataOf(body, p.payload, p.ContentType)
}

// plainKeys are the keys of the form, for people who misspell one.
var plainKeys = []string{"message_type", "event_id", "payload", "content_type", "correlation_id", "causation_id",
	"source_service", "target_service", "topic"}

func unknownKey(key string) error {
	for _, known := range plainKeys {
		if distance(strings.ToLower(key), known) <= 2 {
			return fmt.Errorf("unknown key %s (did you mean %q?)", quote(key), known)
		}
	}
	return fmt.Errorf("unknown key %s: the data of the event belongs into payload, the other keys are %s",
		quote(key), strings.Join(plainKeys, ", "))
}

// distance returns how many letters must be added, taken away or replaced to
// make one word the other, at most 3 for words of very different length.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := corner
			if a[i] != b[j] {
				replaced++
			}
			corner = row[j+1]
			row[j+1] = min(replaced, corner+1, row[j]+1)
		}
	}
	return row[len(b)]
}
