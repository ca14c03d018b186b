package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
	"pgregory.net/rapid"
)

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

func (m *machine) admission(t *rapid.T) *event.Admission {
	m.clock = m.clock.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes"))*time.Minute + time.Microsecond)
	e := &event.Event{
		Table: pick(t, "table", event.Tables...), MessageType: pick(t, "type", "RQ_A", "RQ_B", ""),
		SourceService: pick(t, "service", "UP", "DOWN"), TargetService: "T", Topic: pick(t, "topic", "", "TOPIC"),
		CausationID: pick(t, "causation", "", "c"), CreatedBy: pick(t, "by", "UP", "NEW", ""),
		CreatedAt: m.clock.Add(-time.Duration(pick(t, "late", 0, 0, 30, 90)) * time.Minute), ContentType: "text/plain",
		Hops: rapid.IntRange(0, 16).Draw(t, "hops"), DeliverAt: m.someTime(t), Expires: m.someTime(t),
		Attributes: pick(t, "attributes", nil, map[string]string{"subject": "s", "x": "\xff"}),
		Literals:   pick(t, "literals", nil, []string{"flag", "n"}),
		Headers:    pick(t, "headers", nil, map[string]string{"Traceparent": "00"}),
		Source:     pick(t, "source", "", "upstream"),
	}
	if e.ID = pick(t, "id", "", "a", "b", "c", "d"); e.ID == "" {
		m.fresh++
		e.ID = fmt.Sprint("id-", m.fresh)
	}
	e.CorrelationID = pick(t, "correlation", e.ID, "a", "k1", "k2", "id-1")
	if n := rapid.IntRange(-6, 6).Draw(t, "position"); n > 0 {
		e.Position = event.Position{Stream: "S", Sequence: uint64(n), Stored: t0.Add(time.Duration(n))}
	}
	a := &event.Admission{Event: e, Payload: m.bytes(t, "payload"), Outbox: m.publications(t)}
	a.State = event.State{UpdatedBy: e.CreatedBy, UpdatedAt: e.CreatedAt}
	for range rapid.IntRange(0, 3).Draw(t, "deliveries") {
		a.State.Deliveries = append(a.State.Deliveries, m.delivery(t, pick(t, "status", event.Unprocessed, event.Unprocessed, event.InProgress, event.Retry, event.Error)))
	}
	if len(a.State.Deliveries) == 0 {
		a.State.Status, a.State.Reason = pick(t, "status", event.Error, event.Completed, event.Failed), pick(t, "reason", event.NoRoute, "")
	}
	for range pick(t, "entries", 0, 0, 1, 2) {
		a.State.Timeline = append(a.State.Timeline, m.entry(t))
	}
	for i := range a.State.Deliveries {
		a.State.Deliveries[i] = apart(a.State.Deliveries[i], i)
	}
	return a
}

// apart gives each delivery of an event a handler of its own: no route makes two to
// one, and which goes first of those that are due at the same time is left open. The
// fourth and those behind it are to handlers that nobody asks for.
func apart(d event.Delivery, n int) event.Delivery {
	if n < 3 {
		d.Handler = fmt.Sprint("h", 1+n)
	} else {
		d.Handler = fmt.Sprint("other", n)
	}
	return d
}

func (m *machine) delivery(t *rapid.T, status event.Status) event.Delivery {
	return event.Delivery{
		Handler: pick(t, "handler", "h1", "h2", "h3"), Route: pick(t, "route", "r1", "r2", ""), Status: status,
		Reason: pick(t, "why", "", event.Timeout, event.HTTPStatus(503), "odd"), Attempts: rapid.IntRange(0, 9).Draw(t, "attempts"),
		Uncharged: rapid.IntRange(0, 2).Draw(t, "uncharged"), Interruptions: rapid.IntRange(0, 2).Draw(t, "interruptions"),
		Generation: rapid.IntRange(0, 2).Draw(t, "generation"), FirstAttempt: m.someTime(t), NextAttempt: m.someTime(t),
	}
}

func (m *machine) someTime(t *rapid.T) time.Time {
	return pick(t, "time",
		time.Time{}, m.clock, m.clock.Add(-time.Hour), m.clock.Add(time.Microsecond), m.clock.Add(30*time.Second),
		time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC))
}

func (m *machine) entry(t *rapid.T) event.Entry {
	return event.Entry{
		At: m.clock, Status: pick(t, "status", event.Statuses...), Attempt: rapid.IntRange(0, 20).Draw(t, "attempt"),
		Handler: pick(t, "handler", "", "h1"), Reason: pick(t, "reason", "", event.Timeout, event.HTTPStatus(429)),
		Detail:   string(bytes.Repeat([]byte{'d'}, pick(t, "detail", 0, 0, 5, inlineDetail, inlineDetail+1, event.MaxDetail))),
		Duration: time.Duration(rapid.IntRange(0, 1e6).Draw(t, "took")) * time.Microsecond, Code: pick(t, "code", 0, 200, 503),
	}
}

func (m *machine) bytes(t *rapid.T, label string) []byte {
	return bytes.Repeat([]byte{byte(len(m.events))}, pick(t, label, 0, 10, 300, 5000))
}

func (m *machine) publications(t *rapid.T) (rows []event.Publication) {
	for range pick(t, "publications", 0, 0, 0, 1, 2) {
		rows = append(rows, event.Publication{
			Subject: "dead", Header: pick(t, "header", nil, map[string]string{"k": "v"}),
			Body: pick(t, "body", nil, []byte("own"), []byte{}),
		})
	}
	return rows
}

var errStep = errors.New("the step declines")

// step draws a step. What it returns gives the same step twice, for the store
// and for the model.
func (m *machine) step(t *rapid.T) func() func(*event.State) (*event.Effects, error) {
	kind := pick(t, "kind", "legal", "legal", "legal", "any", "drop", "add", "decline", "note", "bare")
	nth, choice := rapid.IntRange(0, 5).Draw(t, "nth"), rapid.IntRange(0, 9).Draw(t, "choice")
	status := event.Status(rapid.IntRange(0, 7).Draw(t, "status"))
	now, extra, entry := m.delivery(t, event.Unprocessed), m.delivery(t, status), m.entry(t)
	by, at := pick(t, "by", "h1", "PERSON", string(bytes.Repeat([]byte{'n'}, 300))), m.clock
	effects := m.effects(t)
	change := func(s *event.State) (*event.Effects, error) {
		s.UpdatedBy, s.UpdatedAt = by, at
		s.Timeline = append(s.Timeline, entry)
		if kind == "bare" && len(s.Deliveries) == 0 {
			s.Status, s.Reason = status, event.Cancelled
		}
		if len(s.Deliveries) > 0 && kind != "note" && kind != "bare" {
			n := nth % len(s.Deliveries)
			d := &s.Deliveries[n]
			to := status
			if kind == "legal" {
				to = legalFrom(d.Status, choice)
			}
			now.Status = to
			*d = apart(now, n)
		}
		switch kind {
		case "drop":
			s.Deliveries = s.Deliveries[:max(len(s.Deliveries)-1, 0)]
		case "add":
			s.Deliveries = append(s.Deliveries, apart(extra, len(s.Deliveries)))
		case "decline":
			return nil, errStep
		}
		return effects(), nil
	}
	return func() func(*event.State) (*event.Effects, error) { return change }
}

func legalFrom(s event.Status, choice int) event.Status {
	var to []event.Status
	for _, x := range event.Statuses {
		if event.CanStep(s, x) {
			to = append(to, x)
		}
	}
	return to[choice%len(to)]
}

// effects draws what comes with a step. Each call returns copies: the store
// writes into them.
func (m *machine) effects(t *rapid.T) func() *event.Effects {
	if rapid.Bool().Draw(t, "no effects") {
		return func() *event.Effects { return nil }
	}
	var followUps []event.Admission
	for range pick(t, "follow-ups", 0, 0, 1, 3) {
		followUps = append(followUps, *m.admission(t))
	}
	outbox := m.publications(t)
	var sent []event.Payload
	for range pick(t, "sent", 0, 1, 2) {
		sent = append(sent, event.Payload{
			Topic: "TOPIC_B", SourceService: "S", TargetService: "B", Body: pick(t, "body", nil, []byte("sent")),
			ContentType: "text/plain", CreatedBy: "h1", CreatedAt: m.clock,
		})
	}
	var edited *event.Payload
	if pick(t, "edited", false, false, true) {
		edited = &event.Payload{Body: pick(t, "edited body", nil, []byte("edited"), []byte("edited again")), CreatedBy: "PERSON", CreatedAt: m.clock}
	}
	return func() *event.Effects {
		e := &event.Effects{Payload: edited, Outbox: slices.Clone(outbox), Sent: slices.Clone(sent)}
		for _, a := range followUps {
			ev := *a.Event
			a.Event, a.Outbox = &ev, slices.Clone(a.Outbox)
			e.FollowUps = append(e.FollowUps, &a)
		}
		return e
	}
}
