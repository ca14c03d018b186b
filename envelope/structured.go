package envelope

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/eventd-io/eventd/event"
)

// The JSON format is read here and not by the CloudEvents library: that one
// panics on a data_base64 that is a number, drops what follows an empty key,
// takes trailing rubbish and cuts fractions off. Its rules on attributes are
// used all the same, see attributes.go.

// structured decodes a CloudEvent in the JSON format.
func (f *fields) structured(body []byte, o *Origin) (event.Message, error) {
	m, err := f.structuredReply(body, o)
	if err == nil && m.ID == "" {
		err = errNoID
	}
	return m, err
}

// structuredReply is [fields.structured] for requests and replies, which may
// leave the id to eventd.
func (f *fields) structuredReply(body []byte, o *Origin) (event.Message, error) {
	if !validJSON(body) {
		return event.Message{}, errors.New("the body of the CloudEvent is not valid JSON")
	}
	return f.object(body, parse(body), o)
}

// object decodes one CloudEvents object, which is a part of body.
func (f *fields) object(body []byte, v gjson.Result, o *Origin) (event.Message, error) {
	m := o.message()
	if !v.IsObject() {
		return m, errors.New("the CloudEvent is no JSON object")
	}
	e := cloudEvent{attributes: make(map[string]string, 8)}
	var err error
	v.ForEach(func(key, value gjson.Result) bool {
		err = e.add(key.Str, value)
		return err == nil
	})
	if err != nil {
		return m, err
	}
	if err := take(&m, e.attributes, ""); err != nil {
		return m, err
	}
	m.Literals = e.literals
	slices.Sort(m.Literals)
	if m.Payload, err = e.payload(body, &m.ContentType); err != nil {
		return m, err
	}
	return m, f.complete(&m, o)
}

// cloudEvent is a CloudEvents JSON object taken apart.
type cloudEvent struct {
	attributes map[string]string
	literals   []string
	data       gjson.Result // data or data_base64
	base64     bool
}

func (e *cloudEvent) add(key string, v gjson.Result) error {
	switch key {
	case "data", "data_base64":
		if e.data.Exists() {
			return errors.New("the CloudEvent has data or data_base64 twice")
		}
		e.data, e.base64 = v, key == "data_base64"
		return nil
	}
	name := strings.ToLower(key)
	if _, ok := e.attributes[name]; ok {
		return fmt.Errorf("CloudEvents attribute %s is there twice", quote(name))
	}
	value, err := attributeOf(name, v)
	if err == nil {
		name = strings.Clone(name)
		e.attributes[name] = value
		if v.Type != gjson.String && value != "" && !hasField[name] {
			e.literals = append(e.literals, name)
		}
	}
	return err
}

// specified lists the attributes that must be strings.
var specified = map[string]bool{"specversion": true, "id": true, "source": true, "type": true,
	"subject": true, "time": true, "dataschema": true, "datacontenttype": true}

// attributeOf returns the value of an attribute as text: a string, a truth
// value or a whole number. Null stands for a missing one.
func attributeOf(name string, v gjson.Result) (string, error) {
	switch {
	case v.Type == gjson.String:
		return strings.Clone(v.Str), nil
	case v.Type == gjson.Null:
		return "", nil
	case specified[name]:
		return "", fmt.Errorf("CloudEvents attribute %s is no string: %s", name, quote(v.Raw))
	case v.IsBool(), v.Type == gjson.Number && strings.Trim(v.Raw, "-0123456789") == "":
		return strings.Clone(v.Raw), nil
	}
	return "", fmt.Errorf("CloudEvents attribute %s is no string, truth value or whole number: %s", quote(name), quote(v.Raw))
}

// payload returns the data of the event: JSON as it stands in the body, text
// and binary data decoded. Data without a content type is JSON.
func (e *cloudEvent) payload(body []byte, contentType *string) ([]byte, error) {
	switch {
	case !e.data.Exists():
		return nil, nil
	case e.base64 && e.data.Type != gjson.String:
		return nil, errors.New("data_base64 of the CloudEvent is no string")
	case e.base64:
		data, err := base64.StdEncoding.DecodeString(e.data.Str)
		if err != nil {
			return nil, fmt.Errorf("data_base64 of the CloudEvent: %w", err)
		}
		return data, nil
	}
	if *contentType == "" {
		*contentType = jsonType
	}
	return dataOf(body, e.data, *contentType)
}

// dataOf returns a JSON value as a payload of a content type: as it stands in
// the body when that is JSON too, otherwise the text of a string.
func dataOf(body []byte, v gjson.Result, contentType string) ([]byte, error) {
	if isJSON(contentType) {
		return body[v.Index : v.Index+len(v.Raw)], nil
	}
	if v.Type != gjson.String {
		return nil, fmt.Errorf("the data is no string, though its content type is %s", quote(contentType))
	}
	return []byte(v.Str), nil
}
