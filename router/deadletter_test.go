package router_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

func TestOneDeadLetterForEachBadEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fanOut(newGate())
		c.Routes = append(c.Routes, route("BAD", "bad", "bad2"))
		c.Handlers = append(c.Handlers, handlerTo("bad2", &script{answers: []event.Answer{rejected}}))
		x := newRig(t, c)
		undecodable := message("bytes", "", "\xff")
		undecodable.Problem, undecodable.Detail = event.Undecodable, "no known form"
		x.accept(message("good", "OK", "{}"), message("bad", "BAD", `{"n":1}`), message("unrouted", "U", "{}"), undecodable)
		synctest.Wait()
		if _, err := x.redrive("bad", event.RedriveOrder{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // bad succeeds in generation 1, bad2 does not

		ids, letters := map[string]bool{}, map[string]int{}
		for _, p := range x.outbox() {
			ids[p.Header["Nats-Msg-Id"]] = true
			letters[p.Header["eventd-event-id"]+" "+p.Header["eventd-handler"]+" "+p.Header["eventd-reason"]]++
			if p.Subject != "dead" || p.Header["eventd-status"] != "ERROR" || p.Header["eventd-table"] != "inbound" {
				t.Errorf("dead letter %+v; want it on dead, ERROR, inbound", p)
			}
		}
		for key, want := range map[string]int{"bad bad rejected": 1, "bad bad2 rejected": 2, "unrouted  no_route": 1, "bytes  undecodable": 1} {
			if letters[key] != want {
				t.Errorf("%d dead letters of %q; want %d", letters[key], key, want)
			}
			delete(letters, key)
		}
		if len(letters) > 0 || len(ids) != 5 {
			t.Errorf("further dead letters %v; %d different message ids, want 5", letters, len(ids))
		}
	})
}

func TestWithoutASubjectThereAreNoDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, router.Config{})
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		if out := x.outbox(); len(out) != 0 {
			t.Errorf("dead letters = %v; want none", out)
		}
	})
}

func TestHeadersOfDeadLettersAreSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nasty = "a\r\nX-Evil: 1\x00\x7f\u00e9\xff"
		answer := rejected
		answer.Detail = strings.Repeat(nasty, 600)
		c := only(handlerTo("h", &script{answers: []event.Answer{answer}}))
		c.DeadLetter = "dead"
		x := newRig(t, c)
		m := message("id"+nasty, "type"+nasty, "body")
		m.SourceService, m.CorrelationID, m.ContentType = "from"+nasty, "with"+nasty, "text/"+nasty
		x.accept(m)
		synctest.Wait()
		out := x.outbox()
		if len(out) != 1 {
			t.Fatalf("%d dead letters; want 1", len(out))
		}
		for name, value := range out[0].Header {
			for _, c := range []byte(name + value) {
				if c < ' ' || c > '~' {
					t.Errorf("header %s = %q; want printable ASCII", name, value)
					break
				}
			}
			if len(value) > 1024 {
				t.Errorf("header %s has %d bytes; want at most 1024", name, len(value))
			}
		}
		h := out[0].Header
		if len(h["eventd-detail"]) != 1024 || !strings.HasPrefix(h["eventd-event-id"], "ida??X-Evil: 1") || h["eventd-attempts"] != "1" {
			t.Errorf("headers = %v; want the detail cut at 1024 bytes, the id and 1 attempt", h)
		}
		if string(out[0].Body) != "body" {
			t.Errorf("body = %q; want the event's own", out[0].Body)
		}
	})
}
