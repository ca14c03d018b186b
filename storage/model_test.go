package storage

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// model is what a store must do, as plainly as it can be said: a list of
// events in memory. TestStoreIsTheModel compares the two.
type model struct {
	window    time.Duration
	events    []*modelEvent // by seq, from 1
	outbox    []event.Publication
	published uint64 // the last outbox number given
	positions map[string]event.Position
	paused    map[string]string
}

type modelEvent struct {
	event.Event
	event.State // with the whole timeline
	payload     []byte
	sent        []event.Payload
	outgoing    []byte // payload or what an edit has put in its place
	inline      int    // where the part of the timeline begins that is rewritten with each step
}

func newModel(window time.Duration) *model {
	return &model{window: window, positions: map[string]event.Position{}, paused: map[string]string{}}
}

func cloneState(s event.State) event.State {
	s.Deliveries, s.Timeline = slices.Clone(s.Deliveries), slices.Clone(s.Timeline)
	return s
}

// admit stores an event and returns its seq, or that of the one it repeats.
func (m *model) admit(a *event.Admission) (seq uint64, duplicate bool) {
	if e := m.repeated(a.Event); e != nil {
		e.noteDuplicate()
		return e.Seq, true
	}
	e := &modelEvent{Event: *a.Event, State: cloneState(a.State), payload: a.Payload, outgoing: a.Payload}
	e.Seq = uint64(len(m.events) + 1)
	e.Derive()
	e.spill()
	m.events = append(m.events, e)
	m.publish(e, a.Outbox)
	return e.Seq, false
}

func (m *model) repeated(n *event.Event) *modelEvent {
	for _, e := range m.events {
		if e.Key() != n.Key() {
			continue
		}
		if !n.Position.IsZero() && e.Position.Equal(n.Position) || n.CreatedAt.Sub(e.CreatedAt) < m.window {
			return e
		}
	}
	return nil
}

func (e *modelEvent) noteDuplicate() {
	notes := 0
	for _, x := range e.Timeline[e.inline:] {
		if x.Reason == event.Duplicate {
			notes++
		}
	}
	if notes < maxDuplicateNotes {
		e.Timeline = append(e.Timeline, event.Entry{Status: e.Status, Reason: event.Duplicate})
		e.spill()
	}
}

func (e *modelEvent) spill() {
	if tooLarge(e.Timeline[e.inline:]) {
		e.inline = len(e.Timeline)
	}
}

func (m *model) publish(e *modelEvent, rows []event.Publication) {
	for _, p := range rows {
		m.published++
		p.ID, p.EventSeq = m.published, e.Seq
		if p.Body == nil {
			p.Body = e.outgoing
		}
		m.outbox = append(m.outbox, p)
	}
}

// update takes a step if it is legal, and returns the error that it must give.
func (m *model) update(seq uint64, step func(*event.State) (*event.Effects, error)) error {
	if seq == 0 || seq > uint64(len(m.events)) {
		return event.ErrNotFound
	}
	e := m.events[seq-1]
	s := cloneState(e.State)
	effects, err := step(&s)
	if err == nil && !legalStep(&e.State, &s) {
		err = event.ErrConflict
	}
	if err != nil {
		return err
	}
	e.State = s
	e.Derive()
	e.spill()
	if effects == nil {
		return nil
	}
	for _, f := range effects.FollowUps {
		m.admit(f)
	}
	if p := effects.Payload; p != nil {
		row := *p
		row.Body = append([]byte{}, row.Body...)
		e.sent, e.outgoing = append(e.sent, row), row.Body
		e.PayloadRow = len(e.sent)
	}
	for _, p := range effects.Sent {
		if p.Body == nil {
			p.Body = e.outgoing
		}
		e.sent = append(e.sent, p)
	}
	m.publish(e, effects.Outbox)
	return nil
}

func legalStep(old, now *event.State) bool {
	if len(now.Deliveries) < len(old.Deliveries) {
		return false
	}
	for i, d := range now.Deliveries {
		if d.Status < event.Unprocessed || d.Status > event.Failed {
			return false
		}
		if i < len(old.Deliveries) && old.Deliveries[i].Status != d.Status && !event.CanStep(old.Deliveries[i].Status, d.Status) {
			return false
		}
	}
	s := cloneState(*now)
	s.Derive()
	return len(old.Deliveries) > 0 || s.Status == old.Status || event.CanStep(old.Status, s.Status)
}

// waiting returns what waits for a handler, soonest first.
func (m *model) waiting(handler string) (list []event.Due) {
	for _, e := range m.events {
		for i, d := range e.Deliveries {
			if d.Handler == handler && (d.Status == event.Unprocessed || d.Status == event.Retry) {
				list = append(list, event.Due{Event: &e.Event, Payload: e.outgoing, Index: i, Delivery: d})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b event.Due) int {
		return cmp.Compare(dueMicros(a.Delivery.NextAttempt), dueMicros(b.Delivery.NextAttempt))
	})
	return list
}

// due is the part of waiting that a query returns, and when the next one is due.
func (m *model) due(q event.DueQuery) (list []event.Due, next time.Time) {
	size := 0
	for _, d := range m.waiting(q.Handler) {
		at := dueMicros(d.Delivery.NextAttempt)
		if at > dueMicros(q.Now) || len(list) >= q.Limit || size >= q.Bytes {
			return list, fromMicros(at)
		}
		size += len(d.Payload)
		list = append(list, d)
	}
	return list, time.Time{}
}

// seqs returns the events that fit, behind one, at most limit.
func (m *model) seqs(after uint64, limit int, fits func(*modelEvent) bool) (seqs []uint64) {
	for _, e := range m.events {
		if e.Seq > after && len(seqs) < limit && fits(e) {
			seqs = append(seqs, e.Seq)
		}
	}
	return seqs
}

func inProgress(e *modelEvent) bool {
	return slices.ContainsFunc(e.Deliveries, func(d event.Delivery) bool { return d.Status == event.InProgress })
}

// find returns the events with an id, newest first.
func (m *model) find(id string) (list []*modelEvent) {
	for _, e := range slices.Backward(m.events) {
		if e.ID == id {
			list = append(list, e)
		}
	}
	return list
}

// list returns all that a filter selects.
func (m *model) list(f event.Filter, p event.Page) (list []*modelEvent) {
	for _, e := range m.events {
		if e.selected(f) && (p.Last == 0 || e.Seq <= p.Last) {
			list = append(list, e)
		}
	}
	if !p.OldestFirst {
		slices.Reverse(list)
	}
	return list
}

func (e *modelEvent) selected(f event.Filter) bool {
	to := f.Handler == "" && f.Route == "" || slices.ContainsFunc(e.Deliveries, func(d event.Delivery) bool {
		return (f.Handler == "" || d.Handler == f.Handler) && (f.Route == "" || d.Route == f.Route)
	})
	return to && (!f.DeadLetters || e.Status.DeadLetter()) && oneOf(f.Table, e.Table) && oneOf(f.Status, e.Status) && oneOf(f.Reason, e.Reason) &&
		oneOf(f.MessageType, e.MessageType) && oneOf(f.SourceService, e.SourceService) &&
		oneOf(f.CorrelationID, e.CorrelationID) &&
		(f.Since.IsZero() || !e.CreatedAt.Before(f.Since)) && (f.Until.IsZero() || e.CreatedAt.Before(f.Until))
}

func oneOf[T comparable](want, got T) bool {
	var all T
	return want == all || want == got
}

func (m *model) counts() event.Counts {
	c := event.Counts{}
	for _, t := range event.Tables {
		c[t] = map[event.Status]int{}
		for _, s := range event.Statuses {
			c[t][s] = 0
		}
	}
	for _, e := range m.events {
		c[e.Table][e.Status]++
	}
	return c
}

// payloads returns the payload rows of an event.
func (e *modelEvent) payloads() []event.Payload {
	rows := []event.Payload{{
		EventID: e.ID, Topic: e.Topic, SourceService: e.SourceService, TargetService: e.TargetService,
		Body: e.payload, ContentType: e.ContentType, CreatedBy: e.CreatedBy, CreatedAt: e.CreatedAt,
	}}
	for _, p := range e.sent {
		p.EventID = e.ID
		rows = append(rows, p)
	}
	return rows
}

// acknowledge removes outbox rows.
func (m *model) acknowledge(ids []uint64) {
	m.outbox = slices.DeleteFunc(m.outbox, func(p event.Publication) bool { return slices.Contains(ids, p.ID) })
}

func samePublication(a, b event.Publication) bool {
	headers := len(a.Header) == len(b.Header)
	for k, v := range a.Header {
		headers = headers && b.Header[k] == v
	}
	return headers && a.ID == b.ID && a.Subject == b.Subject && a.EventSeq == b.EventSeq && bytes.Equal(a.Body, b.Body)
}

func samePayload(a, b event.Payload) bool {
	body := bytes.Equal(a.Body, b.Body)
	a.Body, b.Body = nil, nil
	created := a.CreatedAt.Equal(b.CreatedAt)
	a.CreatedAt, b.CreatedAt = time.Time{}, time.Time{}
	return body && created && a.EventID == b.EventID && a.Topic == b.Topic && a.SourceService == b.SourceService &&
		a.TargetService == b.TargetService && a.ContentType == b.ContentType && a.CreatedBy == b.CreatedBy
}

// sameError reports whether both are nil or got wraps want.
func sameError(got, want error) bool {
	return got == nil && want == nil || want != nil && errors.Is(got, want)
}
