package storage

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestAcceptRefusesWhatItCannotKeep: without a table or a status an event would
// be in no count; and a caller's mistake must not break the store.
func TestAcceptRefusesWhatItCannotKeep(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	for name, spoil := range map[string]func(a *event.Admission){
		"no table":               func(a *event.Admission) { a.Event.Table = 0 },
		"unknown table":          func(a *event.Admission) { a.Event.Table = 4 },
		"no status":              func(a *event.Admission) { a.State.Deliveries = nil },
		"unknown status":         func(a *event.Admission) { a.State.Deliveries, a.State.Status = nil, 7 },
		"delivery without one":   func(a *event.Admission) { a.State.Deliveries[0].Status = 0 },
		"delivery of an unknown": func(a *event.Admission) { a.State.Deliveries[0].Status = 200 },
		"too many deliveries": func(a *event.Admission) {
			for range maxDeliveries {
				a.State.Deliveries = append(a.State.Deliveries, a.State.Deliveries[0])
			}
		},
	} {
		bad := newAdmission(event.Inbound, "bad", "h")
		spoil(bad)
		if err := db.Accept(ctx, []*event.Admission{newAdmission(event.Inbound, "good", "h"), bad}); err == nil {
			t.Errorf("%s: Accept = nil; want it refused", name)
		}
		accept(t, db, newAdmission(event.Inbound, "parent", "h"))
		u := &event.Update{Seq: 1, Step: func(s *event.State) (*event.Effects, error) {
			s.UpdatedBy = "nobody"
			return &event.Effects{FollowUps: []*event.Admission{bad}, Outbox: []event.Publication{{Subject: "s"}}}, nil
		}}
		if err := db.Update(ctx, u); err != nil || u.Err == nil {
			t.Errorf("%s: Update with it as a follow-up: %v, %v; want it refused", name, err, u.Err)
		}
	}
	list, _, err := db.List(ctx, event.Filter{}, event.Page{Limit: 10})
	if err != nil || len(list) != 1 || list[0].UpdatedBy == "nobody" || db.Err() != nil {
		t.Errorf("List = %+v, %v, %v; want the parent alone, unchanged", list, err, db.Err())
	}
	if info, err := db.Info(ctx); err != nil || info.Outbox != 0 {
		t.Errorf("Info.Outbox = %d, %v; want 0", info.Outbox, err)
	}
}

// TestSameEvent says what is known again: the same place in a stream for ever,
// the same key within the window.
func TestSameEvent(t *testing.T) {
	const window = time.Hour
	at := func(seq uint64) event.Position { return event.Position{Stream: "S", Sequence: seq, Stored: t0} }
	for name, c := range map[string]struct {
		change func(e *event.Event)
		want   bool
	}{
		"at once":                    {func(*event.Event) {}, true},
		"within the window":          {func(e *event.Event) { e.CreatedAt = t0.Add(window - time.Microsecond) }, true},
		"when the window is over":    {func(e *event.Event) { e.CreatedAt = t0.Add(window) }, false},
		"earlier, by a wrong clock":  {func(e *event.Event) { e.CreatedAt = t0.Add(-10 * window) }, true},
		"same place, years later":    {func(e *event.Event) { e.CreatedAt = t0.AddDate(9, 0, 0); e.Position = at(7) }, true},
		"another place, years later": {func(e *event.Event) { e.CreatedAt = t0.AddDate(9, 0, 0); e.Position = at(8) }, false},
		"a stream made anew": {func(e *event.Event) {
			e.CreatedAt, e.Position = t0.AddDate(9, 0, 0), at(7)
			e.Position.Stored = t0.AddDate(9, 0, 0)
		}, false},
		"another stream": {func(e *event.Event) {
			e.CreatedAt, e.Position = t0.AddDate(9, 0, 0), at(7)
			e.Position.Stream = "S2"
		}, false},
		"another place within the window": {func(e *event.Event) { e.Position = at(8) }, true},
		"another table":                   {func(e *event.Event) { e.Table = event.Response; e.Position = at(7) }, false},
		"another service":                 {func(e *event.Event) { e.SourceService = "OTHER"; e.Position = at(7) }, false},
		"another id":                      {func(e *event.Event) { e.ID = "ID" }, false},
	} {
		db := openTest(t, storePath(t), func(o *Options) { o.DedupeWindow = window })
		first := newAdmission(event.Inbound, "id", "h")
		first.Event.Position = at(7)
		accept(t, db, first)
		again := newAdmission(event.Inbound, "id", "h")
		again.Outbox = []event.Publication{{Subject: "s"}}
		c.change(again.Event)
		if accept(t, db, again); again.Duplicate != c.want || again.Duplicate != (again.Event.Seq == 1) {
			t.Errorf("%s: duplicate %t of %d; want %t", name, again.Duplicate, again.Event.Seq, c.want)
		}
		if rows, err := db.Outbox(ctx, 0, 9); err != nil || (len(rows) == 0) != c.want {
			t.Errorf("%s: %d outbox rows, %v", name, len(rows), err)
		}
	}
}

// TestNoWindow knows the places in streams alone.
func TestNoWindow(t *testing.T) {
	db := openTest(t, storePath(t), func(o *Options) { o.DedupeWindow = -1 })
	same := func(at time.Time, seq uint64) *event.Admission {
		a := newAdmission(event.Inbound, "id", "h")
		a.Event.CreatedAt, a.Event.Position = at, event.Position{Stream: "S", Sequence: seq, Stored: t0}
		return a
	}
	again, earlier, redelivered := same(t0, 8), same(t0.Add(-time.Hour), 9), same(t0.Add(time.Hour), 7)
	accept(t, db, same(t0, 7), again, earlier, redelivered)
	if again.Duplicate || earlier.Duplicate || !redelivered.Duplicate {
		t.Errorf("duplicates: the same id %t, earlier %t, the same place %t; want false, false, true",
			again.Duplicate, earlier.Duplicate, redelivered.Duplicate)
	}
}

// TestFloodOfDuplicates: the first one's timeline does not grow with it.
func TestFloodOfDuplicates(t *testing.T) {
	db := openTest(t, storePath(t))
	var list []*event.Admission
	for range 500 {
		list = append(list, newAdmission(event.Inbound, "id", "h"))
	}
	accept(t, db, list...)
	rec, err := db.Get(ctx, 1)
	if err != nil || len(rec.Timeline) != maxDuplicateNotes || rec.Status != event.Unprocessed {
		t.Fatalf("Get = %s with %d entries, %v; want %d", rec.Status, len(rec.Timeline), err, maxDuplicateNotes)
	}
	if last := rec.Timeline[maxDuplicateNotes-1]; last.Reason != event.Duplicate || last.At.IsZero() || !strings.Contains(last.Detail, "no longer noted") {
		t.Errorf("last entry = %+v; want it to say that it is the last", last)
	}
}

// TestUpdateOfNoEvent is not taken for a damaged record.
func TestUpdateOfNoEvent(t *testing.T) {
	db := openTest(t, storePath(t))
	step := func(*event.State) (*event.Effects, error) { t.Error("a step was taken"); return nil, nil }
	for _, seq := range []uint64{0, 1, 2, 99, 1 << 63} {
		u := &event.Update{Seq: seq, Step: step}
		if err := db.Update(ctx, u); err != nil || !errors.Is(u.Err, event.ErrNotFound) {
			t.Errorf("Update(%d) = %v, %v; want %v", seq, err, u.Err, event.ErrNotFound)
		}
		if seq == 1 {
			accept(t, db, newAdmission(event.Inbound, "id", "h"))
		}
	}
	if info, err := db.Info(ctx); err != nil || info.Quarantined != 0 {
		t.Errorf("Info.Quarantined = %d, %v; want 0", info.Quarantined, err)
	}
}

func TestSettingsRefuseWhatIsNoKey(t *testing.T) {
	db := openTest(t, storePath(t))
	if err := db.SavePosition(ctx, "", event.Position{}); err == nil {
		t.Error("SavePosition of no source = nil; want it refused")
	}
	if err := db.SetPaused(ctx, "handler", string(make([]byte, 40_000)), "manual"); err == nil {
		t.Error("SetPaused of a name of 40,000 bytes = nil; want it refused")
	}
	if err := db.SavePosition(ctx, string(make([]byte, 40_000)), event.Position{}); err == nil {
		t.Error("SavePosition of a name of 40,000 bytes = nil; want it refused")
	}
	if db.Err() != nil {
		t.Errorf("the store broke: %v", db.Err())
	}
}

// TestListWithoutLimit returns something rather than panicking.
func TestListWithoutLimit(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, newAdmission(event.Inbound, "a", "h"), newAdmission(event.Inbound, "b", "h"))
	list, next, err := db.List(ctx, event.Filter{}, event.Page{})
	if err != nil || len(list) != 1 || next != 2 {
		t.Errorf("List = %d, next %d, %v; want 1, next 2", len(list), next, err)
	}
}

// TestOutboxWakesForWhatComesWhileItIsEmptied: one group that adds as many rows
// as it removes has something new all the same.
func TestOutboxWakesForWhatComesWhileItIsEmptied(t *testing.T) {
	db := openTest(t, storePath(t))
	a := newAdmission(event.Inbound, "a", "h")
	a.Outbox = []event.Publication{{Subject: "s"}}
	accept(t, db, a)
	<-db.OutboxWake()
	held, hold := make(chan struct{}), make(chan struct{})
	results := make(chan error, 3)
	go func() { results <- db.do(ctx, func(*transaction) error { close(held); <-hold; return nil }) }()
	<-held
	b := newAdmission(event.Inbound, "b", "h")
	b.Outbox = []event.Publication{{Subject: "s"}}
	go func() { results <- db.Accept(ctx, []*event.Admission{b}) }()
	go func() { results <- db.Published(ctx, []uint64{a.Outbox[0].ID}) }()
	await(t, "both to wait", func() bool { return len(db.operations) == 2 })
	close(hold)
	for range 3 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-db.OutboxWake():
	default:
		t.Error("nobody is woken for the new row")
	}
	if rows, err := db.Outbox(ctx, 0, 10); err != nil || len(rows) != 1 || rows[0].EventSeq != 2 {
		t.Errorf("Outbox = %+v, %v; want the row of event 2", rows, err)
	}
}

func TestClosedStore(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	accept(t, db, newAdmission(event.Inbound, "a", "h"))
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, get := db.Get(ctx, 1)
	_, find := db.Find(ctx, "a")
	_, _, list := db.List(ctx, event.Filter{}, event.Page{Limit: 1})
	_, _, due := db.Due(ctx, event.DueQuery{Handler: "h", Now: t0, Limit: 1, Bytes: 1})
	_, outbox := db.Outbox(ctx, 0, 1)
	_, info := db.Info(ctx)
	for name, err := range map[string]error{
		"Get": get, "Find": find, "List": list, "Due": due, "Outbox": outbox, "Info": info,
		"Accept":    db.Accept(ctx, []*event.Admission{newAdmission(event.Inbound, "b", "h")}),
		"Update":    db.Update(ctx, &event.Update{Seq: 1, Step: func(*event.State) (*event.Effects, error) { return nil, nil }}),
		"Published": db.Published(ctx, []uint64{1}), "SavePosition": db.SavePosition(ctx, "s", event.Position{}),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s of a closed store: %v; want %v", name, err, ErrClosed)
		}
	}
	if p := db.Paused("handler", "h"); p != "" {
		t.Errorf("Paused of a closed store = %q", p)
	}
}

// TestEndedContext: what was not handed over is not done; what was, is.
func TestEndedContext(t *testing.T) {
	db := openTest(t, storePath(t))
	ended, cancel := context.WithTimeout(ctx, -time.Second)
	defer cancel()
	if _, err := db.Get(ended, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get = %v; want %v", err, context.DeadlineExceeded)
	}
	stored := 0
	for range 50 {
		a := newAdmission(event.Inbound, "a", "h")
		switch err := db.Accept(ended, []*event.Admission{a}); {
		case err == nil:
			stored = 1
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("Accept = %v; want nil or %v", err, context.DeadlineExceeded)
		}
	}
	if found, err := db.Find(ctx, "a"); err != nil || len(found) != stored {
		t.Errorf("Find = %d, %v; Accept said %d", len(found), err, stored)
	}
}
