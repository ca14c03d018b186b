package storage

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/eventd-io/eventd/event"
)

// DumpVersion is the version of the format that [Dump] writes. [Load] reads this
// one and those before it.
const DumpVersion = 1

// dumpLine is a line of a dump, which has one of these: first the header, then
// the events with ascending seq, then the rest, and the end.
type dumpLine struct {
	Header   *dumpHeader      `json:"eventd_dump,omitempty"`
	Event    *dumpEvent       `json:"event,omitempty"`
	Outbox   *dumpPublication `json:"publication,omitempty"`
	Position *dumpPosition    `json:"position,omitempty"`
	Paused   *dumpPaused      `json:"paused,omitempty"`
	Entry    *dumpEntry       `json:"entry,omitempty"`
	End      *dumpEnd         `json:"end,omitempty"`
}

type dumpHeader struct {
	Version int       `json:"version"`
	Schema  int       `json:"schema"`
	StoreID string    `json:"store_id"`
	At      time.Time `json:"at"`
}

// dumpEvent is a whole event. Its names are those of the API where it has them.
type dumpEvent struct {
	Seq           uint64        `json:"seq"`
	Table         event.Table   `json:"table"`
	ID            text          `json:"event_id"`
	MessageType   text          `json:"message_type"`
	SourceService text          `json:"source_service,omitempty"`
	TargetService text          `json:"target_service,omitempty"`
	Topic         text          `json:"topic,omitempty"`
	CorrelationID text          `json:"correlation_id"`
	CausationID   text          `json:"causation_id,omitempty"`
	CreatedBy     text          `json:"created_by,omitempty"`
	CreatedAt     instant       `json:"created_dttm"`
	ContentType   text          `json:"content_type,omitempty"`
	Hops          int           `json:"hops,omitempty"`
	DeliverAt     instant       `json:"deliver_at_dttm,omitzero"`
	Expires       instant       `json:"expires_dttm,omitzero"`
	Attributes    texts         `json:"attributes,omitempty"`
	Literals      []text        `json:"literals,omitempty"` // names of attributes that are no strings
	Headers       texts         `json:"headers,omitempty"`
	Source        text          `json:"source,omitempty"`
	Stream        *dumpStream   `json:"stream,omitempty"`
	Status        standing      `json:"status"`
	Reason        text          `json:"reason,omitempty"`
	UpdatedBy     text          `json:"updated_by,omitempty"`
	UpdatedAt     instant       `json:"updated_dttm,omitzero"`
	Deliveries    []dumpShare   `json:"deliveries,omitempty"`
	Timeline      []dumpStep    `json:"timeline,omitempty"`
	Payload       dumpBody      `json:"payload"`
	Removed       bool          `json:"payload_removed,omitempty"` // by retention
	Sent          []dumpPayload `json:"sent,omitempty"`
	PayloadRow    int           `json:"payload_row,omitempty"` // which of sent goes out, from 1; 0 for payload
	Working       *dumpDocument `json:"working,omitempty"`     // of the conversation, beside its oldest event
}

// dumpDocument is the working data of a conversation.
type dumpDocument struct {
	Version   uint64   `json:"version"`
	CreatedBy text     `json:"created_by,omitempty"`
	CreatedAt instant  `json:"created_dttm"`
	UpdatedBy text     `json:"updated_by,omitempty"`
	UpdatedAt instant  `json:"updated_dttm"`
	Body      dumpBody `json:"body"`
}

type dumpStream struct {
	Name     text    `json:"name"`
	Sequence uint64  `json:"sequence"`
	Stored   instant `json:"stored_dttm,omitzero"`
}

// dumpShare is a delivery.
type dumpShare struct {
	Handler       text     `json:"handler"`
	Route         text     `json:"route,omitempty"`
	Status        standing `json:"status"`
	Reason        text     `json:"reason,omitempty"`
	Attempts      int      `json:"attempts,omitempty"`
	Uncharged     int      `json:"uncharged,omitempty"`
	Interruptions int      `json:"interruptions,omitempty"`
	Generation    int      `json:"generation,omitempty"`
	FirstAttempt  instant  `json:"first_attempt_dttm,omitzero"`
	NextAttempt   instant  `json:"next_attempt_dttm,omitzero"`
	AwaitingSince instant  `json:"awaiting_since_dttm,omitzero"` // its response
}

// dumpStep is an entry of the timeline.
type dumpStep struct {
	At       instant  `json:"at"`
	Status   standing `json:"status"`
	Attempt  int      `json:"attempt,omitempty"`
	Handler  text     `json:"handler,omitempty"`
	Reason   text     `json:"reason,omitempty"`
	Detail   text     `json:"detail,omitempty"`
	Code     int      `json:"code,omitempty"`
	Duration int64    `json:"duration_us,omitempty"`
}

// dumpPayload is a payload row beyond the first. Without a body it is the
// event's own that crossed another boundary.
type dumpPayload struct {
	Topic         text      `json:"topic,omitempty"`
	SourceService text      `json:"source_service,omitempty"`
	TargetService text      `json:"target_service,omitempty"`
	ContentType   text      `json:"content_type,omitempty"`
	CreatedBy     text      `json:"created_by,omitempty"`
	CreatedAt     instant   `json:"created_dttm"`
	Body          *dumpBody `json:"payload,omitempty"`
	Row           int       `json:"row,omitempty"`             // without a body: the row that has it
	Removed       bool      `json:"payload_removed,omitempty"` // by retention
}

// dumpPublication is an outbox row. Without a body it is the event's own.
type dumpPublication struct {
	ID      uint64    `json:"id"`
	Seq     uint64    `json:"seq"`
	Subject text      `json:"subject"`
	Header  texts     `json:"header,omitempty"`
	Body    *dumpBody `json:"payload,omitempty"`
	Row     int       `json:"row,omitempty"` // without a body: the payload row that has it
}

type dumpPosition struct {
	Source text       `json:"source"`
	Stream dumpStream `json:"stream"`
}

type dumpPaused struct {
	What   text `json:"what"` // kind/name
	Reason text `json:"reason"`
}

// dumpEntry is whatever else the store holds, as it is: what this version of the
// format has no words for moves on all the same.
type dumpEntry struct {
	Bucket   []text    `json:"bucket"`
	Key      *dumpBody `json:"key,omitempty"` // nil: the bucket itself
	Value    *dumpBody `json:"value,omitempty"`
	Sequence uint64    `json:"sequence,omitempty"`
}

type dumpEnd struct {
	Events  int    `json:"events"`
	Outbox  int    `json:"outbox"`
	NextID  uint64 `json:"last_outbox_id"` // given so far: none is given twice
	Damaged int    `json:"damaged"`        // records that are missing or stand for damaged ones
}

// standing is a status by its name; by its number where it has none.
type standing event.Status

// MarshalJSON implements [json.Marshaler].
func (s standing) MarshalJSON() ([]byte, error) {
	if slices.Contains(event.Statuses, event.Status(s)) {
		return json.Marshal(event.Status(s))
	}
	return json.Marshal(uint8(s))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *standing) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*event.Status)(s))
	}
	return json.Unmarshal(b, (*uint8)(s))
}

// text is any text. What is not UTF-8, which JSON cannot say, is an object with
// the bytes in base64.
type text string

type rawBytes struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements [json.Marshaler].
func (t text) MarshalJSON() ([]byte, error) { return dumpBody(t).MarshalJSON() }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(b []byte) error {
	var body dumpBody
	err := body.UnmarshalJSON(b)
	*t = text(body)
	return err
}

// dumpBody is bytes, written like a [text].
type dumpBody []byte

// MarshalJSON implements [json.Marshaler].
func (d dumpBody) MarshalJSON() ([]byte, error) {
	if utf8.Valid(d) {
		return marshal(string(d))
	}
	return json.Marshal(rawBytes{d})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *dumpBody) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var raw rawBytes
		err := json.Unmarshal(b, &raw)
		*d = raw.Base64
		return err
	}
	var s string
	err := json.Unmarshal(b, &s)
	*d = []byte(s)
	return err
}

// texts is a map of any texts: an object, or a list of pairs where a key is not
// UTF-8.
type texts map[string]string

// MarshalJSON implements [json.Marshaler].
func (m texts) MarshalJSON() ([]byte, error) {
	object, pairs := make(map[string]text, len(m)), make([][2]text, 0, len(m))
	for k, v := range m {
		object[k] = text(v)
		pairs = append(pairs, [2]text{text(k), text(v)})
	}
	for k := range m {
		if !utf8.ValidString(k) {
			return marshal(pairs)
		}
	}
	return marshal(object)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *texts) UnmarshalJSON(b []byte) error {
	*m = texts{}
	if len(b) > 0 && b[0] == '[' {
		var pairs [][2]text
		err := json.Unmarshal(b, &pairs)
		for _, p := range pairs {
			(*m)[string(p[0])] = string(p[1])
		}
		return err
	}
	var object map[string]text
	err := json.Unmarshal(b, &object)
	for k, v := range object {
		(*m)[k] = string(v)
	}
	return err
}

// instant is a point in time: RFC 3339, or microseconds since 1970 for a year
// that has not four digits.
type instant struct{ time.Time }

// MarshalJSON implements [json.Marshaler].
func (i instant) MarshalJSON() ([]byte, error) {
	if y := i.Year(); y < 1 || y > 9999 {
		return json.Marshal(i.UnixMicro())
	}
	return i.Time.MarshalJSON()
}

// UnmarshalJSON implements [json.Unmarshaler].
func (i *instant) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		var us int64
		if err := json.Unmarshal(b, &us); err != nil {
			return fmt.Errorf("a time is neither RFC 3339 nor microseconds: %w", err)
		}
		i.Time = time.UnixMicro(us).UTC()
		return nil
	}
	err := i.Time.UnmarshalJSON(b)
	i.Time = i.UTC()
	return err
}
