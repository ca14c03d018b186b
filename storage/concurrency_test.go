package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// groups notes how many operations shared a commit.
type groups struct{ commits, operations, largest atomic.Int64 }

func (g *groups) Commit(took time.Duration, operations int) {
	g.commits.Add(1)
	g.operations.Add(int64(operations))
	for {
		old := g.largest.Load()
		if int64(operations) <= old || g.largest.CompareAndSwap(old, int64(operations)) {
			return
		}
	}
}

// traffic is everything that many goroutines do to one store at once.
type traffic struct {
	*testing.T
	db     *DB
	stop   chan struct{}
	known  sync.Map // id -> seq, of what was acknowledged
	steps  atomic.Int64
	events atomic.Int64
}

// ok reports whether a call did what it should; after the store was closed it
// need not, but must say so.
func (x *traffic) ok(what string, err error) bool {
	if err != nil && !errors.Is(err, ErrClosed) {
		x.Errorf("%s: %v", what, err)
	}
	return err == nil
}

func (x *traffic) running() bool {
	select {
	case <-x.stop:
		return false
	default:
		return true
	}
}

func (x *traffic) write(worker int) {
	for i := 0; x.running(); i++ {
		id := fmt.Sprintf("w%d-%d", worker, i)
		a := newAdmission(event.Inbound, id, "h", "h2")
		a.Outbox = []event.Publication{{Subject: "s"}}
		a.Event.CorrelationID = fmt.Sprint("conversation-", i%3)
		if !x.ok("Accept", x.db.Accept(ctx, []*event.Admission{a, newAdmission(event.Inbound, id, "h")})) {
			return
		}
		x.known.Store(id, a.Event.Seq)
		x.events.Add(1)
		for _, status := range []event.Status{event.InProgress, event.Completed} {
			u := &event.Update{Seq: a.Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
				s.Deliveries[0].Status = status
				s.Timeline = append(s.Timeline, event.Entry{At: t0, Status: status})
				return nil, nil
			}}
			if !x.ok("Update", errors.Join(x.db.Update(ctx, u), u.Err)) {
				return
			}
			x.steps.Add(1)
		}
	}
}

// find looks for what was acknowledged: it must be there, whatever is being
// sealed meanwhile.
func (x *traffic) find() {
	for x.running() {
		x.known.Range(func(id, seq any) bool {
			found, err := x.db.Find(ctx, id.(string))
			if !x.ok("Find", err) {
				return false
			}
			if len(found) != 1 || found[0].Seq != seq.(uint64) {
				x.Errorf("Find(%s) = %d events; want the acknowledged %d", id, len(found), seq)
			}
			return rand.IntN(20) > 0 && x.running() // any will do
		})
	}
}

func (x *traffic) read() {
	for x.running() {
		list, _, err := x.db.List(ctx, event.Filter{Status: event.Completed}, event.Page{Limit: 50})
		x.ok("List", err)
		for _, rec := range list {
			if rec.Status != event.Completed {
				x.Errorf("List COMPLETED has a %s", rec.Status)
			}
		}
		_, _, err = x.db.List(ctx, event.Filter{CorrelationID: "conversation-1"}, event.Page{Limit: 20, OldestFirst: true})
		x.ok("List", err)
		due, _, err := x.db.Due(ctx, event.DueQuery{Handler: "h2", Now: t0, Limit: 50, Bytes: 1 << 20})
		x.ok("Due", err)
		for i := 1; i < len(due); i++ {
			if due[i].Event.Seq <= due[i-1].Event.Seq {
				x.Errorf("Due has %d behind %d", due[i].Event.Seq, due[i-1].Event.Seq)
			}
		}
		_, err = x.db.Inflight(ctx, 0, 10)
		x.ok("Inflight", err)
		_, err = x.db.Info(ctx)
		x.ok("Info", err)
		x.db.Counts()
		x.db.WaitingHandlers()
	}
}

func (x *traffic) drain() {
	for x.running() {
		rows, err := x.db.Outbox(ctx, 0, 20)
		if !x.ok("Outbox", err) {
			return
		}
		var ids []uint64
		for _, p := range rows {
			ids = append(ids, p.ID)
		}
		if !x.ok("Published", x.db.Published(ctx, ids)) {
			return
		}
	}
}

// start begins all of it; what is returned waits for its end.
func (x *traffic) start(writers int) *sync.WaitGroup {
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() { x.write(w) })
	}
	for range 2 {
		all.Go(x.find)
		all.Go(x.read)
	}
	all.Go(x.drain)
	return &all
}

func TestManyAtOnce(t *testing.T) {
	path, g := storePath(t), &groups{}
	db := openTest(t, path, func(o *Options) { o.Observer, o.segmentEvents = g, 25 })
	x := &traffic{T: t, db: db, stop: make(chan struct{})}
	all := x.start(40)
	await(t, "1000 events", func() bool { return x.events.Load() >= 1000 || t.Failed() })
	close(x.stop)
	within(t, "the traffic", all.Wait)
	if n := db.Counts()[event.Inbound][event.Unprocessed]; int64(n) != x.events.Load() {
		t.Errorf("%d events are UNPROCESSED for h2; want all %d", n, x.events.Load())
	}
	if u, r := db.Waiting("h2"); int64(u) != x.events.Load() || r != 0 {
		t.Errorf("Waiting(h2) = %d, %d; want %d, 0", u, r, x.events.Load())
	}
	if u, r := db.Waiting("h"); u != 0 || r != 0 {
		t.Errorf("Waiting(h) = %d, %d; want none", u, r)
	}
	if g.largest.Load() < 2 || g.largest.Load() > maxGroup {
		t.Errorf("the largest group had %d operations; want several, at most %d", g.largest.Load(), maxGroup)
	}
	if mean := float64(g.operations.Load()) / float64(g.commits.Load()); mean < 1.2 { // on a busy machine few of them are there at a time
		t.Errorf("%.1f operations a commit under the load of 40 writers; want them to share", mean)
	}
}

func TestCloseWhileInUse(t *testing.T) {
	for round := range 6 {
		path := storePath(t)
		db, err := Open(Options{Path: path, segmentEvents: 15})
		if err != nil {
			t.Fatal(err)
		}
		x := &traffic{T: t, db: db, stop: make(chan struct{})}
		all := x.start(10)
		await(t, "some events", func() bool { return x.events.Load() >= int64(5+50*round) || t.Failed() })
		within(t, "Close", func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		close(x.stop)
		within(t, "the traffic", all.Wait)
		checkFile(t, path)
		db = openTest(t, path)
		x.known.Range(func(id, seq any) bool {
			if found, err := db.Find(ctx, id.(string)); err != nil || len(found) != 1 || found[0].Seq != seq.(uint64) {
				t.Errorf("Find(%s) = %+v, %v; it was acknowledged as %d", id, found, err, seq)
			}
			return true
		})
	}
}

// TestGroupsAreBounded: a group ends at so many operations, or bytes.
func TestGroupsAreBounded(t *testing.T) {
	g := &groups{}
	db := openTest(t, storePath(t), func(o *Options) { o.Observer = g })
	held, hold := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = db.do(ctx, func(*transaction) error { close(held); <-hold; return nil })
	})
	<-held
	for i := range 6 {
		all.Go(func() {
			a := newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
			a.Payload = make([]byte, maxGroupBytes/2)
			if err := db.Accept(ctx, []*event.Admission{a}); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, "all to wait", func() bool { return len(db.operations) == 6 })
	close(hold)
	all.Wait()
	if g.commits.Load() != 4 || g.largest.Load() != 2 {
		t.Errorf("6 operations of half a group took %d commits, the largest of %d; want 3 of 2, and one before", g.commits.Load(), g.largest.Load())
	}
}
