package api_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func TestRedrive(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	w := ask(serve(f), "POST", "/v1/events/e1/redrive", `{"handler":"other","reason":"bank is back"}`,
		"Content-Type", "application/json", "Eventd-Service", "alice")
	got := want[wire.Changed](t, w, 200)
	if got.Event.EventID != "e1" || got.Event.Status != "UNPROCESSED" {
		t.Errorf("event = %+v; want e1 UNPROCESSED", got.Event)
	}
	if !reflect.DeepEqual(f.order, event.RedriveOrder{Handler: "other", Detail: "bank is back", By: "alice"}) {
		t.Errorf("order = %+v", f.order)
	}
}

func TestOneDelivery(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	h := serve(f)
	want[wire.Changed](t, postJSON(h, "/v1/events/e1/redrive", `{"delivery":"ledger","handler":"ledger-2"}`), 200)
	if !reflect.DeepEqual(f.order, event.RedriveOrder{Of: "ledger", Handler: "ledger-2", By: "SERVICE_A"}) {
		t.Errorf("order = %+v", f.order)
	}
	want[wire.Changed](t, postJSON(h, "/v1/events/e1/cancel", `{"delivery":"ledger"}`), 200)
	if f.of != "ledger" {
		t.Errorf("cancelled is the delivery to %q; want ledger", f.of)
	}
	f.err = fmt.Errorf("event 1: %w", fmt.Errorf("delivery to %q: %w", "audit", event.ErrNotFound))
	wantProblem(t, postJSON(h, "/v1/events/e1/redrive", `{"delivery":"audit"}`), 404, `delivery to "audit"`)
	f.err = fmt.Errorf("event 1: %w", fmt.Errorf("the delivery to a is RETRY: %w", event.ErrConflict))
	wantProblem(t, postJSON(h, "/v1/events/e1/cancel", `{"delivery":"a"}`), 409, "the delivery to a is RETRY")
}

func TestRedriveWithoutBody(t *testing.T) {
	for _, body := range []string{"", "{}", " {} "} {
		f := newFake(row(1, event.Inbound, "UP", "e1"))
		want[wire.Changed](t, ask(serve(f), "POST", "/v1/events/e1/redrive", body), 200)
		if !reflect.DeepEqual(f.order, event.RedriveOrder{By: "SERVICE_A"}) {
			t.Errorf("body %q: order = %+v; want the daemon's service and nothing else", body, f.order)
		}
	}
}

func TestCancel(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	w := ask(serve(f), "POST", "/v1/events/e1/cancel", `{"reason":"sent twice"}`, "Eventd-Service", "alice")
	if got := want[wire.Changed](t, w, 200); got.Event.Status != "FAILED" {
		t.Errorf("event = %+v; want FAILED", got.Event)
	}
	if f.by != "alice" || f.detail != "sent twice" {
		t.Errorf("by, detail = %q, %q", f.by, f.detail)
	}
}

func TestOrdersAreRefused(t *testing.T) {
	for _, c := range []struct {
		target, body, contentType string
		status                    int
		detail                    string
	}{
		{"/v1/events/e1/redrive", `{"payload":{"a":1},"payload_encoding":"text"}`, "", 422, "not a string"},
		{"/v1/events/e1/redrive", `{"payload":"a b","payload_encoding":"base64"}`, "", 422, "not base64"},
		{"/v1/events/e1/redrive", `{"payload_encoding":"text"}`, "", 422, "without a payload"},
		{"/v1/events/e1/redrive", `{"payload":1,"payload_encoding":"xml"}`, "", 422, "payload_encoding"},
		{"/v1/events/e1/redrive", `{"handlr":"x"}`, "", 422, "body.handlr: unexpected property"},
		{"/v1/events/e1/redrive", `{"handler":1}`, "", 422, "body.handler: expected string"},
		{"/v1/events/e1/redrive", `[]`, "", 422, "body: expected object"},
		{"/v1/events/e1/redrive", `{"handler":`, "", 400, "body: unexpected end of JSON input"},
		{"/v1/events/e1/redrive", `{"handler":` + strings.Repeat(" ", 10<<10), "", 400, "body: unexpected end of JSON input"},
		{"/v1/events/e1/redrive", `handler=x`, "application/x-www-form-urlencoded", 415, "unknown content type"},
		{"/v1/events/e1/cancel", `{"reason":"` + strings.Repeat("x", 70<<10) + `"}`, "", 413, "too large"},
		{"/v1/events/e1/redrive", `{"payload":"` + strings.Repeat("x", 9<<20) + `"}`, "", 413, "bytes"},
		{"/v1/events/e1/cancel", `{"handler":"x"}`, "", 422, "unexpected property"},
		{"/v1/events/e1/cancel?table=nope", ``, "", 422, "no table is named"},
		{"/v1/events/nope/redrive", ``, "", 404, "there is no event"},
		{"/v1/events/nope/cancel", ``, "", 404, "there is no event"},
	} {
		h := serve(newFake(row(1, event.Inbound, "UP", "e1")))
		if c.contentType == "" {
			c.contentType = "application/json"
		}
		w := ask(h, "POST", c.target, c.body, "Content-Type", c.contentType)
		p := wantProblem(t, w, c.status, c.detail)
		if len(w.Body.Bytes()) > 4<<10 {
			t.Errorf("%s: the problem is %d bytes long: %+.200v", c.target, w.Body.Len(), p)
		}
	}
}

func TestSameIDSeveralTimes(t *testing.T) {
	records := []event.Record{
		row(1, event.Request, "SERVICE_A", "e1"), row(2, event.Response, "BANK", "e1"), row(3, event.Response, "LEDGER", "e1"),
	}
	for _, call := range []struct{ method, verb string }{{"POST", "redrive"}, {"POST", "cancel"}, {"GET", "payload"}} {
		f := newFake(records...)
		for _, r := range records {
			f.payloads[r.Seq] = []event.Payload{{Body: []byte(r.SourceService)}}
		}
		h := serve(f)
		target := "/v1/events/e1/" + call.verb
		for _, c := range []struct {
			query      string
			status     int
			candidates int
		}{
			{"", 409, 3},
			{"?table=response", 409, 2},
			{"?table=inbound", 404, 3},
			{"?table=request&source_service=BANK", 404, 3},
			{"?table=request", 200, 0},
			{"?source_service=BANK", 200, 0},
			{"?table=response&source_service=LEDGER", 200, 0},
		} {
			w := ask(h, call.method, target+c.query, "")
			if c.status == 200 {
				if w.Code != 200 {
					t.Errorf("%s%s: %d %s", target, c.query, w.Code, w.Body)
				}
				continue
			}
			p := wantProblem(t, w, c.status, "e1")
			if len(p.Candidates) != c.candidates || p.Candidates[0].Table == "" || p.Candidates[0].SourceService == "" {
				t.Errorf("%s%s: candidates = %+v; want %d", target, c.query, p.Candidates, c.candidates)
			}
		}
	}
}

func TestTheChosenOneIsMeant(t *testing.T) {
	f := newFake(row(1, event.Request, "SERVICE_A", "e1"), row(2, event.Response, "BANK", "e1"))
	got := want[wire.Changed](t, ask(serve(f), "POST", "/v1/events/e1/cancel?table=response", ""), 200)
	if got.Event.SourceService != "BANK" {
		t.Errorf("cancelled the one from %s; want BANK", got.Event.SourceService)
	}
}

func TestConflictSaysTheStatus(t *testing.T) {
	for _, verb := range []string{"redrive", "cancel"} {
		r := row(1, event.Inbound, "UP", "e1")
		r.Status = event.InProgress
		f := newFake(r)
		f.err = fmt.Errorf("an attempt is running: %w", event.ErrConflict)
		p := wantProblem(t, ask(serve(f), "POST", "/v1/events/e1/"+verb, ""), http.StatusConflict, "IN_PROGRESS")
		if p.EventStatus != "IN_PROGRESS" {
			t.Errorf("event_status = %q; want IN_PROGRESS", p.EventStatus)
		}
	}
}

func TestOperatorErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf(`handler "x": %w`, event.ErrNotFound), 404},
		{event.ErrUnavailable, 503},
		{fmt.Errorf("event 1: %w", event.ErrPayloadRemoved), 409},
		{errDisk, 500},
	} {
		f := newFake(row(1, event.Inbound, "UP", "e1"))
		f.err = c.err
		wantProblem(t, ask(serve(f), "POST", "/v1/events/e1/redrive", ""), c.status, c.err.Error())
	}
}

func TestPauseAndResume(t *testing.T) {
	for _, c := range []struct{ target, name string }{
		{"/v1/handlers/service-a/", "service-a"}, {"/v1/sources/up%2Fstream/", "up/stream"},
	} {
		f := newFake()
		h := serve(f)
		got := want[wire.Switched](t, ask(h, "POST", c.target+"pause", ""), 200)
		if got != (wire.Switched{Name: c.name, Paused: true}) || !f.paused[c.name] {
			t.Errorf("pause %s: %+v, %v", c.name, got, f.paused)
		}
		got = want[wire.Switched](t, ask(h, "POST", c.target+"resume", ""), 200)
		if got != (wire.Switched{Name: c.name}) || f.paused[c.name] {
			t.Errorf("resume %s: %+v, %v", c.name, got, f.paused)
		}
	}
	h := serve(newFake())
	wantProblem(t, ask(h, "POST", "/v1/handlers/servce-a/pause", ""), 404, `no handler is named "servce-a"`)
	wantProblem(t, ask(h, "POST", "/v1/sources/nope/resume", ""), 404, `no source is named "nope"`)
	wantProblem(t, ask(h, "GET", "/v1/handlers/service-a/pause", ""), 405, "GET is not allowed")
}
