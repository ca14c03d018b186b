package api_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func (f *fake) Claim(_ context.Context, handler string, o event.ClaimOrder) ([]event.Claim, error) {
	f.claimOrder = o
	if handler != "worker" {
		return nil, fmt.Errorf("handler %q: %w", handler, event.ErrNotFound)
	}
	if f.err != nil || len(f.records) == 0 {
		return nil, f.err
	}
	payload := f.claimed
	if payload == nil {
		payload = []byte(`{"n":1}`)
	}
	return []event.Claim{{ID: "1-0-0-1-5", Until: noon, Attempt: 1, Record: f.records[0], Payload: payload}}, nil
}

func (f *fake) CompleteClaim(_ context.Context, _, by string, followUps []event.Message) (event.Record, error) {
	f.by, f.accepted = by, followUps
	return f.change(1, event.Completed)
}

func (f *fake) FailClaim(_ context.Context, _, by string, c event.ClaimFailure) (event.Record, error) {
	f.by, f.failure = by, c
	return f.change(1, event.Retry)
}

func (f *fake) ExtendClaim(_ context.Context, _, by string, lease time.Duration) (time.Time, error) {
	f.by, f.claimOrder.Lease = by, lease
	return noon.Add(lease), f.err
}

func (f *fake) ReleaseClaim(ctx context.Context, _, by string) (event.Record, error) {
	if ctx.Err() != nil {
		return event.Record{}, ctx.Err()
	}
	f.by = by
	return f.change(1, event.Unprocessed)
}

func TestClaim(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	got := want[wire.Claims](t, ask(serve(f), "POST", "/v1/handlers/worker/claim", `{"max":10,"lease":"45s","wait":"20s"}`,
		"Content-Type", "application/json", "Eventd-Service", "worker-1"), 200)
	if len(got.Claims) != 1 {
		t.Fatalf("%d claims; want one", len(got.Claims))
	}
	c := got.Claims[0]
	if c.ClaimID != "1-0-0-1-5" || c.Attempt != 1 || c.Event.EventID != "e1" || string(c.Payload) != `{"n":1}` || c.Encoding != wire.EncodingJSON || !c.LeaseUntil.Equal(noon) {
		t.Errorf("claim = %+v", c)
	}
	if o := (event.ClaimOrder{Max: 10, Lease: 45 * time.Second, Wait: 20 * time.Second, By: "worker-1"}); f.claimOrder != o {
		t.Errorf("asked for %+v; want %+v", f.claimOrder, o)
	}
	want[wire.Claims](t, ask(serve(f), "POST", "/v1/handlers/worker/claim", ""), 200)
	if o := (event.ClaimOrder{Max: 1}); f.claimOrder != o {
		t.Errorf("without a body asked for %+v; want %+v", f.claimOrder, o)
	}
	if w := ask(serve(newFake()), "POST", "/v1/handlers/worker/claim", ""); w.Body.String() != "{\"claims\":[]}\n" {
		t.Errorf("without events: %s", w.Body)
	}
}

func TestClaimsAreRefused(t *testing.T) {
	h := serve(newFake(row(1, event.Inbound, "UP", "e1")))
	for body, detail := range map[string]string{
		`{"wait":"61s"}`: "not from 0s to 1m0s", `{"wait":"-1s"}`: "not from", `{"lease":"1ms"}`: "not from 1s to 12h",
		`{"lease":"x"}`: "is no duration", `{"max":0}`: "body.max", `{"max":1001}`: "body.max", `{"more":1}`: "body.more",
	} {
		wantProblem(t, postJSON(h, "/v1/handlers/worker/claim", body), 422, detail)
	}
	wantProblem(t, postJSON(h, "/v1/handlers/nobody/claim", "{}"), 404, `handler "nobody"`)
	wantProblem(t, postJSON(h, "/v1/claims/1/fail", `{"delay":"169h"}`), 422, "not from")
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	f.err = fmt.Errorf("event 1: the claim is over: it is with worker-2: %w", event.ErrConflict)
	for _, verb := range []string{"complete", "fail", "extend", "release"} {
		wantProblem(t, ask(serve(f), "POST", "/v1/claims/1-0-0-1-5/"+verb, ""), 409, "the claim is over: it is with worker-2")
	}
}

func TestClaimEnds(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	h := serve(f)
	const claim = "/v1/claims/1-0-0-1-5/"
	if c := want[wire.Changed](t, ask(h, "POST", claim+"complete", "", "Eventd-Service", "w"), 200); c.Event.Status != "COMPLETED" || len(f.accepted) != 0 || f.by != "w" {
		t.Errorf("completed: %s by %s with %d follow-ups", c.Event.Status, f.by, len(f.accepted))
	}
	want[wire.Changed](t, postJSON(h, claim+"complete", `[{"message_type":"B","payload":{}},{"message_type":"C","payload":{}}]`), 200)
	if len(f.accepted) != 2 || f.accepted[1].MessageType != "C" {
		t.Errorf("follow-ups: %+v; want two", f.accepted)
	}
	want[wire.Changed](t, ask(h, "POST", claim+"complete", "x", "ce-specversion", "1.0", "ce-id", "f", "ce-type", "D", "ce-source", "/s", "Content-Type", "text/plain"), 200)
	if len(f.accepted) != 1 || f.accepted[0].MessageType != "D" || string(f.accepted[0].Payload) != "x" {
		t.Errorf("follow-ups: %+v; want one of type D", f.accepted)
	}
	wantProblem(t, postJSON(h, claim+"complete", `{"no":"type"}`), 400, "message_type")
	for body, wanted := range map[string]event.ClaimFailure{
		"":                                  {Retry: true},
		"{}":                                {Retry: true},
		`{"reason":"no ink","retry":false}`: {Detail: "no ink"},
		`{"retry":true,"delay":"5s"}`:       {Retry: true, Delay: 5 * time.Second},
	} {
		if want[wire.Changed](t, postJSON(h, claim+"fail", body), 200); f.failure != wanted {
			t.Errorf("fail %s: %+v; want %+v", body, f.failure, wanted)
		}
	}
	if e := want[wire.Extended](t, postJSON(h, claim+"extend", `{"lease":"1m"}`), 200); !e.LeaseUntil.Equal(noon.Add(time.Minute)) {
		t.Errorf("extended until %s", e.LeaseUntil)
	}
	if c := want[wire.Changed](t, ask(h, "POST", claim+"release", ""), 200); c.Event.Status != "UNPROCESSED" {
		t.Errorf("released: %s", c.Event.Status)
	}
}

// TestClaimsOfSomeSize: what a claimer can take bounds what it gets.
func TestClaimsOfSomeSize(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	want[wire.Claims](t, ask(serve(f), "POST", "/v1/handlers/worker/claim?max_bytes=100000", ""), 200)
	room := f.claimOrder.Room
	if room == nil || room.Bytes > 100_000 || room.Bytes < 99_000 {
		t.Fatalf("room = %+v; want nearly 100000 bytes", room)
	}
	e := f.records[0].Event
	for name, c := range map[string]struct {
		contentType, payload string
		least, most          int
	}{
		"json":   {"application/json", `"` + strings.Repeat("x", 50_000) + `"`, 50_000, 53_000},
		"text":   {"text/plain", strings.Repeat("\"", 40_000), 80_000, 83_000},
		"binary": {"", strings.Repeat("\xff", 60_000), 80_000, 83_000},
		"large":  {"", strings.Repeat("x", 100_000), 100_000, 100_000},
	} {
		e.ContentType = c.contentType
		if n := room.Size(&e, []byte(c.payload)); n < c.least || n > c.most {
			t.Errorf("%s: %d bytes; want %d to %d", name, n, c.least, c.most)
		}
	}
	wantProblem(t, ask(serve(f), "POST", "/v1/handlers/worker/claim?max_bytes=0", ""), 422, "max_bytes")
}

// FuzzClaimSize: no claim has more bytes than was counted for it.
func FuzzClaimSize(f *testing.F) {
	f.Add("e1", "application/json", []byte(`{"a": "<\u00e9>"}`))
	f.Add("\x00\xff<", "text/plain", []byte("\x01\x02"))
	f.Add("e\"", "", []byte{0xff, 0xfe})
	f.Fuzz(func(t *testing.T, id, contentType string, payload []byte) {
		x := newFake(row(1, event.Inbound, "UP", id))
		x.records[0].ContentType = contentType
		x.claimed = payload
		w := ask(serve(x), "POST", "/v1/handlers/worker/claim?max_bytes=10000000", "")
		if n := x.claimOrder.Room.Size(&x.records[0].Event, payload); w.Code == 200 && w.Body.Len() > n+64 {
			t.Errorf("an answer of %d bytes; %d were counted", w.Body.Len(), n)
		}
	})
}

// TestClaimsAlone are served to who was let in elsewhere, by any name.
func TestClaimsAlone(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	o := options(f)
	o.Token = func() (string, error) { return "secret", nil }
	h := api.NewClaims(o)
	want[wire.Claims](t, ask(h, "POST", "/v1/handlers/worker/claim", "", "Host", "elsewhere"), 200)
	wantProblem(t, ask(h, "POST", "/v1/events", "{}"), 404, "there is nothing at")
	if w := ask(h, "POST", "/v1/claims/1/complete", strings.Repeat("x", 9<<20)); w.Code != 413 {
		t.Errorf("a body of 9 MiB: %d; want 413", w.Code)
	}
}

// TestClaimerHasHungUp when its claims are made: they go back.
func TestClaimerHasHungUp(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	ctx, hangUp := context.WithCancel(context.Background())
	hangUp()
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/handlers/worker/claim", nil)
	r.Host = "127.0.0.1"
	w := httptest.NewRecorder()
	serve(f).ServeHTTP(w, r)
	if f.by != "SERVICE_A" || w.Code != 503 {
		t.Errorf("released by %q, %d; want SERVICE_A, 503", f.by, w.Code)
	}
}
