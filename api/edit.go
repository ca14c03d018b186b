package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/eventd-io/eventd/api/wire"
)

// payloadBytes returns the bytes that an edited payload stands for, nil for
// none. How it is to be read follows the content type of the event where the
// order does not say.
func payloadBytes(o *wire.Redrive, contentType string) ([]byte, error) {
	if len(o.Payload) == 0 {
		if o.Encoding != "" {
			return nil, fmt.Errorf("payload_encoding %s without a payload", o.Encoding)
		}
		return nil, nil
	}
	encoding := o.Encoding
	if encoding == "" {
		encoding = wire.EncodingText
		if mayBeJSON(contentType) {
			encoding = wire.EncodingJSON
		}
	}
	return decoded(o.Payload, encoding)
}

// decoded returns the bytes that a JSON value stands for in an encoding of
// [wire.Payload].
func decoded(value json.RawMessage, encoding string) ([]byte, error) {
	if encoding == wire.EncodingJSON {
		return value, nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil || string(value) == "null" {
		return nil, errors.New("not a string, which a payload that is not JSON must be (payload_encoding)")
	}
	if encoding == wire.EncodingText {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("not base64: %w", err)
	}
	return b, nil
}
