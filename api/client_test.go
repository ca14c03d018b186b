package api_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// dial serves o on a real socket and returns a client for it.
func dial(t *testing.T, o api.Options, token string) *client.Client {
	t.Helper()
	srv := httptest.NewServer(api.New(o))
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL+"/", token, srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestClientSends(t *testing.T) {
	f := newFake()
	c := dial(t, options(f), "")
	c.Service = "SERVICE_B"
	ctx := t.Context()
	r := must[wire.Receipt](t)(c.Send(ctx, wire.NewEvent{MessageType: "RQ_A_INIT", EventID: "e1", Payload: []byte(`{"n":1}`)}))
	if r != (wire.Receipt{Table: "request", EventID: "e1"}) {
		t.Errorf("receipt = %+v", r)
	}
	if m := f.accepted[0]; m.CreatedBy != "SERVICE_B" || string(m.Payload) != `{"n":1}` {
		t.Errorf("accepted %+v", m)
	}
	header := http.Header{"content-type": {"application/json"}}
	e := must[[]wire.ExplainedEvent](t)(c.Explain(ctx, event.Inbound, header, []byte(`{"message_type":"RQ_A_INIT"}`)))
	if len(e) != 1 || e[0].Table != "inbound" || len(e[0].Handlers) != 3 {
		t.Errorf("explained = %+v", e)
	}
}

func TestClientReads(t *testing.T) {
	id := "a/../b c?"
	odd := whole()
	odd.ID = id
	f := newFake(odd, row(2, event.Response, "BANK", id), row(3, event.Inbound, "UP", ".."))
	f.payloads[1] = []event.Payload{{Body: []byte("zero")}, {Body: []byte("one"), ContentType: "text/plain"}}
	c := dial(t, options(f), "")
	ctx := t.Context()

	q := client.Query{Status: "COMPLETED", Since: "48h", Limit: 1, OldestFirst: true}
	l := must[wire.List](t)(c.List(ctx, q))
	if len(l.Events) != 1 || l.Events[0].Table != "response" || l.NextCursor == "" {
		t.Errorf("list = %+v", l)
	}
	q.Cursor = l.NextCursor
	if l = must[wire.List](t)(c.List(ctx, q)); len(l.Events) != 1 || l.Events[0].EventID != ".." || l.NextCursor != "" {
		t.Errorf("second page = %+v", l)
	}

	d := must[wire.Detail](t)(c.Show(ctx, id))
	if len(d.Rows) != 2 || !d.Rows[0].CreatedDttm.Equal(noon) || !d.Rows[1].NextAttemptDttm.IsZero() || d.Timeline[1].Code != 503 {
		t.Errorf("detail = %+v", d)
	}
	if d := must[wire.Detail](t)(c.Show(ctx, "..")); d.Rows[0].EventID != ".." {
		t.Errorf("detail of .. = %+v", d)
	}
	body, contentType, err := c.Payload(ctx, id, client.Which{Table: "inbound"}, 1)
	if err != nil || string(body) != "one" || contentType != "text/plain" {
		t.Errorf("payload = %q, %q, %v", body, contentType, err)
	}
}

func TestClientQueryReachesTheStore(t *testing.T) {
	f := newFake()
	c := dial(t, options(f), "")
	must[wire.List](t)(c.List(t.Context(), client.Query{
		Table: "inbound", Status: "ERROR", MessageType: "m", Handler: "h", Route: "r", Reason: "no_route",
		SourceService: "s", CorrelationID: "c", Since: "2026-01-31T12:00:00Z", Until: "2026-01-31T13:00:00+00:00",
	}))
	wanted := event.Filter{Table: event.Inbound, Status: event.Error, MessageType: "m", Handler: "h", Route: "r",
		Reason: event.NoRoute, SourceService: "s", CorrelationID: "c", Since: noon, Until: noon.Add(time.Hour)}
	if f.asked != wanted {
		t.Errorf("filter = %+v\nwant     %+v", f.asked, wanted)
	}
}

func TestClientSteers(t *testing.T) {
	f := newFake(row(1, event.Request, "SERVICE_A", "e1"), row(2, event.Response, "BANK", "e1"))
	c := dial(t, options(f), "")
	ctx := t.Context()
	r := must[wire.Row](t)(c.Redrive(ctx, "e1", client.Which{Table: "response", SourceService: "BANK"}, wire.Redrive{Reason: "again"}))
	if r.Table != "response" || r.Status != "UNPROCESSED" || f.order.Detail != "again" {
		t.Errorf("redriven %+v with %+v", r, f.order)
	}
	r = must[wire.Row](t)(c.Cancel(ctx, "e1", client.Which{Table: "request"}, wire.Cancel{}))
	if r.Table != "request" || r.Status != "FAILED" {
		t.Errorf("cancelled %+v", r)
	}
	_, err := c.Cancel(ctx, "e1", client.Which{}, wire.Cancel{})
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != 409 || len(refused.Candidates) != 2 {
		t.Errorf("err = %#v; want a conflict with both candidates", err)
	}
	for name, do := range map[string]func(context.Context, string) error{"pause": c.PauseHandler, "resume": c.ResumeHandler} {
		if err := do(ctx, "service-a"); err != nil || f.paused["service-a"] != (name == "pause") {
			t.Errorf("%s: %v, %v", name, err, f.paused)
		}
	}
	for name, do := range map[string]func(context.Context, string) error{"pause": c.PauseSource, "resume": c.ResumeSource} {
		if err := do(ctx, "up/stream"); err != nil || f.paused["up/stream"] != (name == "pause") {
			t.Errorf("%s: %v, %v", name, err, f.paused)
		}
	}
	if err := c.PauseHandler(ctx, "nope"); err == nil || err.Error() != `no handler is named "nope"` {
		t.Errorf("err = %v", err)
	}
}

func TestClientLooks(t *testing.T) {
	f := newFake()
	c := dial(t, options(f), "")
	ctx := t.Context()
	if s := must[wire.Status](t)(c.Status(ctx)); s.Counts["inbound"]["COMPLETED"] != 7 || !s.Oldest["RETRY"].Equal(noon) {
		t.Errorf("status = %+v", s)
	}
	now := f.Snapshot()
	if got := must[[]event.SourceInfo](t)(c.Sources(ctx)); !reflect.DeepEqual(got, now.Sources) {
		t.Errorf("sources = %+v; want %+v", got, now.Sources)
	}
	if got := must[[]event.HandlerInfo](t)(c.Handlers(ctx)); !reflect.DeepEqual(got, now.Handlers) {
		t.Errorf("handlers = %+v; want %+v", got, now.Handlers)
	}
	if got := must[[]event.RouteInfo](t)(c.Routes(ctx)); !reflect.DeepEqual(got, f.Routes()) {
		t.Errorf("routes = %+v; want %+v", got, f.Routes())
	}
	if got := must[[]event.ScheduleInfo](t)(c.Schedules(ctx)); !reflect.DeepEqual(got, f.Schedules()) {
		t.Errorf("schedules = %+v; want %+v", got, f.Schedules())
	}
	if got := must[[]byte](t)(c.Config(ctx)); string(got) != "service: SERVICE_A\n" {
		t.Errorf("config = %s", got)
	}
	if err := c.Ready(ctx); err != nil {
		t.Errorf("ready: %v", err)
	}
	f.problems = []string{"nats: not connected", "source up: paused"}
	if err := c.Ready(ctx); err == nil || !strings.Contains(err.Error(), "source up: paused") {
		t.Errorf("not ready: %v", err)
	}
}

func TestClientReload(t *testing.T) {
	f := newFake()
	c := dial(t, options(f), "")
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	f.reload = errors.New("routes.yaml:1:1: first\nroutes.yaml:2:1: second")
	err := c.Reload(t.Context())
	wanted := "the configuration was not reloaded, the old one is still in force\n  routes.yaml:1:1: first\n  routes.yaml:2:1: second"
	if err == nil || err.Error() != wanted {
		t.Errorf("err = %v; want %s", err, wanted)
	}
}

func TestClientToken(t *testing.T) {
	o := options(newFake())
	o.Token = func() (string, error) { return "s3cret", nil }
	if err := dial(t, o, "s3cret").Reload(t.Context()); err != nil {
		t.Error(err)
	}
	err := dial(t, o, "wrong").Reload(t.Context())
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != 401 || refused.Title != "Unauthorized" {
		t.Errorf("err = %v; want 401", err)
	}
}

// TestSlowBody sends half a body over a real socket and waits.
func TestSlowBody(t *testing.T) {
	f := newFake()
	srv := api.NewServer(api.New(options(f)))
	srv.ReadTimeout = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	defer func() { _ = srv.Close(); <-done }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4<<10)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 408 ") || !strings.Contains(string(answer[:n]), "application/problem+json") {
		t.Errorf("answer = %s, %v; want a problem 408", answer[:n], err)
	}
	if len(f.accepted) != 0 {
		t.Errorf("half a body was accepted: %+v", f.accepted)
	}
}

func TestClientRedrivesMany(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e1"))
	c := dial(t, options(f), "")
	c.Service = "bob"
	ctx := t.Context()
	plan := must[wire.RedriveAnswer](t)(c.StartRedrive(ctx, wire.NewRedrive{DryRun: true}))
	if plan.DryRun == nil || plan.DryRun.Events != 1 || len(f.jobs) != 0 {
		t.Errorf("dry run = %+v, %d jobs; want a plan and none", plan, len(f.jobs))
	}
	started := must[wire.RedriveAnswer](t)(c.StartRedrive(ctx, wire.NewRedrive{
		Filter: wire.RedriveFilter{Handler: "service-a"}, Rate: "2/s", Handler: "other", Reason: "fixed",
	}))
	if started.Redrive == nil || started.Redrive.ID != "1" || started.Redrive.CreatedBy != "bob" {
		t.Fatalf("started %+v; want redrive 1 by bob", started)
	}
	if j := f.jobs[0]; j.Filter.Handler != "service-a" || j.Rate != 2 || j.Order.Handler != "other" || j.Order.Detail != "fixed" {
		t.Errorf("ordered %+v", j)
	}
	if list := must[[]wire.RedriveJob](t)(c.Redrives(ctx)); len(list) != 1 || list[0].ID != "1" {
		t.Errorf("listed %+v", list)
	}
	if j := must[wire.RedriveJob](t)(c.ShowRedrive(ctx, "1")); j.State != "RUNNING" {
		t.Errorf("shown %+v; want RUNNING", j)
	}
	if j := must[wire.RedriveJob](t)(c.CancelRedrive(ctx, "1")); j.State != "CANCELLED" {
		t.Errorf("cancelled %+v", j)
	}
	var refusal *client.Error
	if _, err := c.ShowRedrive(ctx, "9/9"); !errors.As(err, &refusal) || refusal.Status != http.StatusNotFound {
		t.Errorf("a redrive that is not there: %v; want 404", err)
	}
	if _, err := c.CancelRedrive(ctx, ""); err == nil {
		t.Error("a redrive without id is cancelled")
	}
}
