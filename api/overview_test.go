package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func TestStatus(t *testing.T) {
	f := newFake()
	f.problems = []string{"nats: not connected"}
	s := want[wire.Status](t, ask(serve(f), "GET", "/v1/status", ""), 200)
	if s.Service != "SERVICE_A" || s.Version != "1.2.3" || !s.StartedDttm.Equal(noon) || s.UptimeSeconds <= 0 {
		t.Errorf("status = %+v", s)
	}
	if s.Ready || len(s.Problems) != 1 || !s.Connected {
		t.Errorf("ready, problems, connected = %v, %v, %v", s.Ready, s.Problems, s.Connected)
	}
	if len(s.Counts) != 3 || len(s.Counts["response"]) != 6 || s.Counts["inbound"]["COMPLETED"] != 7 {
		t.Errorf("counts = %v; want every table and status", s.Counts)
	}
	if len(s.Oldest) != 1 || !s.Oldest["RETRY"].Equal(noon) {
		t.Errorf("oldest = %v", s.Oldest)
	}
	if s.Store.Size != 4096 || len(s.Handlers) != 1 || len(s.Sources) != 1 {
		t.Errorf("store, handlers, sources = %+v, %+v, %+v", s.Store, s.Handlers, s.Sources)
	}
}

// empty has nothing to show.
type empty struct{}

func (empty) Snapshot() event.Snapshot        { return event.Snapshot{} }
func (empty) Routes() []event.RouteInfo       { return nil }
func (empty) Schedules() []event.ScheduleInfo { return nil }
func (empty) Problems() []string              { return nil }

func TestListsAreNeverNull(t *testing.T) {
	o := options(newFake())
	o.Overview = empty{}
	h := api.New(o)
	for target, wanted := range map[string]string{
		"/v1/sources": `{"sources":[]}`, "/v1/routes": `{"routes":[]}`, "/v1/handlers": `{"handlers":[]}`,
		"/v1/schedules": `{"schedules":[]}`,
	} {
		if w := ask(h, "GET", target, ""); strings.TrimSpace(w.Body.String()) != wanted {
			t.Errorf("%s = %s; want %s", target, w.Body, wanted)
		}
	}
	if w := ask(h, "GET", "/v1/status", ""); strings.Contains(w.Body.String(), "null") {
		t.Errorf("status has a null: %s", w.Body)
	}
}

func TestSourcesRoutesHandlers(t *testing.T) {
	h := serve(newFake())
	if s := want[wire.Sources](t, ask(h, "GET", "/v1/sources", ""), 200).Sources; len(s) != 1 || s[0].Table != event.Inbound {
		t.Errorf("sources = %+v", s)
	}
	if r := want[wire.Routes](t, ask(h, "GET", "/v1/routes", ""), 200).Routes; len(r) != 1 || r[0].Handlers[0] != "service-a" {
		t.Errorf("routes = %+v", r)
	}
	if l := want[wire.Handlers](t, ask(h, "GET", "/v1/handlers", ""), 200).Handlers; len(l) != 1 || l[0].Concurrency != 64 {
		t.Errorf("handlers = %+v", l)
	}
	if l := want[wire.Schedules](t, ask(h, "GET", "/v1/schedules", ""), 200).Schedules; len(l) != 1 || !l[0].Next.Equal(noon) || !l[0].Last.IsZero() {
		t.Errorf("schedules = %+v", l)
	}
}

func TestExplain(t *testing.T) {
	f := newFake()
	h := serve(f)
	e := want[wire.Explained](t, postJSON(h, "/v1/explain?table=inbound", `{"message_type":"RQ_A_INIT","event_id":"e1"}`), 200)
	if len(e.Events) != 1 || e.Events[0].EventID != "e1" || e.Events[0].Table != "inbound" {
		t.Fatalf("explained = %+v", e)
	}
	if got := fmt.Sprint(e.Events[0].Handlers); got != "[a b d]" {
		t.Errorf("handlers = %s; want those of the routes that match, each once", got)
	}
	if r := e.Events[0].Routes; len(r) != 3 || r[1].Why != "table is inbound" || r[1].Matched {
		t.Errorf("routes = %+v", r)
	}
	e = want[wire.Explained](t, postJSON(h, "/v1/explain", `{"message_type":"OTHER"}`), 200)
	if got := e.Events[0]; got.Table != "request" || got.Handlers == nil || len(got.Handlers) != 0 || got.Routes == nil {
		t.Errorf("without a route: %+v", got)
	}
	wantProblem(t, postJSON(h, "/v1/explain", `{`), 400, "")
	wantProblem(t, postJSON(h, "/v1/explain?table=outbound", `{}`), 422, "no table is named")
	if len(f.accepted) != 0 {
		t.Errorf("explaining stored %+v", f.accepted)
	}
}

func TestReload(t *testing.T) {
	f := newFake()
	h := serve(f)
	if r := want[wire.Reloaded](t, ask(h, "POST", "/v1/reload", ""), 200); !r.Reloaded {
		t.Errorf("reloaded = %+v", r)
	}
	first := `routes.yaml:14:7: routes[1].handler: no handler is named "servce-a" (did you mean "service-a"?)`
	second := `routes.yaml:20:3: data_dir: needs a restart`
	for name, err := range map[string]error{
		"joined":         errors.Join(errors.New(first), errors.New(second)),
		"lines":          errors.New(first + "\n" + second + "\n"),
		"joined, nested": errors.Join(errors.Join(errors.New(first)), errors.New(second)),
	} {
		f.reload = err
		p := wantProblem(t, ask(h, "POST", "/v1/reload", ""), 422, "the old one is still in force")
		if len(p.Errors) != 2 || p.Errors[0].Message != first || p.Errors[1].Message != second {
			t.Errorf("%s: errors = %+v; want both lines", name, p.Errors)
		}
	}
	f.reload = event.ErrUnavailable
	wantProblem(t, ask(h, "POST", "/v1/reload", ""), 503, "unavailable")
}

func TestConfig(t *testing.T) {
	h := serve(newFake())
	for _, c := range []struct{ accept, contentType, body string }{
		{"", "application/yaml", "service: SERVICE_A\n"},
		{"*/*", "application/yaml", "service: SERVICE_A\n"},
		{"application/yaml, application/json", "application/yaml", "service: SERVICE_A\n"},
		{"application/json", "application/json", `{"yaml":"service: SERVICE_A\n"}`},
		{"application/yaml;q=0.1, application/json", "application/json", `{"yaml":"service: SERVICE_A\n"}`},
	} {
		w := ask(h, "GET", "/v1/config", "", "Accept", c.accept)
		if w.Code != 200 || w.Header().Get("Content-Type") != c.contentType || w.Body.String() != c.body {
			t.Errorf("Accept %q: %d %s %q", c.accept, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
	f := newFake()
	f.err = errDisk
	wantProblem(t, ask(serve(f), "GET", "/v1/config", ""), 500, "disk on fire")
}

func TestHealth(t *testing.T) {
	f := newFake()
	for name, h := range map[string]http.Handler{"admin": serve(f), "metrics": api.Health(f)} {
		f.problems = nil
		for _, target := range []string{"/livez", "/readyz"} {
			w := ask(h, "GET", target, "", "Host", "10.1.2.3:9181", "Sec-Fetch-Site", "cross-site")
			if w.Code != 200 || w.Body.String() != "ok\n" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("%s %s: %d %q", name, target, w.Code, w.Body)
			}
		}
		if r := want[wire.Ready](t, ask(h, "GET", "/readyz", "", "Accept", "application/json"), 200); !r.Ready {
			t.Errorf("%s: ready = %+v", name, r)
		}
		f.problems = []string{"nats: not connected", "source upstream: consumer was deleted"}
		w := ask(h, "GET", "/readyz", "")
		if w.Code != 503 || w.Body.String() != "not ready\nnats: not connected\nsource upstream: consumer was deleted\n" {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
		p := wantProblem(t, ask(h, "GET", "/readyz", "", "Accept", "application/json"), 503, "nats: not connected; source")
		if len(p.Errors) != 2 {
			t.Errorf("%s: errors = %+v", name, p.Errors)
		}
		if w := ask(h, "GET", "/livez", ""); w.Code != 200 {
			t.Errorf("%s: not alive because it is not ready", name)
		}
	}
	wantProblem(t, ask(api.Health(f), "GET", "/v1/events", ""), 404, "there is nothing at")
	wantProblem(t, ask(api.Health(f), "POST", "/readyz", ""), 405, "POST is not allowed")
}

func TestWhatComesLater(t *testing.T) {
	h := serve(newFake())
	d, _ := describe(t, h)
	for _, c := range []string{
		"GET /v1/stream",
	} {
		method, path, _ := strings.Cut(c, " ")
		target := rxParam.ReplaceAllString(path, "a%2Fb") + "?table=inbound"
		wantProblem(t, ask(h, method, target, "{"), 501, "not supported yet")
		for status := range d.Paths[path][strings.ToLower(method)].Responses {
			if status != "501" && status != "default" {
				t.Errorf("%s promises %s", c, status)
			}
		}
	}
}
