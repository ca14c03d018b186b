package router_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
)

// laborious takes a second for each attempt, notes the kind of it, and fails what
// is of the type OLD on the first.
type laborious struct {
	mu    sync.Mutex
	order []string // types, as they began
}

func (l *laborious) Deliver(_ context.Context, a *event.Attempt) event.Answer {
	l.mu.Lock()
	if a.Number > 1 || a.Event.MessageType != "OLD" {
		l.order = append(l.order, a.Event.MessageType)
	}
	l.mu.Unlock()
	if a.Number == 1 && a.Event.MessageType == "OLD" {
		return again
	}
	time.Sleep(time.Second)
	return done
}

func typed(n int, messageType string) (list []event.Message) {
	for i := range n {
		list = append(list, message(fmt.Sprint(strings.ToLower(messageType), i), messageType, "{}"))
	}
	return list
}

// TestNeitherRetriesNorFreshEventsWaitForTheOthers: whichever have waited longer,
// half of the attempts go to the others until there are no more of them.
func TestNeitherRetriesNorFreshEventsWaitForTheOthers(t *testing.T) {
	for _, x := range []struct {
		name          string
		slots         int
		retriesFirst  bool
		retries, rest int
	}{
		{"fresh ones behind retries", 4, true, 200, 40},
		{"retries behind fresh ones", 4, false, 40, 200},
		{"one slot, fresh ones behind", 1, true, 60, 12},
		{"one slot, retries behind", 1, false, 12, 60},
		{"an odd number of slots", 3, true, 120, 30},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &laborious{}
				after := time.Minute
				if x.retriesFirst {
					after = time.Second
				}
				r := newRig(t, only(withPolicy(withConcurrency(handlerTo("h", l), x.slots), retry.Policy{Backoff: retry.Constant, Initial: after})))
				synctest.Wait()
				r.accept(typed(x.retries, "OLD")...)
				advance(time.Millisecond)
				r.pause("h", true)
				advance(30 * time.Second)
				r.accept(typed(x.rest, "NEW")...)
				advance(time.Hour)
				r.pause("h", false)
				few := min(x.retries, x.rest)
				advance(time.Duration(2*few/x.slots) * time.Second)
				counts := map[string]int{}
				l.mu.Lock()
				for _, messageType := range l.order {
					counts[messageType]++
					if off := counts["OLD"] - counts["NEW"]; max(off, -off) > x.slots+1 && min(counts["OLD"], counts["NEW"]) < few {
						t.Fatalf("of the first attempts %d were retries, %d first ones; want as many", counts["OLD"], counts["NEW"])
					}
				}
				l.mu.Unlock()
				if n := counts["OLD"] + counts["NEW"]; n < 2*few {
					t.Errorf("%d attempts have begun; want %d", n, 2*few)
				}
				advance(time.Hour)
				if n := r.store.Counts()[event.Inbound][event.Completed]; n != x.retries+x.rest {
					t.Errorf("%d are COMPLETED; want all %d", n, x.retries+x.rest)
				}
			})
		})
	}
}

// TestClaimsOfRetriesAndFreshEvents are shared like attempts.
func TestClaimsOfRetriesAndFreshEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(withPolicy(polled("h"), retry.Policy{Backoff: retry.Constant, Initial: time.Second})))
		synctest.Wait()
		x.accept(typed(20, "OLD")...)
		for _, c := range x.claim(event.ClaimOrder{Max: 20}) {
			if _, err := x.FailClaim(context.Background(), c.ID, "", event.ClaimFailure{Retry: true}); err != nil {
				t.Fatal(err)
			}
		}
		advance(time.Minute)
		x.accept(typed(20, "NEW")...)
		synctest.Wait()
		n := map[string]int{}
		for _, c := range x.claim(event.ClaimOrder{Max: 8}) {
			n[c.Record.MessageType]++
		}
		if n["OLD"] != 4 || n["NEW"] != 4 {
			t.Errorf("claimed %v; want 4 of each", n)
		}
	})
}
