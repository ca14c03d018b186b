package storage

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestOutcomesShareTheCommitThatLingers, and are not answered before it.
func TestOutcomesShareTheCommitThatLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, c := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		var waiting sync.WaitGroup
		began := time.Now()
		waiting.Go(func() {
			if err := db.UpdateWithin(context.Background(), time.Hour, touch(1)); err != nil || time.Since(began) != lingerTime {
				t.Errorf("answered after %s, %v; want %s", time.Since(began), err, lingerTime)
			}
		})
		synctest.Wait()
		wantBegun(t, crashed(t, db), "e1")
		waiting.Wait()
		synctest.Wait()
		if c.count() != 1 || c.last() != 2 {
			t.Errorf("%d commits, the last of %d operations; want one of 2", c.count(), c.last())
		}
		accept(t, db, newBegun("e2", "h"))
		began = time.Now()
		if err := db.UpdateWithin(context.Background(), time.Millisecond, touch(1)); err != nil || time.Since(began) != time.Millisecond {
			t.Errorf("answered after %s, %v; want 1ms", time.Since(began), err)
		}
		accept(t, db, newBegun("e3", "h"))
		began = time.Now()
		if err := db.Update(context.Background(), touch(1)); err != nil || time.Since(began) != 0 {
			t.Errorf("answered after %s, %v; want at once", time.Since(began), err)
		}
	})
}

// TestMemoryEndsTheLingering: what an event remembers is weighed before a transaction begins.
func TestMemoryEndsTheLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, c := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		began, remembering := time.Now(), newBegun("e2", "h")
		remembering.Remember = func([]byte) ([]byte, error) { return []byte(`{"seen":1}`), nil }
		accept(t, db, remembering)
		if c.count() != 2 || c.last() != 1 || time.Since(began) != 0 {
			t.Errorf("%d commits after %s, the last of %d operations; want two at once, of one each", c.count(), time.Since(began), c.last())
		}
		wantBegun(t, crashed(t, db), "e1", "e2")
	})
}

// TestLaterRoundFails: what was answered for before is durable.
func TestLaterRoundFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, c := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		bad := errors.New("bad")
		if err := db.do(ctx, func(*transaction) error { return bad }); !errors.Is(err, ErrBroken) || !errors.Is(err, bad) {
			t.Errorf("do: %v; want %v", err, bad)
		}
		if err := db.Accept(ctx, []*event.Admission{newBegun("e2", "h")}); !errors.Is(err, ErrBroken) || c.count() != 0 {
			t.Errorf("Accept: %v after %d commits; want %v, and none", err, c.count(), ErrBroken)
		}
		wantBegun(t, crashed(t, db), "e1")
	})
}
