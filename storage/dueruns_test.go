package storage

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// dueModel is the index of what is due as a set.
type dueModel map[dueEntry]event.Status

// drawDue draws an entry, near to others.
func drawDue(t *rapid.T) dueEntry {
	return dueEntry{
		handler: uint32(rapid.IntRange(1, maxOpenRuns+3).Draw(t, "handler")), at: uint64(rapid.IntRange(1, 2).Draw(t, "at")),
		seq: uint64(rapid.IntRange(1, 12).Draw(t, "seq")), delivery: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "delivery"),
	}
}

// dueChange schedules an entry, or takes it out.
type dueChange struct {
	dueEntry
	add    bool
	status event.Status
}

// drawChanges draws what one transaction does: with single entries, and with as
// many as follow one another.
func drawChanges(t *rapid.T) (list []dueChange) {
	for range rapid.IntRange(1, 8).Draw(t, "steps") {
		x := dueChange{dueEntry: drawDue(t), add: rapid.Bool().Draw(t, "add")}
		for range rapid.IntRange(1, 6).Draw(t, "run") {
			x.status = rapid.SampledFrom([]event.Status{event.Unprocessed, event.Unprocessed, event.Retry}).Draw(t, "status")
			list = append(list, x)
			x.seq++
		}
	}
	return list
}

func (m dueModel) change(t *transaction, x dueChange) error {
	_, there := m[x.dueEntry]
	if got := t.scheduled(x.dueEntry); got != there {
		return fmt.Errorf("%+v is scheduled: %t; want %t", x.dueEntry, got, there)
	}
	if !x.add {
		delete(m, x.dueEntry)
		return t.unschedule("h", x.dueEntry)
	}
	if there {
		return nil
	}
	m[x.dueEntry] = x.status
	return t.schedule(x.dueEntry, x.status)
}

// TestDueRunsAreASet: however entries come and go, the index has those that were
// added and not taken out, each once, and none is found that is not there.
func TestDueRunsAreASet(t *testing.T) {
	db := openTest(t, storePath(t))
	rapid.Check(t, func(t *rapid.T) {
		m, err := dueModel{}, emptyDue(db)
		for range rapid.IntRange(1, 8).Draw(t, "commits") {
			list := drawChanges(t)
			if err == nil {
				err = db.do(ctx, func(t *transaction) (err error) {
					for _, x := range list {
						err = errors.Join(err, m.change(t, x))
					}
					return err
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := readDueRuns(t, db); !maps.Equal(got, m) {
				t.Fatalf("the index has %v; want %v", got, m)
			}
		}
	})
	if err := emptyDue(db); err != nil { // there are no such events
		t.Fatal(err)
	}
}

func emptyDue(db *DB) error {
	return db.do(ctx, func(t *transaction) (err error) {
		if err = t.tx.DeleteBucket(bucketDue); err == nil {
			t.due, err = t.tx.CreateBucket(bucketDue)
		}
		return err
	})
}

func readDueRuns(t *rapid.T, db *DB) dueModel {
	found := dueModel{}
	err := db.view(ctx, func(r *snapshot) error {
		return r.tx.Bucket(bucketDue).ForEach(func(k, v []byte) error {
			run, ok := readDueRun(k, v)
			if !ok {
				t.Fatalf("entry %x = %x", k, v)
			}
			for d := range run.entries() {
				if _, twice := found[d]; twice {
					t.Fatalf("%+v is there twice", d)
				}
				found[d] = run.status
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestABurstIsAFewEntries: what is stored together and waits for the same handler
// is one entry of the index, which becomes shorter as it is handled.
func TestABurstIsAFewEntries(t *testing.T) {
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents = 1000 })
	list := make([]*event.Admission, 500)
	for i := range list {
		list[i] = newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
	}
	accept(t, db, list...)
	wantDue := func(entries, events int) {
		t.Helper()
		n := 0
		err := db.view(ctx, func(r *snapshot) error {
			return r.tx.Bucket(bucketDue).ForEach(func(_, _ []byte) error { n++; return nil })
		})
		if err != nil || n != entries {
			t.Errorf("the index has %d entries, %v; want %d", n, err, entries)
		}
		if waits, _ := db.Waiting("h"); waits != events {
			t.Errorf("%d events wait; want %d", waits, events)
		}
	}
	wantDue(1, 500)
	begin := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			u := &event.Update{Seq: list[i].Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
				s.Deliveries[0].Status = event.InProgress
				return nil, nil
			}}
			if err := db.Update(ctx, u); err != nil || u.Err != nil {
				t.Fatal(err, u.Err)
			}
		}
	}
	begin(0, 100)
	wantDue(1, 400)
	begin(200, 201)
	wantDue(2, 399)
	found, next, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: db.now(), Limit: 150, Bytes: 1 << 20})
	if err != nil || len(found) != 150 || next.IsZero() {
		t.Fatalf("Due = %d events, next %v, %v", len(found), next, err)
	}
	for i, x := range found {
		want := uint64(101 + i)
		if i >= 100 {
			want++ // without that one
		}
		if x.Event.Seq != want {
			t.Fatalf("event %d that is due has seq %d; want %d", i, x.Event.Seq, want)
		}
	}
}

// countingCursor counts how often it is moved back.
type countingCursor struct {
	*bolt.Cursor
	back int
}

func (c *countingCursor) Prev() (k, v []byte) {
	c.back++
	return c.Cursor.Prev()
}

// TestWhatIsNotDueIsSoonMissed, however much else is due at the same time.
func TestWhatIsNotDueIsSoonMissed(t *testing.T) {
	db := openTest(t, storePath(t))
	const n = 10_000
	err := db.do(ctx, func(t *transaction) (err error) {
		for seq := uint64(1); seq <= n && err == nil; seq++ {
			err = t.schedule(dueEntry{handler: 1, at: 1, seq: 2 * seq, delivery: int(seq % 2)}, event.Unprocessed)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dueEntry
		most int
	}{
		{dueEntry{handler: 1, at: 1, seq: n + 1}, 3},
		{dueEntry{handler: 1, at: 1, seq: 2*n + 1}, 3},
		{dueEntry{handler: 1, at: 1, seq: 2 * n, delivery: 2}, maxDueRun},
	} {
		err := db.view(ctx, func(r *snapshot) error {
			at := &countingCursor{Cursor: r.tx.Bucket(bucketDue).Cursor()}
			if found, ok := findDue(at, c.dueEntry); ok || at.back > c.most {
				t.Errorf("%+v: found %v, %t, after %d steps back; want none after %d", c.dueEntry, found, ok, at.back, c.most)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := emptyDue(db); err != nil { // there are no such events
		t.Fatal(err)
	}
}
