package storage

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"pgregory.net/rapid"
)

// TestStoreIsTheModel drives a store and its model with random operations,
// closes and opens it in between, and compares all that can be asked of it.
func TestStoreIsTheModel(t *testing.T) {
	dir := filepath.Dir(storePath(t))
	rapid.Check(t, func(t *rapid.T) {
		run, err := os.MkdirTemp(dir, "run-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(run)
		m := &machine{
			model: newModel(time.Hour), clock: t0,
			options: Options{
				Path: filepath.Join(run, "eventd.db"), DedupeWindow: time.Hour,
				segmentEvents: uint32(rapid.IntRange(1, 12).Draw(t, "segment")),
				queryTime:     pick(t, "query time", time.Hour, time.Nanosecond),
				sieveSlots:    pick(t, "sieve", 1, segmentEvents),
			},
		}
		m.open(t)
		defer func() { _ = m.db.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"":         m.checkSchedule,
			"accept":   m.accept,
			"accept2":  m.accept, // more often than the rest
			"update":   m.update,
			"update2":  m.update,
			"ack":      m.acknowledge,
			"settings": m.settings,
			"list":     m.list,
			"events":   m.checkEvents,
			"reopen":   m.reopen,
			"crash":    m.crash,
		})
		m.checkEvents(t)
		m.reopen(t)
		m.checkSchedule(t)
		m.checkEvents(t)
	})
}

// machine is a store beside its model.
type machine struct {
	*model
	options Options
	db      *DB
	clock   time.Time
	fresh   int // ids given so far
}

func (m *machine) open(t *rapid.T) {
	db, err := Open(m.options)
	if err != nil {
		t.Fatal(err)
	}
	m.db = db
}

func (m *machine) reopen(t *rapid.T) {
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	problems, err := Inconsistencies(m.options.Path)
	if err != nil || len(problems) > 0 {
		t.Fatalf("check: %v, %q", err, problems)
	}
	m.open(t)
}

// crash goes on with what is on disk at a moment after something was accepted.
func (m *machine) crash(t *rapid.T) {
	for range rapid.IntRange(0, 4).Draw(t, "begun") {
		m.acceptBegun(t)
	}
	m.db.extending.Lock() // no commit is half done
	now, err := os.ReadFile(m.options.Path)
	m.db.extending.Unlock()
	if err := errors.Join(err, m.db.Close(), os.WriteFile(m.options.Path, now, 0o600)); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	m.reopen(t)
}

var ctx = context.Background()

func (m *machine) accept(t *rapid.T) {
	var list []*event.Admission
	for range rapid.IntRange(1, 9).Draw(t, "events") {
		list = append(list, m.admission(t))
	}
	m.acceptAll(t, list)
}

// acceptBegun accepts what the journal may take.
func (m *machine) acceptBegun(t *rapid.T) {
	a := m.admission(t)
	a.Outbox = nil
	for len(a.State.Deliveries) == 0 || rapid.IntRange(0, 3).Draw(t, "more") == 0 {
		a.State.Deliveries = append(a.State.Deliveries, apart(m.delivery(t, event.InProgress), len(a.State.Deliveries)))
	}
	for i := range a.State.Deliveries {
		a.State.Deliveries[i].Status = event.InProgress
	}
	a.State.Status, a.State.Reason = 0, ""
	m.acceptAll(t, []*event.Admission{a})
}

func (m *machine) acceptAll(t *rapid.T, list []*event.Admission) {
	want := make([]event.Receipt, 0, len(list))
	var seqs []uint64
	for _, a := range list {
		seq, duplicate := m.admit(a)
		want, seqs = append(want, event.Receipt{Duplicate: duplicate}), append(seqs, seq)
	}
	if err := m.db.Accept(ctx, list); err != nil {
		t.Fatal(err)
	}
	for i, a := range list {
		if a.Event.Seq != seqs[i] || a.Duplicate != want[i].Duplicate {
			t.Fatalf("Accept %s = seq %d, duplicate %t; want %d, %t", a.Event.ID, a.Event.Seq, a.Duplicate, seqs[i], want[i].Duplicate)
		}
	}
}

// update takes steps: most of them legal, of events that are there.
func (m *machine) update(t *rapid.T) {
	var updates []*event.Update
	var want []error
	for range rapid.IntRange(1, 6).Draw(t, "updates") {
		seq := uint64(rapid.IntRange(0, len(m.events)+2).Draw(t, "seq"))
		step := m.step(t)
		updates = append(updates, &event.Update{Seq: seq, Step: step(), Err: errors.New("not set")})
		want = append(want, m.model.update(seq, step()))
	}
	if err := m.db.UpdateWithin(ctx, pick(t, "patience", 0, time.Microsecond), updates...); err != nil {
		t.Fatal(err)
	}
	for i, u := range updates {
		if !sameError(u.Err, want[i]) {
			t.Fatalf("Update %d: %v; want %v", u.Seq, u.Err, want[i])
		}
	}
}

func (m *machine) acknowledge(t *rapid.T) {
	var ids []uint64
	for _, p := range m.outbox {
		if rapid.Bool().Draw(t, "ack") {
			ids = append(ids, p.ID)
		}
	}
	ids = append(ids, 1<<40) // one that is not there
	if err := m.db.Published(ctx, ids); err != nil {
		t.Fatal(err)
	}
	m.model.acknowledge(ids)
}

func (m *machine) settings(t *rapid.T) {
	name, reason := pick(t, "name", "h1", "h2"), pick(t, "reason", "", "manual", "gone")
	if err := m.db.SetPaused(ctx, "handler", name, reason); err != nil {
		t.Fatal(err)
	}
	m.paused[name] = reason
	p := event.Position{Stream: "S", Sequence: uint64(rapid.IntRange(0, 9).Draw(t, "sequence")), Stored: pick(t, "stored", t0.Add(7), time.Time{})}
	if err := m.db.SavePosition(ctx, name, p); err != nil {
		t.Fatal(err)
	}
	m.positions[name] = p
}

func (m *machine) list(t *rapid.T) {
	f := event.Filter{
		Table: pick(t, "table", 0, event.Inbound, event.Request), Status: event.Status(rapid.IntRange(0, 6).Draw(t, "status")),
		MessageType: pick(t, "type", "", "", "RQ_A", "OTHER"), Handler: pick(t, "handler", "", "", "h1", "nobody"),
		Route: pick(t, "route", "", "", "r1"), Reason: pick(t, "reason", "", "", event.NoRoute, event.Timeout),
		SourceService: pick(t, "service", "", "", "UP"), CorrelationID: pick(t, "correlation", "", "", "", "a", "k1", "id-1"),
	}
	if rapid.Bool().Draw(t, "bounded") {
		f.Since = t0.Add(time.Duration(rapid.IntRange(-60, 600).Draw(t, "since")) * time.Minute)
		f.Until = f.Since.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "until")) * time.Minute)
	}
	p := event.Page{
		Limit: rapid.IntRange(1, 9).Draw(t, "limit"), OldestFirst: rapid.Bool().Draw(t, "oldest first"),
		Last: uint64(rapid.IntRange(0, len(m.events)+1).Draw(t, "last")),
	}
	if f.Status == 0 {
		f.DeadLetters = rapid.Bool().Draw(t, "dead letters")
	}
	want := m.model.list(f, p)
	for pages := 0; ; pages++ {
		got, next, err := m.db.List(ctx, f, p)
		if err != nil {
			t.Fatal(err)
		}
		n := min(len(want), p.Limit)
		if m.options.queryTime < time.Second { // a page may end early, but not in vain
			if len(got) > n || next == 0 && len(got) < len(want) || pages > len(m.events) {
				t.Fatalf("List(%+v, %+v) = %d records, next %d, page %d; want at most %d of %d", f, p, len(got), next, pages, n, len(want))
			}
			n = len(got)
		} else if len(got) != n || (next != 0) != (len(want) > n) || next != 0 && next != got[n-1].Seq {
			t.Fatalf("List(%+v, %+v) = %d records, next %d; want %d of %d", f, p, len(got), next, n, len(want))
		}
		for i := range got {
			m.compare(t, got[i], want[i], false)
		}
		want, p.After = want[n:], next
		if next == 0 {
			return
		}
	}
}

// checkSchedule compares what waits, is in flight, is parked or is to be
// published.
func (m *machine) checkSchedule(t *rapid.T) {
	if got, want := m.db.Counts(), m.counts(); !reflect.DeepEqual(got, want) {
		t.Fatalf("Counts = %v; want %v", got, want)
	}
	after, limit := uint64(rapid.IntRange(0, len(m.events)).Draw(t, "after")), rapid.IntRange(1, 5).Draw(t, "limit")
	seqs, err := m.db.Inflight(ctx, after, limit)
	if want := m.seqs(after, limit, inProgress); err != nil || !slices.Equal(seqs, want) {
		t.Fatalf("Inflight(%d, %d) = %v, %v; want %v", after, limit, seqs, err, want)
	}
	for _, status := range []event.Status{event.Error, event.Failed} {
		seqs, err := m.db.Parked(ctx, status, after, limit)
		want := m.seqs(after, limit, func(e *modelEvent) bool { return e.Status == status })
		if err != nil || !slices.Equal(seqs, want) {
			t.Fatalf("Parked(%s, %d, %d) = %v, %v; want %v", status, after, limit, seqs, err, want)
		}
	}
	for _, handler := range []string{"h1", "h2", "h3", "nobody"} {
		m.checkHandler(t, handler)
	}
	m.checkOutbox(t)
}

func (m *machine) checkHandler(t *rapid.T, handler string) {
	unprocessed, retries := 0, 0
	for _, d := range m.waiting(handler) {
		if d.Delivery.Status == event.Retry {
			retries++
		} else {
			unprocessed++
		}
	}
	if u, r := m.db.Waiting(handler); u != unprocessed || r != retries {
		t.Fatalf("Waiting(%s) = %d, %d; want %d, %d", handler, u, r, unprocessed, retries)
	}
	if got := slices.Contains(m.db.WaitingHandlers(), handler); got != (unprocessed+retries > 0) {
		t.Fatalf("WaitingHandlers has %s: %t; want %t", handler, got, unprocessed+retries > 0)
	}
	q := event.DueQuery{Handler: handler, Now: m.someTime(t), Limit: rapid.IntRange(1, 9).Draw(t, "limit"), Bytes: pick(t, "bytes", 1, 700, 1<<20)}
	got, next, err := m.db.Due(ctx, q)
	want, wantNext := m.due(q)
	if err != nil || len(got) != len(want) || !next.Equal(wantNext) {
		t.Fatalf("Due(%+v) = %d, next %s, %v; want %d, next %s", q, len(got), next, err, len(want), wantNext)
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Event.Seq != w.Event.Seq || g.Index != w.Index || g.Delivery != w.Delivery || !bytes.Equal(g.Payload, w.Payload) || !reflect.DeepEqual(g.Event, w.Event) {
			t.Fatalf("Due(%+v)[%d] = %+v; want %+v", q, i, g, w)
		}
	}
}

func (m *machine) checkOutbox(t *rapid.T) {
	after, limit := uint64(rapid.IntRange(0, int(m.published)).Draw(t, "after")), rapid.IntRange(1, 5).Draw(t, "limit")
	want := slices.DeleteFunc(slices.Clone(m.outbox), func(p event.Publication) bool { return p.ID <= after })
	want = want[:min(len(want), limit)]
	got, err := m.db.Outbox(ctx, after, limit)
	if err != nil || !slices.EqualFunc(got, want, samePublication) {
		t.Fatalf("Outbox(%d, %d) = %v, %v; want %v", after, limit, got, err, want)
	}
}

// checkEvents compares every event in full, by seq and by id, and the settings.
func (m *machine) checkEvents(t *rapid.T) {
	for _, e := range m.events {
		rec, err := m.db.Get(ctx, e.Seq)
		if err != nil {
			t.Fatal(err)
		}
		m.compare(t, rec, e, true)
		rows, err := m.db.Payloads(ctx, e.Seq)
		if err != nil || !slices.EqualFunc(rows, e.payloads(), samePayload) {
			t.Fatalf("Payloads(%d) = %v, %v; want %v", e.Seq, rows, err, e.payloads())
		}
		if body, err := m.db.Payload(ctx, e.Seq); err != nil || !bytes.Equal(body, e.outgoing) {
			t.Fatalf("Payload(%d) = %q, %v; want %q", e.Seq, body, err, e.outgoing)
		}
		found, err := m.db.Find(ctx, e.ID)
		want := m.find(e.ID)
		if err != nil || len(found) != len(want) {
			t.Fatalf("Find(%s) = %d records, %v; want %d", e.ID, len(found), err, len(want))
		}
		for i := range found {
			m.compare(t, found[i], want[i], true)
		}
	}
	if _, err := m.db.Get(ctx, uint64(len(m.events)+1)); !errors.Is(err, event.ErrNotFound) {
		t.Fatalf("Get of no event: %v; want %v", err, event.ErrNotFound)
	}
	m.checkInfo(t)
}

func (m *machine) checkInfo(t *rapid.T) {
	info, err := m.db.Info(ctx)
	if err != nil || info.Outbox != len(m.outbox) || info.Quarantined != 0 || info.Size == 0 {
		t.Fatalf("Info = %+v, %v; want %d in the outbox, none quarantined", info, err, len(m.outbox))
	}
	oldest := map[event.Status]time.Time{}
	for _, e := range slices.Backward(m.events) {
		oldest[e.Status] = e.CreatedAt
	}
	delete(oldest, event.Completed)
	if !maps.EqualFunc(info.Oldest, oldest, time.Time.Equal) {
		t.Fatalf("Info.Oldest = %v; want %v", info.Oldest, oldest)
	}
	for name, p := range m.positions {
		if got := m.db.LastPosition(name); got != p {
			t.Fatalf("LastPosition(%s) = %v; want %v", name, got, p)
		}
		if got := m.db.Paused("handler", name); got != m.paused[name] {
			t.Fatalf("Paused(%s) = %q; want %q", name, got, m.paused[name])
		}
	}
}

// compare fails when a record is not the event of the model.
func (m *machine) compare(t *rapid.T, got event.Record, want *modelEvent, timeline bool) {
	if !reflect.DeepEqual(got.Event, want.Event) {
		t.Fatalf("event %d = %+v; want %+v", want.Seq, got.Event, want.Event)
	}
	w := cloneState(want.State)
	if !timeline {
		w.Timeline = nil
	}
	for i := range got.Timeline {
		if e := &got.Timeline[i]; e.Reason == event.Duplicate {
			e.At, e.Detail = time.Time{}, "" // the store's own clock and words
		}
	}
	if len(got.Timeline) == 0 && len(w.Timeline) == 0 {
		got.Timeline, w.Timeline = nil, nil
	}
	if !reflect.DeepEqual(got.State, w) {
		t.Fatalf("state of event %d = %+v; want %+v", want.Seq, got.State, w)
	}
}
