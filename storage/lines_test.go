package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// orderly drives a store with ordered deliveries beside a list of them.
type orderly struct {
	db      *DB
	options Options
	events  []*orderedEvent // by seq, from 1
}

type orderedEvent struct{ list []event.Delivery }

var handlersInOrder = []string{"h1", "h2"}

// TestLinesKeepOrder: of those of a handler with one order key at most one is in
// flight, and what is due is the one that came first of those that hold a place.
func TestLinesKeepOrder(t *testing.T) {
	dir := filepath.Dir(storePath(t))
	rapid.Check(t, func(t *rapid.T) {
		run, err := os.MkdirTemp(dir, "run-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(run)
		m := &orderly{options: Options{Path: filepath.Join(run, "eventd.db"), segmentEvents: 7}}
		if m.db, err = Open(m.options); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.db.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"accept":  m.accept,
			"begin":   m.begin,
			"begin2":  m.begin,
			"late":    m.beginLate,
			"settle":  m.settle,
			"settle2": m.settle,
			"person":  m.person,
			"reopen":  m.reopen,
			"load":    m.load,
		})
		m.reopen(t)
		m.check(t)
	})
}

func (m *orderly) accept(t *rapid.T) {
	var list []*event.Admission
	for range rapid.IntRange(1, 4).Draw(t, "events") {
		m.events = append(m.events, &orderedEvent{})
		e := m.events[len(m.events)-1]
		a := newAdmission(event.Inbound, fmt.Sprint("id-", len(m.events)))
		for _, h := range handlersInOrder[:rapid.IntRange(1, 2).Draw(t, "handlers")] {
			d := event.Delivery{Handler: h, Status: event.Unprocessed, NextAttempt: pick(t, "at", t0, t0, t0, later)}
			if d.OrderKey = pick(t, "key", "", "a", "a", "b"); d.Ordered() {
				d.OnFailure = pick(t, "on failure", event.Block, event.Park, event.Skip)
			}
			a.State.Deliveries = append(a.State.Deliveries, d)
		}
		e.list = slices.Clone(a.State.Deliveries)
		list = append(list, a)
	}
	if err := m.db.Accept(ctx, list); err != nil {
		t.Fatal(err)
	}
}

var later = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)

// change takes a step of one delivery and sees that somebody whose turn it is now
// is told of.
func (m *orderly) change(t *rapid.T, seq uint64, i int, f func(*event.Delivery)) error {
	before := m.dueNow(t)
	u := &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
		f(&s.Deliveries[i])
		return nil, nil
	}}
	if err := m.db.Update(ctx, u); err != nil {
		t.Fatal(err)
	}
	if u.Err == nil {
		f(&m.events[seq-1].list[i])
	}
	for x := range m.dueNow(t) {
		h := m.events[x.seq-1].list[x.delivery].Handler
		if !before[x] && x.seq != seq && !slices.Contains(u.Turns, h) {
			t.Fatalf("event %d has become due for %s; the step of event %d says %q", x.seq, h, seq, u.Turns)
		}
	}
	return u.Err
}

// dueNow returns what the store has due, once all have their places.
func (m *orderly) dueNow(t *rapid.T) map[spot]bool {
	found := map[spot]bool{}
	for _, h := range handlersInOrder {
		for _, d := range m.due(t, h) {
			found[spot{d.Event.Seq, d.Index}] = true
		}
	}
	return found
}

func (m *orderly) due(t *rapid.T, handler string) []event.Due {
	q := event.DueQuery{Handler: handler, Now: m.db.now(), Limit: 1000, Bytes: 1 << 30}
	for range 100 {
		list, next, err := m.db.Due(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if next.IsZero() || next.After(q.Now) {
			return list
		}
	}
	t.Fatal("what is due does not come to an end")
	return nil
}

func start(d *event.Delivery) {
	d.Status, d.Reason, d.NextAttempt = event.InProgress, "", time.Time{}
	d.Attempts++
}

// begin begins attempts of what is due.
func (m *orderly) begin(t *rapid.T) {
	for _, d := range m.due(t, pick(t, "handler", handlersInOrder...)) {
		if rapid.Bool().Draw(t, "begin") {
			if err := m.change(t, d.Event.Seq, d.Index, start); err != nil {
				t.Fatalf("what is due cannot begin: %v", err)
			}
		}
	}
}

// beginLate begins what was due a while ago: it may be another's turn now.
func (m *orderly) beginLate(t *rapid.T) {
	list := m.some(func(d *event.Delivery) bool { return waits(d.Status) })
	if len(list) == 0 {
		return
	}
	x := pick(t, "late", list...)
	d, busy := m.events[x.seq-1].list[x.delivery], false
	m.each(func(_ spot, o *event.Delivery) {
		busy = busy || o.Status == event.InProgress && o.Handler == d.Handler && o.OrderKey == d.OrderKey && d.Ordered()
	})
	if err := m.change(t, x.seq, x.delivery, start); (err != nil) != busy || err != nil && !errors.Is(err, event.ErrConflict) {
		t.Fatalf("begin beside another of the key (%t): %v", busy, err)
	}
}

func (m *orderly) each(f func(spot, *event.Delivery)) {
	for i, e := range m.events {
		for n := range e.list {
			f(spot{uint64(i + 1), n}, &e.list[n])
		}
	}
}

// some returns the deliveries that fit.
func (m *orderly) some(fit func(*event.Delivery) bool) (list []spot) {
	m.each(func(p spot, d *event.Delivery) {
		if fit(d) {
			list = append(list, p)
		}
	})
	return list
}

func (m *orderly) settle(t *rapid.T) {
	list := m.some(func(d *event.Delivery) bool { return d.Status == event.InProgress })
	if len(list) == 0 {
		return
	}
	p := pick(t, "attempt", list...)
	status := pick(t, "status", event.Completed, event.Completed, event.Retry, event.Unprocessed, event.Error, event.Failed)
	at := pick(t, "at", t0, later)
	reason := pick(t, "reason", event.Rejected, event.Expired, event.Exhausted)
	if err := m.change(t, p.seq, p.delivery, func(d *event.Delivery) {
		d.Status, d.Reason, d.NextAttempt = status, "", time.Time{}
		switch {
		case status.DeadLetter():
			d.Reason = reason
		case status == event.Retry:
			d.Reason, d.NextAttempt = event.Timeout, at
		case status == event.Unprocessed:
			d.NextAttempt = t0
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// person redrives, cancels, or takes a handler away.
func (m *orderly) person(t *rapid.T) {
	list := m.some(func(d *event.Delivery) bool { return d.Status != event.InProgress })
	if len(list) == 0 {
		return
	}
	p := pick(t, "event", list...)
	was := m.events[p.seq-1].list[p.delivery].Status
	to := pick(t, "to", event.Unprocessed, event.Failed, event.Error)
	reason := map[event.Status]event.Reason{event.Failed: event.Cancelled, event.Error: event.NoRoute}[to]
	handler := pick(t, "handler", "", "", "h1")
	if was != to && !event.CanStep(was, to) {
		return
	}
	if err := m.change(t, p.seq, p.delivery, func(d *event.Delivery) {
		d.Status, d.Reason, d.NextAttempt = to, reason, time.Time{}
		if to == event.Unprocessed {
			d.NextAttempt = t0
		}
		if handler != "" {
			d.Handler = handler
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func (m *orderly) reopen(t *rapid.T) {
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	problems, err := Inconsistencies(m.options.Path)
	if err != nil || len(problems) > 0 {
		t.Fatalf("check: %v, %q", err, problems)
	}
	if m.db, err = Open(m.options); err != nil {
		t.Fatal(err)
	}
}

// load goes on with a store that is made of a dump.
func (m *orderly) load(t *rapid.T) {
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	var dump bytes.Buffer
	if _, err := Dump(ctx, CommandOptions{Path: m.options.Path}, &dump); err != nil {
		t.Fatal(err)
	}
	o := PutOptions{CommandOptions: CommandOptions{Path: m.options.Path}, Force: true, segmentEvents: 5}
	if _, err := Load(ctx, o, &dump); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.db, err = Open(m.options); err != nil {
		t.Fatal(err)
	}
}

func (m *orderly) check(t *rapid.T) {
	for seq, e := range m.events {
		rec, err := m.db.Get(ctx, uint64(seq+1))
		if err != nil || !slices.Equal(rec.Deliveries, e.list) {
			t.Fatalf("event %d = %+v, %v; want %+v", seq+1, rec.Deliveries, err, e.list)
		}
	}
	got := m.dueNow(t)
	for _, h := range handlersInOrder {
		waiting := 0
		m.each(func(p spot, d *event.Delivery) {
			if d.Handler != h || !waits(d.Status) {
				return
			}
			waiting++
			if want := m.isDue(p, d); got[p] != want {
				t.Fatalf("event %d.%d %+v is due: %t; want %t", p.seq, p.delivery, *d, got[p], want)
			}
		})
		if u, r := m.db.Waiting(h); u+r != waiting {
			t.Fatalf("Waiting(%s) = %d, %d; want %d in all", h, u, r, waiting)
		}
		m.checkHeads(t, h)
		m.checkLined(t, h, got)
	}
}

// isDue is what is due, as plainly as it can be said.
func (m *orderly) isDue(p spot, d *event.Delivery) bool {
	if !d.NextAttempt.Before(later) {
		return false
	}
	if !d.Ordered() {
		return true
	}
	turn := true
	m.each(func(q spot, o *event.Delivery) {
		if o.Handler != d.Handler || o.OrderKey != d.OrderKey || p == q {
			return
		}
		before := q.seq < p.seq || q.seq == p.seq && q.delivery < p.delivery
		turn = turn && o.Status != event.InProgress && (!before || !m.holds(o))
	})
	return turn
}

// holds reports whether others wait behind a delivery: a delayed one, and one that
// is skipped, have a place once their time has come.
func (m *orderly) holds(d *event.Delivery) bool {
	if d.Status == event.Unprocessed || d.Status == event.Retry && d.OnFailure == event.Skip {
		return d.NextAttempt.Before(later)
	}
	return d.Holds()
}

func (m *orderly) checkHeads(t *rapid.T, h string) {
	want, blocked := 0, 0
	for _, key := range []string{"a", "b"} {
		var head *event.Delivery
		m.each(func(_ spot, d *event.Delivery) {
			if d.Handler == h && d.OrderKey == key && m.holds(d) && (head == nil || d.Status == event.InProgress && head.Status != event.InProgress) {
				head = d
			}
		})
		if head != nil && (head.Status == event.Retry || head.Status.DeadLetter()) {
			want++
		}
		if head != nil && head.Status.DeadLetter() {
			blocked++
		}
	}
	heads, more, err := m.db.OrderHeads(ctx, h, 10)
	if err != nil || more || len(heads) != want || m.db.BlockedKeys(h) != blocked {
		t.Fatalf("OrderHeads(%s) = %+v, %t, %v, %d blocked; want %d, %d blocked", h, heads, more, err, m.db.BlockedKeys(h), want, blocked)
	}
	for _, x := range heads {
		behind := 0
		m.each(func(p spot, d *event.Delivery) {
			if d.Handler == h && d.OrderKey == x.Key && m.holds(d) && p != (spot{x.Record.Seq, x.Delivery}) {
				behind++
			}
		})
		if x.Waiting != behind || x.More {
			t.Fatalf("%d wait behind %+v; want %d", x.Waiting, x, behind)
		}
	}
}

// checkLined goes through what waits for its turn, as who holds it does.
func (m *orderly) checkLined(t *rapid.T, h string, due map[spot]bool) {
	var after []byte
	found := map[spot]bool{}
	for {
		list, next, err := m.db.Lined(ctx, h, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			found[spot{d.Event.Seq, d.Index}] = true
		}
		if after = next; after == nil {
			break
		}
	}
	m.each(func(p spot, d *event.Delivery) {
		want := d.Handler == h && d.Ordered() && waits(d.Status) && m.holds(d) && !due[p]
		// whose turn it is without being due yet waits for a time, not for a turn
		if d.Status == event.Retry && !d.NextAttempt.Before(later) {
			return
		}
		if found[p] != want {
			t.Fatalf("event %d.%d %+v waits in line: %t; want %t", p.seq, p.delivery, *d, found[p], want)
		}
	})
}

// TestLineOfManyIsNotGoneThrough: what it takes to complete an event does not
// depend on how many wait behind it, nor do others of the handler.
func TestLineOfManyIsNotGoneThrough(t *testing.T) {
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents = segmentEvents })
	const n = 5000
	list := make([]*event.Admission, n)
	for i := range list {
		list[i] = ordered(fmt.Sprint("id-", i), "one", event.Block)
	}
	accept(t, db, list...)
	accept(t, db, ordered("other", "two", event.Block))
	_ = db.view(ctx, func(r *snapshot) error {
		if keys := countKeys(r.tx.Bucket(bucketDue)); keys != 2 {
			t.Errorf("the schedule has %d keys; want those of the two whose turn it is", keys)
		}
		return nil
	})
	got, _, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: db.now(), Limit: 10, Bytes: 1 << 20})
	if err != nil || len(got) != 2 || got[0].Event.ID != "id-0" || got[1].Event.ID != "other" {
		t.Fatalf("Due = %+v, %v; want the first of each key", got, err)
	}
	if u, _ := db.Waiting("h"); u != n+1 {
		t.Errorf("Waiting = %d; want %d", u, n+1)
	}
}

func ordered(id, key string, f event.OnFailure) *event.Admission {
	a := newAdmission(event.Inbound, id, "h")
	a.State.Deliveries[0].OrderKey, a.State.Deliveries[0].OnFailure = key, f
	return a
}

// TestDamagedTurnIsGivenUp: a record that cannot be read keeps nobody waiting.
func TestDamagedTurnIsGivenUp(t *testing.T) {
	for _, status := range []event.Status{event.Unprocessed, event.InProgress, event.Error} {
		path := storePath(t)
		db := openTest(t, path)
		first := ordered("first", "k", event.Block)
		first.State.Deliveries[0].Status = status
		accept(t, db, first, ordered("second", "k", event.Block))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		editStore(t, path, func(tx *bolt.Tx) error {
			states := tx.Bucket(bucketSegments).Bucket(key8(1)).Bucket(bucketStates)
			v := bytes.Clone(states.Get(key8(1)))
			v[stateSize/2]++
			return states.Put(key8(1), v)
		})
		db = openTest(t, path)
		u := &event.Update{Seq: 1, Step: func(*event.State) (*event.Effects, error) { return nil, nil }}
		if status != event.Unprocessed { // which is met where what is due is read
			if err := db.Update(ctx, u); err != nil || !errors.Is(u.Err, ErrQuarantined) || !slices.Equal(u.Turns, []string{"h"}) {
				t.Fatalf("%s: Update = %v, %v, turns %q; want it to be quarantined, and the turn of h", status, err, u.Err, u.Turns)
			}
		}
		q := event.DueQuery{Handler: "h", Now: db.now(), Limit: 10, Bytes: 1 << 20}
		list, _, err := db.Due(ctx, q)
		if err != nil || len(list) != 1 || list[0].Event.ID != "second" {
			t.Errorf("%s: Due = %+v, %v; want the second", status, list, err)
		}
		if u, r := db.Waiting("h"); u+r != 1 {
			t.Errorf("%s: Waiting = %d, %d; want one", status, u, r)
		}
	}
}

// TestRetentionLeavesWhatKeepsOthersWaiting: it has not ended for those behind it.
func TestRetentionLeavesWhatKeepsOthersWaiting(t *testing.T) {
	for f, left := range map[event.OnFailure]bool{event.Block: true, event.Park: false} {
		db := openTest(t, storePath(t), func(o *Options) { o.Retention = Retention{Failed: time.Hour} })
		a := ordered("first", "k", f)
		a.State.Deliveries[0].Status, a.State.Deliveries[0].Reason = event.Failed, event.Exhausted
		a.State.UpdatedAt = t0
		accept(t, db, a)
		for i := range 20 { // a segment later
			accept(t, db, newAdmission(event.Inbound, fmt.Sprint("id-", i), "h2"))
		}
		p := db.options.policy()
		v, err := db.survey(db.segmentList()[0], p, t0.AddDate(0, 1, 0))
		if err != nil {
			t.Fatal(err)
		}
		if got := v.found(1)&(rowGoes|bytesGo) == 0; got != left {
			t.Errorf("%s: it stays: %t; want %t", f, got, left)
		}
	}
}

// TestTurnsThatComeByDamageAreTold: who waits behind an event that cannot be read, for
// another handler than the one whose queue is read, is due, and his handler is told.
func TestTurnsThatComeByDamageAreTold(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	first := newAdmission(event.Inbound, "first", "h", "h2")
	behind := newAdmission(event.Inbound, "second", "h2")
	for _, d := range []*event.Delivery{&first.State.Deliveries[0], &first.State.Deliveries[1], &behind.State.Deliveries[0]} {
		d.OrderKey, d.OnFailure = "k", event.Block
	}
	accept(t, db, first, behind)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	editStore(t, path, func(tx *bolt.Tx) error {
		states := tx.Bucket(bucketSegments).Bucket(key8(1)).Bucket(bucketStates)
		v := bytes.Clone(states.Get(key8(1)))
		v[stateSize/2]++
		return states.Put(key8(1), v)
	})
	db = openTest(t, path)
	if list, _, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: db.now(), Limit: 10, Bytes: 1 << 20}); err != nil || len(list) != 0 {
		t.Fatalf("Due = %+v, %v; want none", list, err)
	}
	select {
	case got := <-db.TurnsCome():
		if !slices.Equal(got, []string{"h2"}) {
			t.Errorf("TurnsCome = %q; want h2", got)
		}
	default:
		t.Error("nobody is told that it is the turn of the second")
	}
}
