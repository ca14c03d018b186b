package storage

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

const testSize = 8 << 20

func sized(o *Options) { o.MaxSize, o.segmentEvents = testSize, 50 }

// large returns an event of about a hundredth of the size.
func large(id string) *event.Admission {
	a := fresh(id)
	a.Payload = make([]byte, testSize/100)
	return a
}

// TestOldestCompletedGoEarly: a store that is nearly as large as it may be goes
// on as long as something has been completed, and keeps all else.
func TestOldestCompletedGoEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), sized)
		for i := range 500 { // five times the size
			a := large(fmt.Sprint("id-", i))
			accept(t, db, a)
			if i%20 != 3 {
				end(t, db, a.Event.Seq, event.Completed, nil)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if db.above(fullShare) || db.Full() != "" {
				t.Fatalf("after %d events %d bytes are in use; %q", i, db.occupied.Load(), db.Full())
			}
		}
		left, waiting := ids(t, db), 0
		for i := 3; i < 500; i += 20 {
			found, err := db.Find(ctx, fmt.Sprint("id-", i))
			if err == nil && len(found) == 1 && found[0].Status == event.Unprocessed {
				waiting++
			}
		}
		if waiting != 25 {
			t.Errorf("%d of 25 events that wait are left", waiting)
		}
		completed := len(left) - waiting
		if newest := left[len(left)-1]; newest != "id-499" || completed < 20 {
			t.Errorf("%d COMPLETED are left, the newest event is %s; want the newest of them", completed, newest)
		}
		if _, err := db.Payload(ctx, 499); err != nil {
			t.Errorf("Payload of one of the newest: %v", err)
		}
	})
}

// TestFullStoreTakesNothingNew: where nothing may go, new events are refused and
// nothing else is; it heals by itself, and does not change its mind at once.
func TestFullStoreTakesNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path, sized)
		var err error
		n := 0
		for ; err == nil && n < 200; n++ {
			err = db.Accept(ctx, []*event.Admission{large(fmt.Sprint("id-", n))})
		}
		n-- // the last one is refused
		if !errors.Is(err, ErrFull) || !errors.Is(err, event.ErrUnavailable) || n < 80 || n > 100 {
			t.Fatalf("event %d: %v; want %v at 95 of 100", n, err, ErrFull)
		}
		select {
		case <-db.FullChanged():
		default:
			t.Error("FullChanged says nothing")
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openTest(t, path, sized)
		if db.Full() == "" {
			t.Error("it is not full after a restart")
		}
		synctest.Wait()
		if len(ids(t, db)) != n {
			t.Errorf("%d events are left; want %d: none has ended", len(ids(t, db)), n)
		}
		end(t, db, 1, event.Completed, nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(ids(t, db)) != n-1 || db.Full() == "" {
			t.Errorf("%d events, full %q; want %d, and full until less than 92%% are in use", len(ids(t, db)), db.Full(), n-1)
		}
		for seq := uint64(2); seq < 9; seq++ {
			end(t, db, seq, event.Completed, nil)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if why := db.Full(); why != "" {
			t.Errorf("Full = %q after space was made; %d bytes are in use", why, db.occupied.Load())
		}
		accept(t, db, large("next"))
	})
}
