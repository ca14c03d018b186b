package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
	"github.com/rs/zerolog"
)

// remembering is a route to a handler that remembers name, expression, …
func remembering(messageType, handler string, values ...string) router.Route {
	r := route(messageType, handler)
	r.Remember = map[string]string{}
	for i := 0; i < len(values); i += 2 {
		r.Remember[values[i]] = values[i+1]
	}
	return r
}

func (x *rig) working(correlation string) string {
	x.t.Helper()
	d, err := x.WorkingData(context.Background(), correlation)
	if errors.Is(err, event.ErrNotFound) {
		return ""
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return string(d.Body)
}

func inConversation(m event.Message, correlation string) event.Message {
	m.CorrelationID = correlation
	return m
}

func TestRemember(t *testing.T) {
	const payload = `{"amount":120.5,"n":7,"deep":{"list":[1,"a",null,true]},"none":null,"at":"x"}`
	for _, c := range []struct{ expression, want string }{
		{`data.amount`, `{"v":120.5}`},
		{`data.n`, `{"v":7}`},
		{`data.deep`, `{"v":{"list":[1,"a",null,true]}}`},
		{`data.none`, `{}`}, // null takes a member out
		{`event.message_type + "-" + event.source_service`, `{"v":"A-UPSTREAM"}`},
		{`event.created_dttm > timestamp("2001-01-01T00:00:00Z")`, `{"v":true}`},
		{`timestamp("2026-01-02T03:04:05Z")`, `{"v":"2026-01-02T03:04:05Z"}`},
		{`{"a": data.n, "b": [1, 2u, 2.5]}`, `{"v":{"a":7,"b":[1,2,2.5]}}`},
		{`size(data.deep.list)`, `{"v":4}`},
		{`working`, `{"v":{}}`},
		{`has(working.v) ? working.v : "first"`, `{"v":"first"}`},
	} {
		x := newRig(t, router.Config{Routes: []router.Route{remembering("A", "h", "v", c.expression)}, Handlers: []router.Handler{handlerTo("h", &script{})}})
		x.accept(message("e1", "A", payload))
		if got := x.working("e1"); got != c.want {
			t.Errorf("%s: working data = %s; want %s", c.expression, got, c.want)
		}
		if rec := x.await("e1", event.Completed); len(rec.Timeline) != 2 {
			t.Errorf("%s: %s; want no note", c.expression, shape(rec))
		}
	}
}

// TestWhatCannotBeRemembered is left out, the timeline says so, and the event
// is handled all the same.
func TestWhatCannotBeRemembered(t *testing.T) {
	x := newRig(t, router.Config{
		Routes:   []router.Route{remembering("A", "h", "good", "data.n", "missing", "data.other")},
		Handlers: []router.Handler{handlerTo("h", &script{})},
	})
	x.accept(message("e1", "A", `{"n":1}`), message("e2", "B", `{}`))
	rec := x.await("e1", event.Completed)
	first := rec.Timeline[0]
	if first.Status != event.Unprocessed || first.Detail != "route to-A: missing is not remembered: no such key: other" {
		t.Errorf("the timeline begins with %s %q; want a note of what is not remembered", first.Status, first.Detail)
	}
	if got := x.working("e1"); got != `{"good":1}` {
		t.Errorf("working data = %s; want what could be remembered", got)
	}
	if got := x.working("e2"); got != "" {
		t.Errorf("an event without route remembers %s", got)
	}
}

// TestWorkingDecidesTheRoute goes through a conversation of three events.
func TestWorkingDecidesTheRoute(t *testing.T) {
	small, large := &script{}, &script{}
	toLarge := route("RS", "large")
	toLarge.When = "working.amount > 100.0"
	x := newRig(t, router.Config{
		Routes:   []router.Route{remembering("RQ", "small", "amount", "data.amount"), toLarge, route("RS", "small")},
		Handlers: []router.Handler{handlerTo("small", small), handlerTo("large", large)},
	})
	for id, amount := range map[string]string{"c1": "50", "c2": "500"} {
		x.accept(message(id, "RQ", `{"amount":`+amount+`}`))
	}
	x.accept(inConversation(message("r1", "RS", "{}"), "c1"), inConversation(message("r2", "RS", "{}"), "c2"),
		inConversation(message("r3", "RS", "{}"), "unknown"))
	for id, want := range map[string]string{"r1": "small", "r2": "large", "r3": "small"} {
		if rec := x.await(id, event.Completed); rec.Deliveries[0].Handler != want {
			t.Errorf("%s went to %s; want %s", id, rec.Deliveries[0].Handler, want)
		}
	}
	list := x.Explain(inConversation(message("r4", "RS", "{}"), "c2"))
	if !list[1].Matched || list[1].Route != "to-RS" {
		t.Errorf("explained as %+v; want the second route", list)
	}
	if list = x.Explain(inConversation(message("r4", "RS", "{}"), "c1")); list[1].Matched || list[1].Why != "when is false" {
		t.Errorf("explained as %+v; want the second route not to match", list)
	}
}

// TestEventsOfOneBatchSeeEachOther: the second sees what the first remembers,
// though nothing is committed yet, and so do the routes of one event.
func TestEventsOfOneBatchSeeEachOther(t *testing.T) {
	count := remembering("A", "h", "n", "has(working.n) ? working.n + 1.0 : 1.0")
	count.Continue = true
	after := remembering("A", "h", "seen", "working.n * 10.0")
	x := newRig(t, router.Config{Routes: []router.Route{count, after}, Handlers: []router.Handler{handlerTo("h", &script{})}})
	x.accept(inConversation(message("a1", "A", "{}"), "c"), inConversation(message("b1", "A", "{}"), "d"),
		inConversation(message("a2", "A", "{}"), "c"), inConversation(message("a3", "A", "{}"), "c"))
	for correlation, want := range map[string]string{"c": `{"n":3,"seen":30}`, "d": `{"n":1,"seen":10}`} {
		if got := x.working(correlation); got != want {
			t.Errorf("working data of %s = %s; want %s", correlation, got, want)
		}
	}
	// What the first remembers need not have been read before.
	by := remembering("B", "h", "by", "data.n")
	y := newRig(t, router.Config{Routes: []router.Route{by, remembering("C", "h", "twice", "working.by * 2.0")}, Handlers: []router.Handler{handlerTo("h", &script{})}})
	y.accept(inConversation(message("b", "B", `{"n":4}`), "e"), inConversation(message("c", "C", "{}"), "e"))
	if got, want := y.working("e"), `{"by":4,"twice":8}`; got != want {
		t.Errorf("working data of e = %s; want %s", got, want)
	}
	x.accept(inConversation(message("a4", "A", "{}"), "c"))
	if got, want := x.working("c"), `{"n":4,"seen":40}`; got != want {
		t.Errorf("in the next batch: %s; want %s", got, want)
	}
}

// TestFollowUpsRemember in the transaction of the outcome they come with.
func TestFollowUpsRemember(t *testing.T) {
	asks := deliver(func(context.Context, *event.Attempt) event.Answer {
		a := done
		for i := range 2 {
			a.FollowUps = append(a.FollowUps, event.Message{
				Event: event.Event{MessageType: "B"}, Payload: []byte(fmt.Sprintf(`{"m%d":%d}`, i, i)),
			})
		}
		return a
	})
	b := remembering("B", "sink", "asked", "data")
	x := newRig(t, router.Config{
		Routes:   []router.Route{remembering("A", "asks", "from", "event.event_id"), b},
		Handlers: []router.Handler{handlerTo("asks", asks), handlerTo("sink", &script{})},
	})
	x.accept(message("e1", "A", "{}"))
	x.await("e1", event.Completed)
	if got, want := x.working("e1"), `{"asked":{"m0":0,"m1":1},"from":"e1"}`; got != want {
		t.Errorf("working data = %s; want %s", got, want)
	}
}

// TestLateRouteRemembers: an event that no route took is remembered with the
// reload, or the redrive, that routes it.
func TestLateRouteRemembers(t *testing.T) {
	h := handlerTo("h", &script{})
	x := newRig(t, router.Config{Routes: []router.Route{route("X", "h")}, Handlers: []router.Handler{h}})
	x.accept(message("e1", "A", `{"n":1}`), message("e2", "A", `{}`))
	x.await("e1", event.Error)
	x.reload(router.Config{Routes: []router.Route{remembering("A", "h", "n", "data.n")}, Handlers: []router.Handler{h}})
	x.await("e1", event.Completed)
	if got := x.working("e1"); got != `{"n":1}` {
		t.Errorf("working data = %s", got)
	}
	if rec := x.await("e2", event.Completed); !strings.Contains(fmt.Sprint(rec.Timeline), "n is not remembered") {
		t.Errorf("timeline of e2 = %+v; want it to say what is not remembered", rec.Timeline)
	}
	if _, err := x.redrive("e1", event.RedriveOrder{}); err != nil {
		t.Fatal(err)
	}
	x.await("e1", event.Completed)
	if d, err := x.WorkingData(context.Background(), "e1"); err != nil || d.Version != 1 {
		t.Errorf("after a redrive: version %d, %v; want it remembered once", d.Version, err)
	}
}

// unreadable is a store whose working data cannot be read.
type unreadable struct {
	prompt
	err error
}

func (s unreadable) WorkingData(context.Context, string) (event.Document, error) {
	return event.Document{}, s.err
}

// TestWorkingDataThatCannotBeRead: the condition does not hold and the log says
// so; but an event is not stored without what its caller gave up to wait for.
func TestWorkingDataThatCannotBeRead(t *testing.T) {
	x := unstarted(t, router.Config{})
	asks := route("A", "asks")
	asks.When = "working.x == 1.0"
	var log strings.Builder
	over := func(err error) *router.Router {
		r, errNew := router.New(router.Options{
			Service: "S", Store: unreadable{prompt{x.store}, err}, Observer: noObserver{}, Log: zerolog.New(&log),
		}, router.Config{Routes: []router.Route{asks, route("A", "h")}, Handlers: []router.Handler{handlerTo("asks", &script{}), handlerTo("h", &script{})}})
		if errNew != nil {
			t.Fatal(errNew)
		}
		return r
	}
	r := over(errors.New("damaged"))
	if _, err := r.Accept(context.Background(), []event.Message{message("e1", "A", "{}")}); err != nil {
		t.Fatal(err)
	}
	if rec := x.find("e1"); rec.Deliveries[0].Handler != "h" || !strings.Contains(log.String(), "working data cannot be read") {
		t.Errorf("e1 goes to %s, logged: %s; want h and why", rec.Deliveries[0].Handler, log.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r = over(context.Canceled)
	for range 20 { // handing it to the store would race with the end of ctx
		if _, err := r.Accept(ctx, []event.Message{message("e2", "A", "{}")}); !errors.Is(err, context.Canceled) {
			t.Errorf("Accept = %v; want %v", err, context.Canceled)
		}
	}
	if list, err := x.store.Find(context.Background(), "e2"); err != nil || len(list) != 0 {
		t.Errorf("Find = %+v, %v; want nothing", list, err)
	}
}

// TestNothingRememberedIsLost though it comes on many ways at once.
func TestNothingRememberedIsLost(t *testing.T) {
	x := newRig(t, router.Config{
		Routes:   []router.Route{remembering("A", "h", "all", "{event.event_id: true}", "last", "size(working)")},
		Handlers: []router.Handler{handlerTo("h", &script{})},
	})
	const ways, batches = 8, 10
	var all sync.WaitGroup
	for way := range ways {
		all.Go(func() {
			for i := range batches {
				m := inConversation(message(fmt.Sprintf("e%d-%d", way, i), "A", "{}"), "c")
				n := inConversation(message(fmt.Sprintf("f%d-%d", way, i), "A", "{}"), "c")
				if _, err := x.Accept(context.Background(), []event.Message{m, n}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var doc struct{ All map[string]bool }
	if err := json.Unmarshal([]byte(x.working("c")), &doc); err != nil || len(doc.All) != 2*ways*batches {
		t.Errorf("%d events are remembered, %v; want %d", len(doc.All), err, 2*ways*batches)
	}
}

func TestAmendWorkingData(t *testing.T) {
	x := newRig(t, only(handlerTo("h", &script{})))
	x.accept(message("e1", "A", "{}"))
	amend := func(a event.Amendment) (event.Document, error) {
		a.CorrelationID, a.By = "e1", "S"
		return x.AmendWorkingData(context.Background(), a)
	}
	if _, err := amend(event.Amendment{Body: []byte(`{"a":1,"b":{"c":2}}`)}); err != nil {
		t.Fatal(err)
	}
	d, err := amend(event.Amendment{Body: []byte(`{"a":null,"b":{"d":3}}`), Merge: true})
	if err != nil || string(d.Body) != `{"b":{"c":2,"d":3}}` || d.Version != 2 || d.UpdatedBy != "S" {
		t.Errorf("merged: %s, version %d by %s, %v", d.Body, d.Version, d.UpdatedBy, err)
	}
	refuse := errors.New("no")
	if _, err := amend(event.Amendment{Body: []byte(`{}`), Check: func(d event.Document) error {
		if d.Version != 2 {
			t.Errorf("checked version %d; want 2", d.Version)
		}
		return refuse
	}}); !errors.Is(err, refuse) {
		t.Errorf("refused: %v; want %v", err, refuse)
	}
	if _, err := amend(event.Amendment{Body: []byte(`{`)}); err == nil {
		t.Error("half a document is taken")
	}
	if got := x.working("e1"); got != `{"b":{"c":2,"d":3}}` {
		t.Errorf("working data = %s", got)
	}
	x.Stop(context.Background())
	if _, err := amend(event.Amendment{Body: []byte(`{}`)}); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("after the end: %v; want %v", err, event.ErrUnavailable)
	}
}

func TestRoutesThatCannotRemember(t *testing.T) {
	for expression, want := range map[string]string{
		`data.`: "column 6: ", `other`: "column 1: undeclared reference to 'other'", ``: "column 0: ",
	} {
		if err := router.CheckRemember(expression); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v; want %s…", expression, err, want)
		}
		_, err := router.New(router.Options{}, router.Config{Routes: []router.Route{remembering("A", "h", "v", expression)}})
		if err == nil || !strings.HasPrefix(err.Error(), "route to-A: remember: v: "+want) {
			t.Errorf("a route with %q: %v; want it to be named", expression, err)
		}
	}
}
