package router_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// TestOverdueRequests: one handler sends what is answered, the other does not.
func TestOverdueRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asks := handlerTo("asks", &script{answers: []event.Answer{again, done}})
		asks.ResponseWithin = time.Minute
		x := newRig(t, router.Config{
			Routes:   []router.Route{route("RQ", "asks"), route("IN", "asks"), route("NOTE", "tells"), route("RS", "tells")},
			Handlers: []router.Handler{asks, handlerTo("tells", &script{})},
		})
		send := func(table event.Table, id, messageType string) {
			m := message(id, messageType, "{}")
			m.Table = table
			x.accept(m)
		}
		send(event.Request, "q1", "RQ")
		send(event.Request, "q2", "RQ")
		send(event.Request, "note", "NOTE") // nobody answers these
		send(event.Inbound, "in", "IN")
		advance(5 * time.Millisecond) // sent with the second attempt
		overdue := func(want int) {
			t.Helper()
			if n, other := x.info("asks").Overdue, x.info("tells").Overdue; n != want || other != 0 {
				t.Errorf("%d and %d overdue; want %d and none", n, other, want)
			}
		}
		advance(time.Minute - time.Microsecond)
		overdue(0)
		advance(time.Microsecond)
		overdue(2)
		send(event.Response, "q1", "RS")
		synctest.Wait()
		overdue(1)
		send(event.Response, "q2", "RS")
		synctest.Wait()
		overdue(0)
	})
}
