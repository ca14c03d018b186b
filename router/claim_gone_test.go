package router_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// TestClaimsOfAHandlerThatIsGone ends claims in each way after their handler was
// configured away: the events go where the routes lead now.
func TestClaimsOfAHandlerThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(polled("h")))
		for _, id := range []string{"failed", "released", "forgotten"} {
			x.accept(message(id, "A", "{}"))
		}
		claims := map[string]string{}
		for _, c := range x.claim(event.ClaimOrder{Max: 10, By: "w"}) {
			claims[c.Record.ID] = c.ID
		}
		x.reload(router.Config{Routes: []router.Route{route("A", "new")}, Handlers: []router.Handler{handlerTo("new", &script{})}})
		if _, err := x.FailClaim(context.Background(), claims["failed"], "w", event.ClaimFailure{Retry: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := x.ReleaseClaim(context.Background(), claims["released"], "w"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if rec := x.find("released"); rec.Status != event.Completed {
			t.Errorf("released is %s %s; want COMPLETED by the new handler at once", rec.Status, rec.Reason)
		}
		time.Sleep(time.Hour)
		for id := range claims {
			if rec := x.find(id); rec.Status != event.Completed {
				t.Errorf("%s is %s %s; want COMPLETED by the new handler", id, rec.Status, rec.Reason)
			}
		}
	})
}

// TestExtendedTwiceAtOnce lets a worker extend each claim by two lengths at the
// same time and then die: the leases run out all the same.
func TestExtendedTwiceAtOnce(t *testing.T) {
	x := newRig(t, only(polled("h")))
	x.acceptMany("A", 200)
	var wg sync.WaitGroup
	for _, c := range x.claim(event.ClaimOrder{Max: 1000, Lease: time.Minute}) {
		for _, lease := range []time.Duration{time.Second, 1100 * time.Millisecond} {
			wg.Go(func() {
				if _, err := x.ExtendClaim(context.Background(), c.ID, "w", lease); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	left := func() (n int) {
		for _, rec := range x.all() {
			if rec.Status == event.InProgress {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(20 * time.Second); left() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d events are IN_PROGRESS long after their leases", left())
		}
	}
}
