package wire

import "time"

// Time is a time in JSON: UTC, always with nine digits of fraction, null when
// it is not set.
type Time struct{ time.Time }

const layout = "2006-01-02T15:04:05.000000000Z"

// MarshalText implements [encoding.TextMarshaler].
func (t Time) MarshalText() ([]byte, error) {
	return t.UTC().AppendFormat(nil, layout), nil
}

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	b := make([]byte, 0, len(layout)+2)
	b = t.UTC().AppendFormat(append(b, '"'), layout)
	return append(b, '"'), nil
}
