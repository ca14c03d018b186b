package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func TestRedriveOfMany(t *testing.T) {
	f := newFake()
	h := serve(f)
	w := ask(h, "POST", "/v1/redrives", `{"filter":{"table":"inbound","status":"FAILED","message_type":"RQ_A","handler":"a","route":"r",
		"reason":"exhausted","source_service":"UP","correlation_id":"c","since":"2026-01-31T12:00:00Z","until":"2026-01-31T13:00:00Z"},
		"rate":"90/m","handler":"b","reason":"fixed"}`, "Content-Type", "application/json", "Eventd-Service", "bob")
	job := want[wire.RedriveAnswer](t, w, 202).Redrive
	if w.Header().Get("Location") != "/v1/redrives/1" || job == nil || job.ID != "1" || job.State != "RUNNING" {
		t.Fatalf("Location %q, job %+v; want that of redrive 1", w.Header().Get("Location"), job)
	}
	j := f.jobs[0]
	wanted := event.Filter{
		Table: event.Inbound, Status: event.Failed, MessageType: "RQ_A", Handler: "a", Route: "r", Reason: event.Exhausted,
		SourceService: "UP", CorrelationID: "c", Since: noon, Until: noon.Add(time.Hour),
	}
	if j.Filter != wanted || j.Rate != 1.5 || j.Order.Handler != "b" || j.Order.Detail != "fixed" || j.Order.By != "bob" {
		t.Errorf("started %+v; want all that was ordered", j)
	}
	f.jobs[0].Position, f.jobs[0].Done, f.jobs[0].Waiting = 50, 7, "handler b is paused (manual)"
	shown := want[wire.RedriveJob](t, ask(h, "GET", "/v1/redrives/1", ""), 200)
	if shown.Rate != "1.5/s" || shown.Progress != 0.25 || shown.Done != 7 || shown.Filter.Until != "2026-01-31T13:00:00Z" || shown.Waiting == "" || shown.CreatedBy != "bob" {
		t.Errorf("shown %+v", shown)
	}
	postJSON(h, "/v1/redrives", `{}`)
	list := want[wire.Redrives](t, ask(h, "GET", "/v1/redrives", ""), 200).Redrives
	if len(list) != 2 || list[0].ID != "2" || list[0].CreatedBy != "SERVICE_A" {
		t.Errorf("listed %+v; want two, the newest first", list)
	}
	if got := want[wire.RedriveJob](t, ask(h, "DELETE", "/v1/redrives/1", ""), 200); got.State != "CANCELLED" {
		t.Errorf("cancelled: %+v", got)
	}
	wantProblem(t, ask(h, "DELETE", "/v1/redrives/1", ""), 409, "conflict")
}

func TestDryRunOfARedrive(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	w := postJSON(serve(f), "/v1/redrives", `{"dry_run":true,"filter":{"since":"1h"}}`)
	a := want[wire.RedriveAnswer](t, w, 200)
	if a.Redrive != nil || a.DryRun == nil || a.DryRun.Events != 1 || !a.DryRun.Complete || len(a.DryRun.Samples) != 1 || a.DryRun.ByStatus["ERROR"] != 1 {
		t.Errorf("dry run: %s", w.Body)
	}
	if age := time.Since(f.asked.Since); age < time.Hour || age > 2*time.Hour || len(f.jobs) > 0 {
		t.Errorf("since %s ago, %d jobs; want an hour, none", age, len(f.jobs))
	}
}

func TestRedrivesAreRefused(t *testing.T) {
	h := serve(newFake())
	for body, detail := range map[string]string{
		`{"rate":"20"}`:                                  "not a rate",
		`{"rate":"20/d"}`:                                "not a rate",
		`{"rate":"0/s"}`:                                 "not a rate",
		`{"rate":"-1/s"}`:                                "not a rate",
		`{"rate":"Inf/s"}`:                               "not a rate",
		`{"rate":"NaN/s"}`:                               "not a rate",
		`{"filter":{"status":"UNPROCESSED"}}`:            "still on its way",
		`{"filter":{"statu":"ERROR"}}`:                   "unexpected property",
		`{"filter":{"table":"outbound"}}`:                "table",
		`{"filter":{"since":"yesterday"}}`:               "neither a time",
		`{"filter":{"until":"yesterday"}}`:               "neither a time",
		`{"filter":{"since":"1h","until":"2h"}}`:         "until is not after since",
		`{"reason":"` + strings.Repeat("x", 1025) + `"}`: "length",
	} {
		wantProblem(t, postJSON(h, "/v1/redrives", body), 422, detail)
	}
	for _, id := range []string{"99", "x", "-1"} {
		wantProblem(t, ask(h, "GET", "/v1/redrives/"+id, ""), 404, "")
	}
	f := newFake()
	f.err = fmt.Errorf("redrive 3 is running for the same handler: %w", event.ErrConflict)
	wantProblem(t, postJSON(serve(f), "/v1/redrives", `{}`), 409, "redrive 3 ")
}

func TestRedriveWithAnotherPayload(t *testing.T) {
	large := `"` + strings.Repeat("x", 200<<10) + `"`
	for _, c := range []struct{ contentType, order, want string }{
		{"application/json", `{"payload":{"a":[1, 2]}}`, `{"a":[1, 2]}`},
		{"", `{"payload":null}`, `null`},
		{"application/json", `{"payload":` + large + `}`, large},
		{"text/plain", `{"payload":"a\nb"}`, "a\nb"},
		{"text/plain", `{"payload":""}`, ""},
		{"image/png", `{"payload":"AAEC","payload_encoding":"base64"}`, "\x00\x01\x02"},
		{"application/json", `{"payload":"not { json","payload_encoding":"text"}`, "not { json"},
	} {
		r := row(1, event.Inbound, "UP", "e1")
		r.ContentType = c.contentType
		f := newFake(r)
		want[wire.Changed](t, postJSON(serve(f), "/v1/events/e1/redrive", c.order), 200)
		if f.order.Payload == nil || string(f.order.Payload) != c.want {
			t.Errorf("%.60s of %s: payload %.60q; want %.60q", c.order, c.contentType, f.order.Payload, c.want)
		}
	}
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	want[wire.Changed](t, postJSON(serve(f), "/v1/events/e1/redrive", `{}`), 200)
	if f.order.Payload != nil {
		t.Errorf("without a payload: %q; want none", f.order.Payload)
	}
}
