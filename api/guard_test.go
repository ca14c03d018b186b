package api_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/event"
)

func TestHost(t *testing.T) {
	for _, c := range []struct {
		listen string
		extra  []string
		host   string
		ok     bool
	}{
		{"127.0.0.1:9180", nil, "127.0.0.1:9180", true},
		{"127.0.0.1:9180", nil, "localhost:9180", true},
		{"127.0.0.1:9180", nil, "LOCALHOST.", true},
		{"127.0.0.1:9180", nil, "127.4.5.6", true},
		{"127.0.0.1:9180", nil, "[::1]:9180", true},
		{"127.0.0.1:9180", nil, "[::ffff:127.0.0.1]:9180", true},
		{"127.0.0.1:9180", nil, "localhost:1234", true}, // a forwarded port
		{"127.0.0.1:9180", nil, "evil.example:9180", false},
		{"127.0.0.1:9180", nil, "localhost.evil.example", false},
		{"127.0.0.1:9180", nil, "127.0.0.1.evil.example", false},
		{"127.0.0.1:9180", nil, "10.0.0.7:9180", false},
		{"127.0.0.1:9180", nil, "", false},
		{"10.0.0.7:9180", nil, "10.0.0.7:9180", true},
		{"10.0.0.7:9180", nil, "10.0.0.8:9180", false},
		{"admin.internal:9180", nil, "Admin.Internal:9180", true},
		{"0.0.0.0:9180", nil, "10.0.0.8:9180", true},
		{":9180", nil, "[fd00::1]:9180", true},
		{"[::]:9180", nil, "10.0.0.8", true},
		{":9180", nil, "evil.example", false},
		{":9180", []string{"eventd.example", "eventd:9180"}, "eventd.example:9180", true},
		{":9180", []string{"eventd.example", "eventd:9180"}, "eventd", true},
	} {
		o := options(newFake())
		o.Listen, o.Hosts = c.listen, c.extra
		w := ask(api.New(o), "GET", "/v1/routes", "", "Host", c.host)
		if c.ok && w.Code != 200 {
			t.Errorf("listen %s: Host %q is refused with %d", c.listen, c.host, w.Code)
		}
		if !c.ok {
			wantProblem(t, w, http.StatusForbidden, "not served under the name")
		}
	}
}

func TestCrossSite(t *testing.T) {
	h := serve(newFake(row(1, event.Inbound, "UP", "e1")))
	for _, c := range []struct {
		name   string
		header []string
		ok     bool
	}{
		{"no browser", nil, true},
		{"same origin", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"typed by hand", []string{"Sec-Fetch-Site", "none"}, true},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"another port", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"own origin, old browser", []string{"Origin", "http://127.0.0.1:9180"}, true},
		{"another origin, old browser", []string{"Origin", "http://evil.example"}, false},
		{"no origin, old browser", []string{"Origin", "null"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, target := range []string{"/v1/events/e1/redrive", "/v1/reload", "/v1/events"} {
				w := ask(h, "POST", target, "", c.header...)
				if c.ok && w.Code == http.StatusForbidden {
					t.Errorf("%s is refused: %s", target, w.Body)
				}
				if !c.ok {
					wantProblem(t, w, http.StatusForbidden, "cross-origin")
				}
			}
		})
	}
}

func TestToken(t *testing.T) {
	token := "s3cret"
	o := options(newFake())
	o.Token = func() (string, error) { return token, nil }
	h := api.New(o)
	for _, c := range []struct {
		header string
		ok     bool
	}{
		{"Bearer s3cret", true}, {"bearer  s3cret ", true},
		{"", false}, {"Bearer", false}, {"Bearer ", false}, {"Bearer s3cre", false}, {"Bearer s3crets", false},
		{"Basic s3cret", false}, {"s3cret", false},
	} {
		for _, target := range []string{"/v1/events", "/v1/config", "/openapi.json", "/nope"} {
			w := ask(h, "GET", target, "", "Authorization", c.header)
			if c.ok && w.Code == 401 {
				t.Errorf("%q is refused at %s", c.header, target)
			}
			if !c.ok {
				wantProblem(t, w, 401, "bearer token")
				if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="eventd"` {
					t.Errorf("WWW-Authenticate = %q", got)
				}
			}
		}
	}
	for _, target := range []string{"/livez", "/readyz"} {
		if w := ask(h, "GET", target, "", "Host", "10.1.2.3:9180"); w.Code != 200 {
			t.Errorf("%s without token: %d %s", target, w.Code, w.Body)
		}
	}
	token = "rotated"
	wantProblem(t, ask(h, "GET", "/v1/events", "", "Authorization", "Bearer s3cret"), 401, "")
	if w := ask(h, "GET", "/v1/events", "", "Authorization", "Bearer rotated"); w.Code != 200 {
		t.Errorf("the new token is refused: %s", w.Body)
	}
}

func TestNobodyGetsInWithoutAReadableToken(t *testing.T) {
	for _, provide := range []func() (string, error){
		func() (string, error) { return "", nil },
		func() (string, error) { return "", errors.New("open /run/secrets/token: gone") },
	} {
		o := options(newFake())
		o.Token = provide
		w := ask(api.New(o), "GET", "/v1/events", "", "Authorization", "Bearer ")
		wantProblem(t, w, 503, "cannot be read")
		if strings.Contains(w.Body.String(), "/run/secrets") {
			t.Errorf("tells strangers a path: %s", w.Body)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	h := serve(newFake())
	for _, target := range []string{
		"/", "/v1", "/v1/", "/v1/nope", "/v1/events/", "/v1/events//payload", "/v1//events", "/v1/./events",
		"/v1/x/../events", "/docs", "/openapi.yaml", "/schemas/Row", "/v1/events/e/", "/metrics",
	} {
		wantProblem(t, ask(h, "GET", target, ""), 404, "there is nothing at")
	}
	for _, c := range []struct{ method, target, allow string }{
		{"DELETE", "/v1/events", "GET, HEAD, POST"}, {"PUT", "/v1/reload", "POST"}, {"OPTIONS", "/v1/status", "GET, HEAD"},
		{"POST", "/livez", "GET, HEAD"},
	} {
		w := ask(h, c.method, c.target, "")
		wantProblem(t, w, 405, c.method+" is not allowed on "+c.target)
		if got := w.Header().Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow = %q; want %q", c.method, c.target, got, c.allow)
		}
	}
}

func TestHead(t *testing.T) {
	srv := httptest.NewServer(serve(newFake()))
	defer srv.Close()
	resp, err := http.Head(srv.URL + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD = %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
}

// broken panics when it is asked for its routes.
type broken struct{ *fake }

func (broken) Routes() []event.RouteInfo       { panic("s3cret detail") }
func (broken) Schedules() []event.ScheduleInfo { return nil }

func TestPanicIsAProblemAndLogged(t *testing.T) {
	var log bytes.Buffer
	f := newFake()
	o := options(f)
	o.Overview, o.Log = broken{f}, zerolog.New(&log)
	h := api.New(o)
	w := ask(h, "GET", "/v1/routes", "")
	wantProblem(t, w, 500, "unexpected error")
	if strings.Contains(w.Body.String(), "s3cret") {
		t.Errorf("shows the panic: %s", w.Body)
	}
	if !strings.Contains(log.String(), "s3cret detail") || !strings.Contains(log.String(), "guard_test.go") {
		t.Errorf("log has no panic or no stack: %s", log.String())
	}
	if w := ask(h, "GET", "/v1/handlers", ""); w.Code != 200 {
		t.Errorf("after the panic: %d", w.Code)
	}
}

// deaf is a connection that was closed at the other end.
type deaf struct {
	header   http.Header
	statuses []int
}

func (d *deaf) Header() http.Header       { return d.header }
func (d *deaf) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
func (d *deaf) WriteHeader(status int)    { d.statuses = append(d.statuses, status) }

func TestCallerHangsUp(t *testing.T) {
	var log bytes.Buffer
	o := options(newFake())
	o.Log = zerolog.New(&log)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("GET", "/v1/events", nil).WithContext(ctx)
	r.Host = "localhost"
	w := &deaf{header: http.Header{}}
	api.New(o).ServeHTTP(w, r)
	if len(w.statuses) != 1 || w.statuses[0] != 200 || log.Len() != 0 {
		t.Errorf("statuses = %v, log = %s; want one status and no log", w.statuses, log.String())
	}
}

func TestInternalErrorsAreLogged(t *testing.T) {
	var log bytes.Buffer
	f := newFake()
	f.err = errDisk
	o := options(f)
	o.Log = zerolog.New(&log)
	wantProblem(t, ask(api.New(o), "GET", "/v1/events", ""), 500, "")
	if !strings.Contains(log.String(), "disk on fire") {
		t.Errorf("log = %s", log.String())
	}
	log.Reset()
	f.err = context.Canceled
	wantProblem(t, ask(api.New(o), "GET", "/v1/events", ""), 503, "")
	if log.Len() != 0 {
		t.Errorf("a caller who hung up is logged: %s", log.String())
	}
}

func TestHardening(t *testing.T) {
	h := serve(newFake())
	for _, target := range []string{"/v1/events", "/v1/status", "/openapi.json", "/nope", "/readyz", "/v1/config"} {
		w := ask(h, "GET", target, "")
		for _, name := range []string{"X-Content-Type-Options", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Cache-Control"} {
			if w.Header().Get(name) == "" {
				t.Errorf("%s: no %s", target, name)
			}
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: lends itself to %s", target, got)
		}
	}
}

func TestServerHasLimits(t *testing.T) {
	s := api.NewServer(http.NotFoundHandler())
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 || s.MaxHeaderBytes == 0 {
		t.Errorf("a limit is missing: %+v", s)
	}
}

func TestManyAtOnce(t *testing.T) {
	f := newFake()
	h := serve(f)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, target := range []string{"/openapi.json", "/v1/status", "/readyz", "/v1/events/e1", "/nope"} {
				if w := ask(h, "GET", target, ""); w.Code >= 500 {
					t.Errorf("%s: %d %s", target, w.Code, w.Body)
				}
				postJSON(h, "/v1/events", `{"message_type":"X","event_id":"e1"}`)
			}
		})
	}
	all.Wait()
	if len(f.accepted) != 1 {
		t.Errorf("%d events accepted; want 1", len(f.accepted))
	}
}
