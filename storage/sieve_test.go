package storage

import (
	"fmt"
	"math/bits"
	"testing"
	"testing/synctest"

	"github.com/eventd-io/eventd/event"
)

func TestSieve(t *testing.T) {
	s := &sieve{rows: make([]uint64, sieveRows)}
	id := func(column, n int) uint64 { return hashID(fmt.Appendf(nil, "%d-%d", column, n)) }
	for column := range sieveColumns {
		var rows rowSet
		for n := range segmentEvents / 8 {
			rows.add(id(column, n))
		}
		s.add(&rows, 1<<column)
	}
	wrong := 0
	for column := range sieveColumns {
		for n := range 100 {
			found := s.holding(id(column, n))
			if found&(1<<column) == 0 {
				t.Fatalf("event %d of segment %d is not found", n, column)
			}
			wrong += bits.OnesCount64(found) - 1
		}
	}
	if most := 100 * sieveColumns * sieveColumns / 200; wrong > most {
		t.Errorf("%d segments too many are named; want at most %d", wrong, most)
	}
}

// TestSegmentsInSieves: whatever is stored is found, in segments that are sealed before
// and after a start, in one sieve and the next.
func TestSegmentsInSieves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		sifting := func(o *Options) { o.sieveSlots = 1 }
		db := openTest(t, path, sifting)
		for i := range 10 * (sieveColumns + sieveSegments + 2) {
			accept(t, db, newAdmission(event.Inbound, fmt.Sprint("e", i), "h"))
		}
		look := func() {
			synctest.Wait()
			list := db.segmentList()
			sieves := map[*sieve]bool{} // in what order they are sealed is left to chance
			for _, s := range list[sieveSegments : len(list)-1] {
				if c := s.column.Load(); c != nil {
					sieves[c.sieve] = true
				} else {
					t.Errorf("segment %d is in no sieve", s.first)
				}
			}
			if len(sieves) != 2 {
				t.Errorf("%d segments are in %d sieves; want 2", len(list), len(sieves))
			}
			for i := range 10 * (sieveColumns + sieveSegments + 2) {
				if list, err := db.Find(ctx, fmt.Sprint("e", i)); err != nil || len(list) != 1 || list[0].Seq != uint64(i+1) {
					t.Fatalf("Find(e%d) = %+v, %v; want event %d", i, list, err, i+1)
				}
			}
			if n := len(db.places(hashID([]byte("another")))); n != 0 {
				t.Errorf("an id that is not there may be in %d segments", n)
			}
		}
		look()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openTest(t, path, sifting)
		synctest.Wait()
		if db.segmentList()[sieveSegments].column.Load() != nil {
			t.Error("segments are in a sieve before a new id is looked for")
		}
		accept(t, db, newAdmission(event.Inbound, "new", "h"))
		look()
	})
}
