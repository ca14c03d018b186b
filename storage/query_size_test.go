package storage

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// history fills a store with events that have ended, in the ways that filters
// ask about. What is rare stands early in the history, where a list that begins
// with the newest comes last.
func history(t testing.TB, db *DB, events int) {
	t.Helper()
	const batch = 2000
	for from := 0; from < events; from += batch {
		list := make([]*event.Admission, 0, batch)
		for i := from; i < min(from+batch, events); i++ {
			list = append(list, past(i, events))
		}
		accept(t, db, list...)
	}
}

// past is the i-th event of a history.
func past(i, events int) *event.Admission {
	a := newAdmission(event.Tables[i%2], fmt.Sprint("id-", i), "h")
	a.Event.CreatedAt = t0.Add(time.Duration(i) * time.Second)
	a.Event.CorrelationID = fmt.Sprint("conversation-", i/3)
	d := &a.State.Deliveries[0]
	d.Route, d.Status = "usual", event.Completed
	switch {
	case i == events/10:
		a.Event.MessageType, a.Event.SourceService, a.Event.Table = "RARE", "ELSEWHERE", event.Response
		d.Handler, d.Route = "seldom", "byway"
	case i == events/10+1:
		d.Status, d.Reason = event.Retry, event.Timeout
	case i == events/10+2:
		d.Status = event.InProgress
	case i == events/10+3:
		d.Status = event.Unprocessed
	case i%(events/20) == 7:
		d.Status, d.Reason = event.Error, event.Rejected
	case i%(events/20) == 8:
		d.Status, d.Reason = event.Failed, event.Exhausted
	}
	return a
}

// sizeQueries are a filter of each kind with the number of events of a history
// that it selects, -1 for many.
func sizeQueries(events int) map[string]struct {
	f    event.Filter
	want int
} {
	type q = struct {
		f    event.Filter
		want int
	}
	old := t0.Add(time.Duration(events/50) * time.Second)
	return map[string]q{
		"all":                  {event.Filter{}, -1},
		"table":                {event.Filter{Table: event.Response}, 1},
		"status COMPLETED":     {event.Filter{Status: event.Completed}, -1},
		"status ERROR":         {event.Filter{Status: event.Error}, 20},
		"status FAILED":        {event.Filter{Status: event.Failed}, 20},
		"dead letters":         {event.Filter{DeadLetters: true}, 40},
		"status RETRY":         {event.Filter{Status: event.Retry}, 1},
		"status IN_PROGRESS":   {event.Filter{Status: event.InProgress}, 1},
		"status UNPROCESSED":   {event.Filter{Status: event.Unprocessed}, 1},
		"rare type":            {event.Filter{MessageType: "RARE"}, 1},
		"no such type":         {event.Filter{MessageType: "NOPE"}, 0},
		"rare handler":         {event.Filter{Handler: "seldom"}, 1},
		"no such handler":      {event.Filter{Handler: "nobody"}, 0},
		"rare route":           {event.Filter{Route: "byway"}, 1},
		"no such route":        {event.Filter{Route: "nowhere"}, 0},
		"rare reason":          {event.Filter{Reason: event.Timeout}, 1},
		"no such reason":       {event.Filter{Reason: event.Poison}, 0},
		"reason":               {event.Filter{Reason: event.Rejected}, 20},
		"rare service":         {event.Filter{SourceService: "ELSEWHERE"}, 1},
		"no such service":      {event.Filter{SourceService: "NOBODY"}, 0},
		"old conversation":     {event.Filter{CorrelationID: "conversation-1"}, 3},
		"no such conversation": {event.Filter{CorrelationID: "none"}, 0},
		"until long ago":       {event.Filter{Until: old}, events / 50},
		"since just now":       {event.Filter{Since: t0.Add(time.Duration(events-5) * time.Second)}, 5},
		"error of a rare type": {event.Filter{Status: event.Error, MessageType: "RARE"}, 0},
	}
}

// collect asks for all pages, each once, and returns how many records were
// looked at for the first and for all.
func collect(t *testing.T, db *DB, f event.Filter, p event.Page) (seqs []uint64, first, all, pages int) {
	t.Helper()
	for {
		l := db.newListing(f, p)
		if err := l.run(ctx); err != nil {
			t.Fatal(err)
		}
		list, next := l.result()
		if pages++; pages == 1 {
			first = l.rows
		}
		all += l.rows
		for i := range list {
			seqs = append(seqs, list[i].Seq)
		}
		if p.After = next; next == 0 {
			return seqs, first, all, pages
		}
	}
}

// TestQueriesReadFewRecords counts what a filter looks at: segments without what
// it asks for are passed over, before and after they are sealed and after a
// restart.
func TestQueriesReadFewRecords(t *testing.T) {
	const events, each = 30_000, 3_000
	path := storePath(t)
	small := func(o *Options) { o.segmentEvents = each }
	db := openTest(t, path, small)
	history(t, db, events)
	for _, reopened := range []bool{false, true} {
		if reopened {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = openTest(t, path, small)
		}
		await(t, "summaries", func() bool {
			return !slices.ContainsFunc(db.segmentList(), func(s *segment) bool { return !s.summary.whole.Load() })
		})
		for name, q := range sizeQueries(events) {
			for _, oldest := range []bool{false, true} {
				seqs, _, rows, pages := collect(t, db, q.f, event.Page{Limit: 100, OldestFirst: oldest})
				if q.want < 0 {
					if len(seqs) < events*9/10 {
						t.Errorf("%s: %d events; want most", name, len(seqs))
					}
					continue
				}
				if len(seqs) != q.want {
					t.Errorf("%s: %d events; want %d", name, len(seqs), q.want)
				}
				if name != "reason" && rows > each+pages { // each page looks one ahead
					t.Errorf("%s, oldest first %t, reopened %t: %d records looked at; want at most a segment of %d", name, oldest, reopened, rows, each)
				}
			}
		}
	}
}

// TestSummaryOfASealedSegmentGrows: an old event that goes another way later is
// found, also after a restart.
func TestSummaryOfASealedSegmentGrows(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	history(t, db, 100)
	await(t, "seals", func() bool { return db.segmentList()[2].ids.Load() != nil })
	u := &event.Update{Seq: 25, Step: func(s *event.State) (*event.Effects, error) {
		s.Deliveries[0] = event.Delivery{Handler: "later", Route: "detour", Status: event.Unprocessed}
		return nil, nil
	}}
	fail := &event.Update{Seq: 25, Step: func(s *event.State) (*event.Effects, error) {
		s.Deliveries[0].Status, s.Deliveries[0].Reason = event.Failed, event.Poison
		return nil, nil
	}}
	for _, u := range []*event.Update{u, fail} {
		if err := db.Update(ctx, u); err != nil || u.Err != nil {
			t.Fatal(err, u.Err)
		}
	}
	for range 2 {
		for _, f := range []event.Filter{{Handler: "later"}, {Route: "detour"}, {Reason: event.Poison}} {
			if got, _ := listed(t, db, f, event.Page{Limit: 5}); !slices.Equal(got, []uint64{25}) {
				t.Errorf("List(%+v) = %v; want 25", f, got)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openTest(t, path)
		if s := db.segmentList()[2]; !s.summary.whole.Load() {
			t.Error("the summary of a sealed segment is not in the file")
		}
	}
}

// TestPagesUnderWrites pages through a store while it is written to, with no
// time for any page: what a filter selects all the while is listed once.
func TestPagesUnderWrites(t *testing.T) {
	const events = 2_000
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents, o.queryTime = 150, time.Nanosecond })
	history(t, db, events)
	stop, all := make(chan struct{}), sync.WaitGroup{}
	all.Go(func() { disturb(t, db, events, stop) })
	for _, f := range []event.Filter{{}, {MessageType: "RQ_A_INIT"}, {Table: event.Inbound, Route: "usual"}, {SourceService: "UPSTREAM"}, {DeadLetters: true}} {
		var want []uint64
		for i := range events {
			a := past(i, events)
			a.State.Derive()
			if selectsEvent(&f, a.Event) && selectsState(&f, &a.State) {
				want = append(want, uint64(i+1))
			}
		}
		for _, oldest := range []bool{true, false} {
			got, _, _, pages := collect(t, db, f, event.Page{Limit: 40, OldestFirst: oldest, Last: events})
			if !oldest {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("List(%+v), oldest first %t: %d events, in order %t; want %d", f, oldest, len(got), slices.IsSorted(got), len(want))
			}
			if pages < 2 {
				t.Errorf("List(%+v): %d page; want it to be cut short", f, pages)
			}
		}
	}
	close(stop)
	all.Wait()
}

// disturb adds events, and takes steps of old ones that leave them selected,
// until it is stopped.
func disturb(t *testing.T, db *DB, events int, stop chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		a := newAdmission(event.Inbound, fmt.Sprint("new-", i), "h")
		u := &event.Update{Seq: uint64(i*7%events + 1), Step: func(s *event.State) (*event.Effects, error) {
			s.Timeline = append(s.Timeline, event.Entry{At: t0, Status: s.Status})
			return nil, nil
		}}
		if err := db.Accept(ctx, []*event.Admission{a}); err != nil {
			t.Error(err)
			return
		}
		if err := db.Update(ctx, u); err != nil || u.Err != nil {
			t.Error(err, u.Err)
			return
		}
	}
}

// TestQueryTimes fills a store with EVENTD_QUERY_EVENTS events and asks for the
// first page of each filter while it is written to: each within 50 ms.
func TestQueryTimes(t *testing.T) {
	events, err := strconv.Atoi(os.Getenv("EVENTD_QUERY_EVENTS"))
	if err != nil {
		t.Skip("EVENTD_QUERY_EVENTS says how many; make query-size")
	}
	const bound = 50 * time.Millisecond
	db, err := Open(Options{Path: storePath(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	history(t, db, events)
	stop, all := make(chan struct{}), sync.WaitGroup{}
	all.Go(func() { disturb(t, db, events, stop) })
	for name, q := range sizeQueries(events) {
		for _, oldest := range []bool{false, true} {
			var worst time.Duration
			var list []event.Record
			var next uint64
			for range 5 {
				started := time.Now()
				list, next, err = db.List(context.Background(), q.f, event.Page{Limit: 100, OldestFirst: oldest})
				if err != nil {
					t.Fatal(err)
				}
				worst = max(worst, time.Since(started))
			}
			t.Logf("%-22s oldest first %-5t  %3d events, more %-5t  worst of 5: %s", name, oldest, len(list), next != 0, worst.Round(10*time.Microsecond))
			if worst > bound {
				t.Errorf("%s, oldest first %t: %s; want at most %s", name, oldest, worst, bound)
			}
		}
	}
	close(stop)
	all.Wait()
}

// TestSummaryOfAnOlderStore makes and keeps those that a store of before has not.
func TestSummaryOfAnOlderStore(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	history(t, db, 100)
	awaitSealed(t, db)
	err := db.do(ctx, func(t *transaction) error {
		for _, s := range t.db.segmentList() {
			b, err := t.segment(s)
			if err != nil {
				return err
			}
			if filter := b.root.Bucket(bucketFilter); filter != nil {
				if err := filter.Delete(keySummary); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []bool{false, true} {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openTest(t, path)
		if s := db.segmentList()[0]; kept && !s.summary.whole.Load() {
			t.Error("a summary that was made anew is not in the file")
		}
		await(t, "summaries", func() bool {
			return !slices.ContainsFunc(db.segmentList(), func(s *segment) bool { return !s.summary.whole.Load() })
		})
		for _, s := range db.segmentList() {
			if f := (&event.Filter{MessageType: "RQ_A_INIT", Handler: "h", Route: "usual"}); !s.summary.mayHold(f) {
				t.Errorf("the summary of segment %d lacks what all have", s.first)
			}
			if s.summary.mayHold(&event.Filter{MessageType: "NOPE"}) || s.summary.mayHold(&event.Filter{Until: t0}) {
				t.Errorf("the summary of segment %d has what none has", s.first)
			}
		}
	}
}
