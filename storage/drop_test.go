package storage

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestDropIsContinued stops before what was dropped is deleted, as a crash would, unless
// the store's own worker is quicker: it is no part of the store, and the next start
// deletes the rest.
func TestDropIsContinued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path, keeping(Retention{Completed: time.Hour}, time.Hour))
		for i := range 25 {
			a := fresh(fmt.Sprint("id-", i))
			a.Payload = make([]byte, 100_000)
			accept(t, db, a)
			end(t, db, a.Event.Seq, event.Completed, nil)
		}
		synctest.Wait()
		k := &keeper{db: db}
		if ok, err := k.protect(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		v, err := db.survey(db.segmentList()[0], db.options.policy(), db.now().Add(2*time.Hour))
		if err != nil || !v.whole {
			t.Fatalf("survey = %+v, %v; want a segment to drop", v, err)
		}
		if err := k.drop(v); err != nil || k.removed.segments != 1 {
			t.Fatalf("drop: %+v, %v", k.removed, err)
		}
		if left := ids(t, db); len(left) != 15 || left[0] != "id-10" {
			t.Errorf("%v are left; want those from id-10 on", left)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if problems, err := inconsistencies(path, true); err != nil || len(problems) > 0 {
			t.Fatalf("check in the middle of a drop: %v, %q", err, problems)
		}
		db = openTest(t, path, keeping(Retention{Failed: time.Hour}, time.Hour))
		synctest.Wait()
		if left := ids(t, db); len(left) != 15 {
			t.Errorf("%d events after the start; want 15", len(left))
		}
		_ = db.Close()
		wantNothingDropped(t, path)
	})
}

// TestDropSeesChanges: a segment that changed since it was surveyed stays.
func TestDropSeesChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(Retention{Completed: time.Hour}, time.Hour))
		for i := range 11 {
			a := fresh(fmt.Sprint("id-", i))
			accept(t, db, a)
			end(t, db, a.Event.Seq, event.Completed, nil)
		}
		synctest.Wait()
		v, err := db.survey(db.segmentList()[0], db.options.policy(), db.now().Add(2*time.Hour))
		if err != nil || !v.whole {
			t.Fatalf("survey = %+v, %v; want a segment to drop", v, err)
		}
		u := &event.Update{Seq: 3, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.Unprocessed
			return nil, nil
		}}
		if err := db.Update(ctx, u); err != nil || u.Err != nil {
			t.Fatal(err, u.Err)
		}
		k := &keeper{db: db, pending: pending{seqs: map[uint64]struct{}{}}}
		if err := k.drop(v); err != nil || k.removed.segments != 0 {
			t.Errorf("drop of a changed segment: %+v, %v", k.removed, err)
		}
		for i := range v.events { // nor is one of its events removed singly, but those that ended
			v.events[i] |= rowGoes
		}
		v.work[0] = true
		if err := k.thin(v); err != nil || k.removed.events != 9 {
			t.Errorf("thin: %+v, %v; want 9 events removed", k.removed, err)
		}
		if left := ids(t, db); len(left) != 2 || left[0] != "id-2" {
			t.Errorf("%v are left; want id-2, which waits, and the last", left)
		}
	})
}

// TestDamagedSegmentsArePassedOverAlone: what was dropped before one that cannot be
// deleted, or comes to lie there later, is deleted all the same.
func TestDamagedSegmentsArePassedOverAlone(t *testing.T) {
	db := openTest(t, storePath(t))
	err := db.do(ctx, func(x *transaction) error {
		dropped, err := x.tx.CreateBucket(bucketDropped)
		for _, first := range []uint64{1, 11, 21} {
			if err == nil {
				_, err = dropped.CreateBucket(key8(first))
			}
		}
		if err != nil {
			return err
		}
		r := &snapshot{tx: x.tx, db: db}
		for _, c := range []struct {
			passed []uint64
			want   uint64
		}{{nil, 1}, {[]uint64{11}, 1}, {[]uint64{1}, 11}, {[]uint64{11, 1}, 21}, {[]uint64{1, 11, 21}, 0}} {
			var passed []string
			for _, first := range c.passed {
				passed = append(passed, string(key8(first)))
			}
			var p *piece
			if err := r.nextPiece(passed, &p); err != nil {
				return err
			}
			if (p == nil) != (c.want == 0) || p != nil && string(p.segment) != string(key8(c.want)) {
				t.Errorf("without %d the next is %+v; want %d", c.passed, p, c.want)
			}
		}
		return x.tx.DeleteBucket(bucketDropped)
	})
	if err != nil {
		t.Fatal(err)
	}
}
