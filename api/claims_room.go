package api

import (
	"encoding/json"
	"math"

	"github.com/eventd-io/eventd/event"
)

// measure tells which events fit into an answer of some size.
type measure struct {
	event.Room
	by    string
	large map[uint64]struct{} // events that never do, by their number
}

// Bytes of an answer beside its claims, and of a claim beside what the event
// itself brings: names, times and numbers with their keys.
const (
	answerBytes = 64
	claimBytes  = 1 << 10
)

// newMeasure returns nil where any size will do.
func newMeasure(in *claiming) *measure {
	if in.MaxBytes == 0 {
		return nil
	}
	m := &measure{by: in.Service, large: make(map[uint64]struct{})}
	m.Room = event.Room{Bytes: max(in.MaxBytes-answerBytes, 0), Size: m.size}
	return m
}

// size returns how many bytes a claim has at most in an answer.
func (m *measure) size(e *event.Event, payload []byte) int {
	n := len(payload)
	if n <= m.Bytes { // else it need not be looked at
		value, _ := inline(event.Payload{Body: payload, ContentType: e.ContentType}, math.MaxInt)
		row, _ := json.Marshal(rowOf(&event.Record{Event: *e})) // texts and numbers always have a JSON form
		n = len(value) + len(row) + 2*len(m.by) + claimBytes
	}
	if n > m.Bytes {
		m.large[e.Seq] = struct{}{}
	}
	return n
}

// tooLarge returns how many events were left to others.
func (m *measure) tooLarge() int {
	if m == nil {
		return 0
	}
	return len(m.large)
}
