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
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents = 100 })
	storeEnded(t, db, "a")
	storeEnded(t, db, "b")
	// All in one operation: else the store's own worker takes the pieces. It may
	// share the transaction with that worker's index of the same segment, which is
	// then in use and stays.
	dropped := false
	for tries := 0; !dropped && tries < 10; tries++ {
		err := db.do(ctx, func(tx *transaction) (err error) {
			dropped, err = dropInPieces(t, tx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !dropped {
		t.Error("the segment was not dropped")
	}
}

func dropInPieces(t *testing.T, tx *transaction) (ok bool, err error) {
	const size = wholeSegment + 1<<20
	v := &survey{segment: tx.db.segmentList()[0]}
	v.seen = v.segment.seen.Load()
	if ok, err = tx.drop(v, &pending{seqs: map[uint64]struct{}{}}, size); !ok {
		return false, err
	}
	if last := tx.db.droppedBytes.Load(); last != size {
		t.Errorf("%d bytes are dropped; want %d", last, int64(size))
	}
	pieces, r := 0, &snapshot{db: tx.db, tx: tx.tx}
	for last := int64(size); ; pieces++ {
		var p *piece
		if err := r.nextPiece(nil, &p); err != nil {
			return false, err
		}
		if p == nil {
			break
		}
		if err := tx.purge(p); err != nil {
			return false, err
		}
		now, stored := tx.db.droppedBytes.Load(), droppedBytes(tx.tx)
		if now != stored || p.frees > 0 && now >= last {
			t.Errorf("after piece %d of %d bytes: %d are dropped, %d by the file; before it %d", pieces, p.frees, now, stored, last)
		}
		last = now
	}
	if left := tx.db.droppedBytes.Load(); left != 0 || pieces < 3 {
		t.Errorf("%d bytes are left after %d pieces; want none, after several", left, pieces)
	}
	return true, nil
}
