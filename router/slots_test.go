package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// hanging answers the attempts before one with a failure, and hangs from then on.
type hanging struct {
	from  int
	begun atomic.Int32
}

func (h *hanging) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	if a.Number < h.from {
		return again
	}
	h.begun.Add(1)
	<-ctx.Done()
	return again
}

// TestNoSlotIsFreeBesideADueEvent however few are due, and however they became so.
func TestNoSlotIsFreeBesideADueEvent(t *testing.T) {
	t.Run("retries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const slots = 4
			h := &hanging{from: 2}
			x := newRig(t, only(withPolicy(withConcurrency(handlerTo("h", h), slots), quick)))
			defer x.stop(time.Millisecond)
			synctest.Wait()
			var list []event.Message
			for i := range slots {
				list = append(list, message(fmt.Sprint("e", i), "A", "{}"))
			}
			x.accept(list...)
			time.Sleep(time.Second)
			if n := h.begun.Load(); n != slots {
				t.Errorf("%d of %d retries have begun, though there is a slot for each", n, slots)
			}
		})
	})
	t.Run("large payloads", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const slots = 64
			h := &hanging{}
			x := newRig(t, only(withConcurrency(handlerTo("h", h), slots)))
			defer x.stop(time.Millisecond)
			synctest.Wait()
			x.pause("h", true)
			for i := range slots { // more bytes than are read at once
				x.accept(message(fmt.Sprint("e", i), "A", strings.Repeat("x", 200<<10)))
			}
			x.pause("h", false)
			time.Sleep(time.Second)
			if n := h.begun.Load(); n != slots {
				t.Errorf("%d of %d events have begun, though there is a slot for each", n, slots)
			}
		})
	})
}

// damagedStore finds nothing but damaged events in the first page of what is due,
// and takes them out.
type damagedStore struct {
	prompt
	found atomic.Bool
}

func (s *damagedStore) Due(ctx context.Context, q event.DueQuery) ([]event.Due, time.Time, error) {
	list, next, err := s.prompt.Due(ctx, q)
	if len(list) > 0 && !s.found.Swap(true) {
		return nil, list[0].Delivery.NextAttempt, err
	}
	return list, next, err
}

// TestDamagedEventsDoNotHoldUpOthers that are due behind them.
func TestDamagedEventsDoNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), "eventd.db")})
		if err != nil {
			t.Fatal(err)
		}
		h := &script{}
		r, err := router.New(router.Options{Service: "S", Store: &damagedStore{prompt: prompt{db}}, Observer: noObserver{}, Log: zerolog.Nop()}, only(handlerTo("h", h)))
		if err != nil {
			t.Fatal(err)
		}
		x := &rig{Router: r, t: t, store: db}
		defer x.close()
		x.accept(message("e1", "A", "{}"), message("e2", "A", "{}"))
		if err := r.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if h.count() != 2 {
			t.Errorf("%d of 2 events are handled", h.count())
		}
	})
}
