package storage

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/event"
)

// A state record is rewritten with every step of an event, so it is small and,
// as long as nothing goes wrong, never grows: it is padded to stateSize bytes,
// and a record that keeps its size never splits a page.
//
//	version 1 | crc32c u32 of the rest | created u64 µs | status | table |
//	reason | updated by | updated | deliveries… | spilled | entries… |
//	payload row | extras…, left out when there are none and it is 0 | padding
//
// An extra is a tag and what belongs to it, from tag 2 on with its length before it:
// see [appendExtras]. One of a newer eventd is written again as it is with each step.
// Padding is zeros, and 0 is no tag.
//
// The first `spilled` entries of the timeline lie in the bucket notes.
const (
	stateVersion = 1
	stateHeader  = 5
	stateSize    = 64
	// inlineEntries and inlineDetail bound what of a timeline lies in the
	// state; the rest is written once, to notes.
	inlineEntries = 12
	inlineDetail  = 96
)

// state is an event's state as it lies in the file.
type state struct {
	event.State
	table   event.Table
	created time.Time
	spilled int    // entries in notes; State.Timeline holds those after them
	newer   []byte // extras of a newer eventd
}

// encodeState appends a record to an empty slice.
func encodeState(b []byte, s *state, names *names) []byte {
	b = append(b, make([]byte, stateHeader+8)...)
	b[0] = stateVersion
	binary.LittleEndian.PutUint64(b[stateHeader:], micros(s.created))
	b = append(b, byte(s.Status), byte(s.table))
	b = appendReason(b, s.Reason)
	b = names.append(b, s.UpdatedBy)
	b = appendTime(b, s.UpdatedAt, s.created)
	b = appendInt(b, len(s.Deliveries))
	for i := range s.Deliveries {
		b = appendDelivery(b, &s.Deliveries[i], s.created, names)
	}
	b = appendInt(b, s.spilled)
	b = appendInt(b, len(s.Timeline))
	for i := range s.Timeline {
		b = appendEntry(b, &s.Timeline[i], s.created, names)
	}
	if ordered := slices.ContainsFunc(s.Deliveries, isOrdered); s.PayloadRow > 0 || ordered || len(s.newer) > 0 { // seldom; the padding of the others says 0
		b = appendInt(b, s.PayloadRow)
		b = append(appendExtras(b, s, ordered), s.newer...)
	}
	for len(b)%(stateSize/2) != 0 || len(b) < stateSize {
		b = append(b, 0)
	}
	binary.LittleEndian.PutUint32(b[1:], checksum(b[stateHeader:]))
	return b
}

// Tags of extras. They are stored: only append, with [appendString], so that who does
// not know a tag finds the end of what belongs to it.
const (
	extraNone  = iota
	extraOrder // how many deliveries are ordered, and for each: its index, what on failure, order key
)

func isOrdered(d event.Delivery) bool { return d.Ordered() }

func appendExtras(b []byte, s *state, ordered bool) []byte {
	if !ordered {
		return b
	}
	n := 0
	for i := range s.Deliveries {
		if s.Deliveries[i].Ordered() {
			n++
		}
	}
	b = appendInt(append(b, extraOrder), n)
	for i := range s.Deliveries {
		if d := &s.Deliveries[i]; d.Ordered() {
			b = appendString(append(appendInt(b, i), byte(d.OnFailure)), d.OrderKey)
		}
	}
	return b
}

func readExtras(r *reader, s *state) {
	for len(r.b) > 0 {
		switch tag := r.byte(); tag {
		case extraNone:
			return
		case extraOrder:
			for n := r.int(); n > 0 && !r.bad; n-- {
				i, f, key := r.int(), r.byte(), r.string()
				if i >= len(s.Deliveries) {
					r.bad = true
					return
				}
				s.Deliveries[i].OnFailure, s.Deliveries[i].OrderKey = event.OnFailure(f), key
			}
		default:
			s.newer = appendString(append(s.newer, tag), r.string())
		}
	}
}

func appendDelivery(b []byte, d *event.Delivery, created time.Time, names *names) []byte {
	b = names.append(b, d.Handler)
	b = names.append(b, d.Route)
	b = append(b, byte(d.Status))
	b = appendReason(b, d.Reason)
	b = appendInt(b, d.Attempts)
	b = appendInt(b, d.Uncharged)
	b = appendInt(b, d.Interruptions)
	b = appendInt(b, d.Generation)
	b = appendTime(b, d.FirstAttempt, created)
	return appendTime(b, d.NextAttempt, created)
}

func appendEntry(b []byte, e *event.Entry, created time.Time, names *names) []byte {
	b = appendTime(b, e.At, created)
	b = append(b, byte(e.Status))
	b = appendInt(b, e.Attempt)
	b = names.append(b, e.Handler)
	b = appendReason(b, e.Reason)
	b = appendInt(b, e.Code)
	b = binary.AppendUvarint(b, uint64(e.Duration.Microseconds())) // not negative
	return appendString(b, e.Detail)
}

// stateStatus returns the status in a state record without decoding the rest.
func stateStatus(b []byte) (event.Status, error) {
	if err := checkState(b); err != nil {
		return 0, err
	}
	return event.Status(b[stateHeader+8]), nil
}

func checkState(b []byte) error {
	if len(b) < stateSize || b[0] != stateVersion ||
		binary.LittleEndian.Uint32(b[1:]) != checksum(b[stateHeader:]) {
		return errDamaged
	}
	return nil
}

func decodeState(b []byte, names *names) (*state, error) {
	s, _, err := decodeStateRest(b, names)
	return s, err
}

// decodeStateRest also returns what follows: zeros, or what a newer eventd wrote.
func decodeStateRest(b []byte, names *names) (*state, []byte, error) {
	if err := checkState(b); err != nil {
		return nil, nil, err
	}
	s := &state{created: fromMicros(binary.LittleEndian.Uint64(b[stateHeader:]))}
	r := reader{b: b[stateHeader+8:]}
	s.Status, s.table = event.Status(r.byte()), event.Table(r.byte())
	s.Reason = readReason(&r)
	s.UpdatedBy = names.read(&r)
	s.UpdatedAt = r.time(s.created)
	if n := r.int(); n > 0 && n <= len(r.b) {
		s.Deliveries = make([]event.Delivery, n)
	}
	for i := range s.Deliveries {
		readDelivery(&r, &s.Deliveries[i], s.created, names)
	}
	s.spilled = r.int()
	if n := r.int(); n > 0 && n <= len(r.b) {
		s.Timeline = make([]event.Entry, n, n+1)
	}
	for i := range s.Timeline {
		readEntry(&r, &s.Timeline[i], s.created, names)
	}
	if len(r.b) > 0 {
		s.PayloadRow = r.int()
	}
	readExtras(&r, s)
	if r.bad {
		return nil, nil, errDamaged
	}
	if len(s.newer) > 0 { // seldom
		return s, slices.Concat(s.newer, r.b), nil
	}
	return s, r.b, nil
}

func readDelivery(r *reader, d *event.Delivery, created time.Time, names *names) {
	d.Handler = names.read(r)
	d.Route = names.read(r)
	d.Status = event.Status(r.byte())
	d.Reason = readReason(r)
	d.Attempts = r.int()
	d.Uncharged = r.int()
	d.Interruptions = r.int()
	d.Generation = r.int()
	d.FirstAttempt = r.time(created)
	d.NextAttempt = r.time(created)
}

func readEntry(r *reader, e *event.Entry, created time.Time, names *names) {
	e.At = r.time(created)
	e.Status = event.Status(r.byte())
	e.Attempt = r.int()
	e.Handler = names.read(r)
	e.Reason = readReason(r)
	e.Code = r.int()
	e.Duration = time.Duration(r.uint()) * time.Microsecond // written from a duration
	e.Detail = r.string()
}

// reasons numbers the fixed reasons. The numbers are stored: only append.
var reasons = [...]event.Reason{
	"", event.NoRoute, event.Undecodable, event.Invalid, event.Rejected, event.BadReply,
	event.Expired, event.Loop, event.Gone, event.TooLarge, event.Exhausted, event.Poison,
	event.Cancelled, event.Timeout, event.Refused, event.Network, event.NATSNoResponders,
	event.ClaimExpired, event.Interrupted, event.Publish, event.Duplicate, event.Redriven,
	event.Quarantined, event.ClaimFailed,
}

// Numbers below otherReason stand for reasons, otherReason for one that follows
// as text, and those above it for HTTP status codes.
const otherReason = 99

func appendReason(b []byte, r event.Reason) []byte {
	for i, known := range reasons {
		if r == known {
			return append(b, byte(i))
		}
	}
	if code, ok := strings.CutPrefix(string(r), "http_"); ok {
		if n, err := strconv.Atoi(code); err == nil && n >= 100 && n <= 999 && r == event.HTTPStatus(n) {
			return binary.AppendUvarint(b, uint64(n))
		}
	}
	return appendString(append(b, otherReason), string(r))
}

func readReason(r *reader) event.Reason {
	switch n := r.int(); {
	case n < len(reasons):
		return reasons[n]
	case n == otherReason:
		return event.Reason(r.string())
	default:
		return event.HTTPStatus(n)
	}
}
