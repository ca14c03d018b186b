package storage

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// storeEnded stores COMPLETED events of 20 KB, some 2 MB in all.
func storeEnded(t *testing.T, db *DB, name string) {
	t.Helper()
	list := make([]*event.Admission, 100)
	for i := range list {
		list[i] = fresh(fmt.Sprint(name, "-", i))
		list[i].Payload = make([]byte, 20_000)
		list[i].State.Deliveries[0].Status = event.Completed
	}
	accept(t, db, list...)
}

// TestDroppedIsDeletedWhenNeeded: bbolt writes its list of free pages with every
// commit, so that not more of them are made than are used soon. What is left of
// what was dropped counts as free, also after a restart, and the file does not
// grow while there is some.
func TestDroppedIsDeletedWhenNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		open := func() *DB { return openTest(t, path, keeping(Retention{Completed: time.Minute}, time.Minute)) }
		db := open()
		for i := range 20 { // 40 MB
			storeEnded(t, db, fmt.Sprint(i))
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		pages, all := db.freeBytes.Load(), db.free()
		if pages > enoughFreeBytes+2*wholeBytes || all < 40<<20 {
			t.Errorf("%d bytes are free, %d with what was dropped; want about %d, and all of it", pages, all, enoughFreeBytes)
		}
		before, _ := db.highWater()
		for i := range 10 {
			storeEnded(t, db, fmt.Sprint("again-", i))
			synctest.Wait()
		}
		if after, _ := db.highWater(); after > before+(2<<20) {
			t.Errorf("the file grew from %d to %d bytes beside what was dropped", before, after)
		}
		left := db.droppedBytes.Load()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open()
		if again := db.droppedBytes.Load(); left == 0 || again < left || again > left+(4<<20) {
			t.Errorf("after a restart %d bytes are dropped; before it were %d", again, left)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		c, err := Compact(ctx, CommandOptions{Path: path})
		if err != nil || c.After > 25<<20 {
			t.Errorf("Compact = %+v, %v; want what was dropped left out", c, err)
		}
		wantNothingDropped(t, path)
	})
}

// TestPiecesCountAsTheyGo: of a segment that is too large to go at once, what is
// deleted counts as dropped no longer, also over a restart.
func TestPiecesCountAsTheyGo(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path, func(o *Options) { o.segmentEvents = 100 })
	storeEnded(t, db, "a")
	storeEnded(t, db, "b")
	const size = wholeSegment + 1<<20
	err := db.do(ctx, 0, func(tx *transaction) error {
		v := &survey{segment: db.segmentList()[0]}
		v.seen = v.segment.seen.Load()
		ok, err := tx.drop(v, &pending{seqs: map[uint64]struct{}{}}, size)
		if err == nil && !ok {
			t.Error("the segment is not dropped")
		}
		return err
	})
	if err != nil || db.droppedBytes.Load() != size {
		t.Fatalf("%d bytes are dropped, %v; want %d", db.droppedBytes.Load(), err, int64(size))
	}
	pieces := 0
	for last := int64(size); ; pieces++ {
		var p *piece
		if err := db.view(ctx, func(r *snapshot) error { return r.nextPiece(nil, &p) }); err != nil {
			t.Fatal(err)
		}
		if p == nil {
			break
		}
		if err := db.do(ctx, 0, func(t *transaction) error { return t.purge(p) }); err != nil {
			t.Fatal(err)
		}
		var stored int64
		_ = db.view(ctx, func(r *snapshot) error { stored = droppedBytes(r.tx); return nil })
		now := db.droppedBytes.Load()
		if now != stored || p.frees > 0 && now >= last {
			t.Fatalf("after piece %d of %d bytes: %d are dropped, %d by the file; before it %d", pieces, p.frees, now, stored, last)
		}
		last = now
	}
	if left := db.droppedBytes.Load(); left != 0 || pieces < 3 {
		t.Errorf("%d bytes are left after %d pieces; want none, after several", left, pieces)
	}
}
