package handler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// received is a request as a server saw it.
type received struct {
	*http.Request
	body string
}

// serve starts a server that keeps the last request and answers with f.
func serve(t testing.TB, f http.HandlerFunc) (*httptest.Server, *atomic.Pointer[received]) {
	t.Helper()
	last := new(atomic.Pointer[received])
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last.Store(&received{r, string(body)})
		if f != nil {
			f(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s, last
}

func TestDeliverRequest(t *testing.T) {
	s, last := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	})
	h := newHTTP(t, HTTPOptions{URL: strings.Replace(s.URL, "http://", "http://user:pass@", 1) + "/events/a%20b?x=1", Source: "/eventd/A",
		Headers: map[string]string{"x-fixed": "f", "HOST": "other.example", "X-Both": "fixed", "ce-source": "/fixed"}})
	a := attempt(`{"a": 1}`)
	a.Event.Headers = map[string]string{"X-Both": "event", "X-Event": "e", "Idempotency-Key": "k"}
	for range 2 {
		if got := h.Deliver(t.Context(), a); got.Outcome != event.Done || got.Code != 200 || got.Took <= 0 {
			t.Fatalf("Deliver = %+v; want done with code 200", got)
		}
	}
	r := last.Load()
	if r.Method != "POST" || r.RequestURI != "/events/a%20b?x=1" || r.Host != "other.example" || r.body != `{"a": 1}` || r.ContentLength != 8 {
		t.Errorf("request is %s %s, host %s, body %q of %d", r.Method, r.RequestURI, r.Host, r.body, r.ContentLength)
	}
	want := map[string]string{"Ce-Id": "e-1", "Ce-Type": "RQ_A", "Ce-Source": "/fixed", "Ce-Correlationid": "c-1", "Content-Type": "application/json",
		"Webhook-Id": "e-1", "Eventd-Attempt": "1", "Eventd-Route": "start", "Eventd-Table": "inbound", "User-Agent": "eventd",
		"X-Fixed": "f", "X-Both": "fixed", "X-Event": "e", "Idempotency-Key": "k",
		"Authorization": "Basic dXNlcjpwYXNz", "Cookie": "", "Accept-Encoding": "", "Transfer-Encoding": "", "Ce-Datacontenttype": ""}
	for name, value := range want {
		if got := strings.Join(r.Header[name], "|"); got != value {
			t.Errorf("%s = %q; want %q", name, got, value)
		}
	}
}

func TestDeliverFormats(t *testing.T) {
	s, last := serve(t, nil)
	deliver(t, HTTPOptions{URL: s.URL, Format: envelope.Structured}, attempt(`{"a":1}`))
	if r := last.Load(); r.Header.Get("Content-Type") != "application/cloudevents+json" || !strings.Contains(r.body, `"data":{"a":1}`) {
		t.Errorf("structured: %s, %s", r.Header.Get("Content-Type"), r.body)
	}
	deliver(t, HTTPOptions{URL: s.URL, Format: envelope.Raw}, attempt(`{"a":1}`))
	if r := last.Load(); r.Header.Get("Ce-Id") != "" || r.Header.Get("Eventd-Message-Type") != "RQ_A" || r.body != `{"a":1}` {
		t.Errorf("raw: %v, %s", r.Header, r.body)
	}
	deliver(t, HTTPOptions{URL: s.URL}, attempt(""))
	if r := last.Load(); r.body != "" || r.ContentLength != 0 || r.Header.Get("Content-Length") != "0" {
		t.Errorf("without payload: %v, %q", r.Header, r.body)
	}
}

func TestDeliverAnswersOverTheWire(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &code)
		w.WriteHeader(code)
	})
	for code := 200; code <= 599; code++ {
		got := deliver(t, HTTPOptions{URL: fmt.Sprintf("%s/%d", s.URL, code)}, attempt("{}"))
		if want := expected(code); got.Outcome != want.Outcome || got.Reason != want.Reason || got.Code != code || got.Pause != want.Pause {
			t.Errorf("%d: Deliver = %+v; want %+v", code, got, want)
		}
	}
}

func TestDeliverRest(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
	})
	if got := deliver(t, HTTPOptions{URL: s.URL}, attempt("")); got.Rest != 7*time.Second || !got.Uncharged || got.Reason != "http_429" {
		t.Errorf("Deliver = %+v; want a rest of 7s, uncharged", got)
	}
}

func TestDeliverFollowsNoRedirect(t *testing.T) {
	var hits atomic.Int32
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if hits.Add(1); r.URL.Path != "/next" {
			http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
		}
	})
	got := deliver(t, HTTPOptions{URL: s.URL}, attempt("{}"))
	if got.Outcome != event.Never || got.Reason != event.Rejected || got.Code != 307 || got.Detail != "redirects are not followed; it leads to /next" {
		t.Errorf("Deliver = %+v; want rejected", got)
	}
	if hits.Load() != 1 {
		t.Errorf("%d requests; want 1", hits.Load())
	}
}

func TestDeliverOverUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var path, host atomic.Value
	s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		path.Store(r.RequestURI)
		host.Store(r.Host)
	})}
	go func() { _ = s.Serve(l) }()
	h := newHTTP(t, HTTPOptions{Socket: socket, Path: "events?x=1"})
	if got := h.Deliver(t.Context(), attempt("{}")); got.Outcome != event.Done || path.Load() != "/events?x=1" || host.Load() != "localhost" {
		t.Errorf("Deliver = %+v, path %v, host %v", got, path.Load(), host.Load())
	}
	if h.Kind() != "unix" || h.Target() != socket+":/events" {
		t.Errorf("Kind, Target = %s, %s", h.Kind(), h.Target())
	}
	_ = s.Close()
	for _, socket := range []string{socket, filepath.Join(t.TempDir(), "none.sock")} {
		if got := deliver(t, HTTPOptions{Socket: socket}, attempt("{}")); got.Outcome != event.Again || got.Reason != event.Refused {
			t.Errorf("Deliver to %s = %+v; want refused", socket, got)
		}
	}
}

func TestDeliverRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	got := deliver(t, HTTPOptions{URL: "http://u:secret@" + l.Addr().String() + "/?token=secret"}, attempt("{}"))
	if got.Outcome != event.Again || got.Reason != event.Refused || got.Code != 0 || !strings.Contains(got.Detail, "connection refused") {
		t.Errorf("Deliver = %+v; want refused", got)
	}
	if strings.Contains(got.Detail, "secret") {
		t.Errorf("Detail %q shows a secret", got.Detail)
	}
}

func TestDeliverTimeout(t *testing.T) {
	release := make(chan struct{})
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "begins")
			w.(http.Flusher).Flush()
		}
		<-release
	})
	defer close(release)
	for path, code := range map[string]int{"/head": 0, "/body": 200} {
		got := deliver(t, HTTPOptions{URL: s.URL + path, Timeout: 50 * time.Millisecond}, attempt("{}"))
		if got.Outcome != event.Again || got.Reason != event.Timeout || got.Code != code || got.Detail != "no whole answer within 50ms" {
			t.Errorf("%s: Deliver = %+v; want timeout with code %d", path, got, code)
		}
		if got.Took < 50*time.Millisecond || got.Took > 5*time.Second {
			t.Errorf("%s: Took = %v; want about 50ms", path, got.Took)
		}
	}
}

func TestDeliverInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	got := newHTTP(t, HTTPOptions{URL: s.URL}).Deliver(ctx, attempt("{}"))
	if got.Outcome != event.Again || got.Reason != event.Interrupted {
		t.Errorf("Deliver = %+v; want interrupted", got)
	}
}

func TestDeliverBreaksOff(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &code)
		if r.URL.RawQuery == "event" {
			w.Header().Set("Ce-Type", "T")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "begins")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	s.Config.ErrorLog = nil
	for path, want := range map[string]event.Reason{"/200": event.Network, "/200?event": event.Network, "/202": event.Network, "/503": "http_503", "/400": event.Rejected} {
		if got := deliver(t, HTTPOptions{URL: s.URL + path}, attempt("{}")); got.Reason != want || got.Code == 0 {
			t.Errorf("%s: Deliver = %+v; want reason %s", path, got, want)
		}
	}
}

func TestDeliverBadServers(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":      "hello\r\n\r\n",
		"endless head": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxReplyHeader+1) + "\r\n\r\n",
		"nothing":      "",
	} {
		s := newScripted(t, func(c *exchange) { c.say(answer); c.hangUp() })
		if got := deliver(t, HTTPOptions{URL: s.url()}, attempt("{}")); got.Outcome != event.Again || got.Reason != event.Network || got.Detail == "" {
			t.Errorf("%s: Deliver = %+v; want a network failure", name, got)
		}
	}
	s := newScripted(t, func(c *exchange) {
		c.say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
	})
	if got := deliver(t, HTTPOptions{URL: s.url()}, attempt("{}")); got.Outcome != event.Never || got.Reason != event.Rejected || got.Code != 101 {
		t.Errorf("101: Deliver = %+v; want rejected", got)
	}
}

// A server may answer before it has read the whole of a large event.
func TestDeliverEarlyAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large for me", http.StatusRequestEntityTooLarge)
	}))
	defer s.Close()
	got := deliver(t, HTTPOptions{URL: s.URL}, attempt(strings.Repeat("x", 8<<20)))
	if got.Outcome != event.Never || got.Code != 413 {
		t.Errorf("Deliver = %+v; want rejected with code 413", got)
	}
}

func TestDeliverReusesConnections(t *testing.T) {
	var connections atomic.Int32
	bodies := []string{"", "ok", strings.Repeat("x", event.MaxDetail), strings.Repeat("x", MaxReply-1)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			w.WriteHeader(500)
		}
		for _, body := range bodies {
			if fmt.Sprint(len(body)) == r.URL.RawQuery {
				_, _ = io.WriteString(w, body)
			}
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	for _, path := range []string{"/", "/fails"} {
		for _, body := range bodies {
			connections.Store(0)
			h := newHTTP(t, HTTPOptions{URL: fmt.Sprintf("%s%s?%d", s.URL, path, len(body))})
			for range 5 {
				h.Deliver(t.Context(), attempt("{}"))
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%s with a body of %d bytes: %d connections for 5 attempts; want 1", path, len(body), n)
			}
		}
	}
}

func TestDeliverOverTLSStaysWithHTTP1(t *testing.T) {
	var proto atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto.Store(r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	h := newHTTP(t, HTTPOptions{URL: s.URL})
	h.pool.tls.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if got := h.Deliver(t.Context(), attempt("{}")); got.Outcome != event.Done || proto.Load() != "HTTP/1.1" {
		t.Errorf("Deliver = %+v over %v; want HTTP/1.1", got, proto.Load())
	}
	if got := deliver(t, HTTPOptions{URL: s.URL}, attempt("{}")); got.Outcome != event.Again || got.Reason != event.Network || !strings.Contains(got.Detail, "certificate") {
		t.Errorf("Deliver to an unknown certificate = %+v; want a network failure", got)
	}
}

func TestNewHTTPErrors(t *testing.T) {
	tests := []struct {
		o    HTTPOptions
		want string
	}{
		{HTTPOptions{}, "a URL or a socket is needed, and not both"},
		{HTTPOptions{URL: "http://a", Socket: "/b"}, "a URL or a socket is needed, and not both"},
		{HTTPOptions{URL: "ftp://a"}, `scheme "ftp" of the URL is neither http nor https`},
		{HTTPOptions{URL: "http:///a"}, "the URL names no host"},
		{HTTPOptions{URL: "http://user:secret@a b"}, "the URL cannot be read"},
		{HTTPOptions{Socket: "/s", Path: "/a b\x00"}, `path "/a b\x00" cannot be requested`},
		{HTTPOptions{URL: "http://a", RetryOn: []string{"7xx"}}, `retry_on: "7xx" is no HTTP status from 300 to 599 and no class such as 5xx`},
		{HTTPOptions{URL: "http://a", Headers: map[string]string{"a b": "1"}}, `headers: "a b" is no name for a header`},
		{HTTPOptions{URL: "http://a", Headers: map[string]string{"X-A": "secret\n"}}, "headers: the value of X-A holds a control character"},
		{HTTPOptions{URL: "http://a", Headers: map[string]string{"content-length": "1"}}, "headers: content-length cannot be set"},
		{HTTPOptions{URL: "http://a", Headers: map[string]string{"x-a": "1", "X-A": "2"}}, "headers: X-A is there twice"},
	}
	for _, tt := range tests {
		if _, err := NewHTTP(tt.o); err == nil || err.Error() != tt.want {
			t.Errorf("NewHTTP(%+v): %v; want %s", tt.o, err, tt.want)
		}
	}
}

func TestTarget(t *testing.T) {
	for _, tt := range []struct {
		o    HTTPOptions
		want string
	}{
		{HTTPOptions{URL: "https://user:secret@host:1/a%2Fb?token=secret#f"}, "https://host:1/a%2Fb"},
		{HTTPOptions{URL: "http://[::1]:8080"}, "http://[::1]:8080"},
		{HTTPOptions{Socket: "/run/a.sock"}, "/run/a.sock"},
		{HTTPOptions{Socket: "/run/a.sock", Path: "/events?token=secret"}, "/run/a.sock:/events"},
	} {
		if got := newHTTP(t, tt.o).Target(); got != tt.want {
			t.Errorf("Target = %s; want %s", got, tt.want)
		}
	}
}

func TestBroken(t *testing.T) {
	slow := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	for _, tt := range []struct {
		err  error
		want event.Reason
	}{
		{fmt.Errorf("tls: %w", slow), event.Timeout},
		{errors.New("any"), event.Network},
		{&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, event.Network},
	} {
		if got := broken(t.Context(), time.Second, tt.err); got.Outcome != event.Again || got.Reason != tt.want {
			t.Errorf("broken(%v) = %+v; want %s", tt.err, got, tt.want)
		}
	}
}
