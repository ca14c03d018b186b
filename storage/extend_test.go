package storage

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"

	"github.com/eventd-io/eventd/event"
)

// TestFileIsExtendedAheadOfNeed: bytes lie ready behind what is in use, they are
// zeros, and what is stored meanwhile is whole (openTest checks the file).
func TestFileIsExtendedAheadOfNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path)
		for i := range 300 {
			a := newAdmission(event.Inbound, fmt.Sprint("e", i), "h")
			a.Payload = make([]byte, 8<<10)
			accept(t, db, a)
			if i%50 != 0 {
				continue
			}
			synctest.Wait()
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if free := fi.Size() - db.used.Load(); free < minAhead/2 || free > 2*maxAhead {
				t.Errorf("after %d events %d bytes lie ready; want %d or more", i+1, free, minAhead/2)
			}
		}
	})
}

// TestBurstIsNotExtended: who commits much at once gains nothing from zeros, also when
// what is committed between grows the file by nothing.
func TestBurstIsNotExtended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t))
		burst := func() int64 {
			a := newAdmission(event.Inbound, fmt.Sprint("large", db.nextSeq), "h")
			a.Payload = make([]byte, 4<<20)
			accept(t, db, a)
			accept(t, db, newAdmission(event.Inbound, fmt.Sprint("small", db.nextSeq), "h"))
			synctest.Wait()
			return db.end.Load()
		}
		before := burst() // how much a commit adds is known with the next one
		for range 4 {
			if end := burst(); end != before {
				t.Errorf("extended from %d to %d", before, end)
			}
		}
	})
}

func TestArenaLendsApart(t *testing.T) {
	var a arena
	x := append(a.take(4), "abcd"...)
	y := append(a.take(4), "efgh"...)
	x = append(x, 'X') // over its room: elsewhere
	if string(x) != "abcdX" || string(y) != "efgh" {
		t.Errorf("lent %q and %q; want abcdX and efgh", x, y)
	}
	z := append(a.take(arenaSize-8), "z"...)
	w := a.take(arenaSize / 8)
	if cap(z) < arenaSize-8 || cap(w) < arenaSize/8 || len(w) != 0 {
		t.Errorf("lent %d and %d bytes; want %d and %d", cap(z), cap(w), arenaSize-8, arenaSize/8)
	}
	a.reset()
	if a.take(1); a.used != 1 {
		t.Errorf("after a reset %d bytes are lent; want 1", a.used)
	}
}
