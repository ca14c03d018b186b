package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// short is a retention whose times can be told apart.
var short = Retention{Completed: 4 * time.Hour, Error: 12 * time.Hour, Failed: 40 * time.Hour, Payload: time.Hour}

func keeping(r Retention, window time.Duration) func(*Options) {
	return func(o *Options) { o.Retention, o.DedupeWindow = r, window }
}

// fresh returns an event that is created now.
func fresh(id string) *event.Admission {
	a := newAdmission(event.Inbound, id, "h")
	a.Event.CreatedAt, a.State.UpdatedAt, a.State.Deliveries[0].NextAttempt = time.Now(), time.Now(), time.Now()
	return a
}

// end takes an event to a status, through an attempt, now.
func end(t testing.TB, db *DB, seq uint64, status event.Status, effects *event.Effects) {
	t.Helper()
	if status == event.Unprocessed {
		return
	}
	take(t, db, seq, event.InProgress, nil)
	if status != event.InProgress {
		take(t, db, seq, status, effects)
	}
}

// take takes a step of an event.
func take(t testing.TB, db *DB, seq uint64, status event.Status, effects *event.Effects) {
	t.Helper()
	u := &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
		s.Deliveries[0].Status, s.UpdatedAt = status, time.Now()
		s.Timeline = append(s.Timeline, event.Entry{At: time.Now(), Status: status, Handler: "h"})
		return effects, nil
	}}
	if err := db.Update(ctx, u); err != nil || u.Err != nil {
		t.Fatal(err, u.Err)
	}
}

func ids(t testing.TB, db *DB) (list []string) {
	t.Helper()
	records, _, err := db.List(ctx, event.Filter{}, event.Page{Limit: 1000, OldestFirst: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		list = append(list, r.ID)
	}
	return list
}

// TestRetentionByStatus: each status has a time of its own, what has not ended
// has none, and who asks for what is gone is told that it is not there.
func TestRetentionByStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(short, time.Hour))
		steps := map[string]event.Status{
			"waits": event.Unprocessed, "runs": event.InProgress, "retries": event.Retry,
			"completed": event.Completed, "error": event.Error, "failed": event.Failed,
		}
		for i := range 30 { // three segments
			for name, status := range steps {
				a := fresh(fmt.Sprint(name, "-", i))
				accept(t, db, a)
				end(t, db, a.Event.Seq, status, nil)
			}
		}
		want := func(after time.Duration, gone ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			left := ids(t, db)
			for name := range steps {
				n := 0
				for _, id := range left {
					if strings.HasPrefix(id, name+"-") {
						n++
					}
				}
				if all := !slices.Contains(gone, name); all && n != 30 || !all && n != 0 {
					t.Errorf("%d of 30 %s are left", n, name)
				}
			}
		}
		want(3*time.Hour + 59*time.Minute)
		want(time.Hour+5*time.Minute, "completed")
		want(6*time.Hour, "completed")
		want(4*time.Hour+5*time.Minute, "completed", "error")
		want(24*time.Hour, "completed", "error")
		want(12*time.Hour, "completed", "error", "failed")
		found, err := db.Find(ctx, "completed-1")
		if err != nil || len(found) != 0 {
			t.Errorf("Find of what is gone = %v, %v", found, err)
		}
		if n := db.Counts()[event.Inbound][event.Completed]; n != 0 {
			t.Errorf("%d COMPLETED are counted; want none", n)
		}
		again := fresh("failed-2")
		if accept(t, db, again); again.Duplicate {
			t.Error("an event that is gone is still known")
		}
		u := &event.Update{Seq: 4, Step: func(*event.State) (*event.Effects, error) { return nil, nil }}
		if err := db.Update(ctx, u); err != nil || !errors.Is(u.Err, event.ErrNotFound) && u.Err != nil {
			t.Errorf("Update of what may be gone: %v, %v", err, u.Err)
		}
	})
}

// TestOldSegmentsAreDroppedWhole: nothing is left of them in the file, also when
// nothing new arrives.
func TestOldSegmentsAreDroppedWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path, keeping(Retention{Completed: time.Minute, Error: time.Minute, Failed: time.Minute}, time.Minute))
		for i := range 95 {
			a := fresh(fmt.Sprint("id-", i))
			a.Payload = make([]byte, 20_000)
			accept(t, db, a)
			end(t, db, a.Event.Seq, []event.Status{event.Completed, event.Failed}[i%2], nil)
		}
		inUse := func() int64 {
			high, err := db.highWater()
			if err != nil {
				t.Fatal(err)
			}
			return high - db.free()
		}
		before := inUse()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n := len(db.segmentList()); n != 1 {
			t.Errorf("%d segments are left; want the one for what comes", n)
		}
		if after := inUse() - journalSize; after > before/20 {
			t.Errorf("%d bytes are in use; before it were %d", after, before)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		wantNothingDropped(t, path)
		db = openTest(t, path, keeping(short, time.Hour))
		a := fresh("next")
		if accept(t, db, a); a.Event.Seq != 96 {
			t.Errorf("the next event has seq %d; want 96: numbers are not given twice", a.Event.Seq)
		}
	})
}

// wantNothingDropped fails when a dropped segment is still to be deleted.
func wantNothingDropped(t *testing.T, path string) {
	t.Helper()
	b, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_ = b.View(func(tx *bolt.Tx) error {
		if d := tx.Bucket(bucketDropped); d != nil && d.Inspect().KeyN+len(d.Inspect().Children) > 0 {
			t.Errorf("%d dropped segments are left", len(d.Inspect().Children))
		}
		return nil
	})
}

// TestPayloadRetention: bytes go before the event does; the event says so, and
// cannot be handled again. Those of dead letters stay.
func TestPayloadRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path, keeping(short, time.Hour))
		done, failed, waits := fresh("done"), fresh("failed"), fresh("waits")
		accept(t, db, done, failed, waits) // in one block
		sent := []event.Payload{{Topic: "own"}, {Topic: "other", Body: []byte("other bytes")}}
		end(t, db, done.Event.Seq, event.Completed, &event.Effects{Sent: sent})
		end(t, db, failed.Event.Seq, event.Failed, nil)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if _, err := db.Payload(ctx, done.Event.Seq); err != nil {
			t.Errorf("Payload before its time: %v", err)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		for range 2 {
			if _, err := db.Payload(ctx, done.Event.Seq); !errors.Is(err, event.ErrPayloadRemoved) {
				t.Errorf("Payload after its time: %v; want %v", err, event.ErrPayloadRemoved)
			}
			rows, err := db.Payloads(ctx, done.Event.Seq)
			if err != nil || len(rows) != 3 {
				t.Fatalf("Payloads = %d rows, %v; want 3", len(rows), err)
			}
			for _, r := range rows {
				if !r.Removed || len(r.Body) > 0 || r.CreatedAt.IsZero() && r.Topic == "" {
					t.Errorf("payload row %+v; want it removed, and the rest of it there", r)
				}
			}
			for _, a := range []*event.Admission{failed, waits} {
				if p, err := db.Payload(ctx, a.Event.Seq); err != nil || string(p) != string(a.Payload) {
					t.Errorf("Payload of %s = %q, %v", a.Event.ID, p, err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = openTest(t, path, keeping(short, time.Hour))
		}
		u := &event.Update{Seq: done.Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.Unprocessed
			return nil, nil
		}}
		if err := db.Update(ctx, u); err != nil || !errors.Is(u.Err, event.ErrConflict) || !errors.Is(u.Err, event.ErrPayloadRemoved) {
			t.Errorf("redrive without payload: %v, %v; want %v", err, u.Err, event.ErrConflict)
		}
	})
}

// TestDedupeWindowIsStronger: an event stays as long as a duplicate of it must be
// recognised; its payload does not.
func TestDedupeWindowIsStronger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(Retention{Completed: time.Minute}, 24*time.Hour))
		a := fresh("id")
		accept(t, db, a)
		end(t, db, a.Event.Seq, event.Completed, nil)
		time.Sleep(23 * time.Hour)
		if _, err := db.Payload(ctx, a.Event.Seq); !errors.Is(err, event.ErrPayloadRemoved) {
			t.Errorf("Payload: %v; want %v", err, event.ErrPayloadRemoved)
		}
		again := fresh("id")
		if accept(t, db, again); !again.Duplicate {
			t.Error("a duplicate within the window is not recognised")
		}
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		if left := ids(t, db); len(left) > 0 {
			t.Errorf("%v are left after the window", left)
		}
	})
}

// TestOutboxKeepsEvents: what is not published yet needs its event, whether its
// segment could be dropped or not.
func TestOutboxKeepsEvents(t *testing.T) {
	for name, beside := range map[string]int{"alone": 0, "beside one that waits": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outboxKeeps(t, beside) })
		})
	}
}

func outboxKeeps(t *testing.T, beside int) {
	db := openTest(t, storePath(t), keeping(Retention{Completed: time.Minute}, time.Minute))
	a := fresh("id")
	accept(t, db, a)
	if beside > 0 {
		accept(t, db, fresh("waits"))
	}
	end(t, db, a.Event.Seq, event.Completed, &event.Effects{Outbox: []event.Publication{{Subject: "s"}}})
	time.Sleep(time.Hour)
	synctest.Wait()
	rows, err := db.Outbox(ctx, 0, 10)
	if err != nil || len(rows) != 1 || string(rows[0].Body) != string(a.Payload) {
		t.Fatalf("Outbox = %v, %v; want the row with its body", rows, err)
	}
	if err := db.Published(ctx, []uint64{rows[0].ID}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	if left := ids(t, db); len(left) != beside {
		t.Errorf("%v are left after they were published", left)
	}
}

// TestThinBlocksThatSpanChunks: what is removed leaves nothing in a block, also
// when the block reaches over several pieces of work.
func TestThinBlocksThatSpanChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(Retention{Completed: time.Minute}, time.Minute), func(o *Options) { o.segmentEvents = 4000 })
		var list []*event.Admission
		for i := range 3*chunk + 9 {
			a := fresh(fmt.Sprint("id-", i))
			a.Payload = []byte("{}")
			if a.State.Deliveries[0].Status = event.Completed; i == 700 {
				a.State.Deliveries[0].Status = event.Unprocessed
			}
			list = append(list, a)
		}
		accept(t, db, list...)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		err := db.view(ctx, func(r *snapshot) error {
			b, err := r.segment(db.segmentList()[0])
			if err != nil {
				return err
			}
			for _, blocks := range []*bolt.Bucket{b.heads, b.payloads} {
				left := 0
				_ = blocks.ForEach(func(_, v []byte) error {
					_, n, _, err := blockWithout(v, func(uint64) bool { return false })
					left += n
					return err
				})
				if left != 1 {
					t.Errorf("%d records are left in blocks; want that of the event that waits", left)
				}
			}
			return nil
		})
		if p, e := db.Payload(ctx, 701); err != nil || e != nil || string(p) != "{}" {
			t.Errorf("Payload of the event that waits: %q, %v, %v", p, e, err)
		}
	})
}

// TestThinSegmentHasASmallIndex: the ids of what is gone do not stay for as long
// as one of its segment does.
func TestThinSegmentHasASmallIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(Retention{Completed: time.Minute}, time.Minute), func(o *Options) { o.segmentEvents = 4000 })
		var list []*event.Admission
		for i := range 4001 {
			list = append(list, fresh(fmt.Sprint("id-", i)))
			list[i].State.Deliveries[0].Status = event.Completed
		}
		list[7].State.Deliveries[0].Status = event.Failed
		accept(t, db, list...)
		synctest.Wait()
		s := db.segmentList()[0]
		before := s.ids.Load().slots()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if after := s.ids.Load().slots(); after*10 > before {
			t.Errorf("the filter has %d bytes; before it had %d", after, before)
		}
		found, err := db.Find(ctx, "id-7")
		if err != nil || len(found) != 1 || found[0].Status != event.Failed {
			t.Errorf("Find = %v, %v; want the FAILED event", found, err)
		}
	})
}

// TestYoungSegmentsAreNotSurveyed: not by a keeper that knows nothing of them, as after a start.
func TestYoungSegmentsAreNotSurveyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(Retention{Completed: time.Hour, Failed: 2 * time.Hour}, time.Minute))
		accept(t, db, fresh("id"))
		end(t, db, 1, event.Failed, nil) // it stays
		synctest.Wait()
		k := &keeper{db: db, next: map[uint64]time.Time{}, damaged: map[uint64]bool{}}
		for _, tt := range []struct {
			after    time.Duration
			surveyed bool
		}{{59 * time.Minute, false}, {2 * time.Minute, true}} {
			time.Sleep(tt.after)
			if err := k.look(db.options.policy()); err != nil {
				t.Fatal(err)
			}
			if _, surveyed := k.next[1]; surveyed != tt.surveyed {
				t.Errorf("after %v more: surveyed = %v; want %v", tt.after, surveyed, tt.surveyed)
			}
		}
	})
}
