package handler

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func healthOf(t *testing.T, o HTTPOptions, path string, timeout time.Duration) *Health {
	t.Helper()
	x, err := newHTTP(t, o).Health(path, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestProbe(t *testing.T) {
	s, last := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	x := healthOf(t, HTTPOptions{
		URL:     strings.Replace(s.URL, "http://", "http://user:pass@", 1) + "/events?x=1",
		Headers: map[string]string{"x-fixed": "f", "host": "other.example"},
	}, "/healthz?deep=1", time.Minute)
	if err := x.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := last.Load()
	if r.Method != http.MethodGet || r.RequestURI != "/healthz?deep=1" || r.Host != "other.example" || r.Header.Get("X-Fixed") != "f" ||
		r.Header.Get("User-Agent") != "eventd" || r.Header.Get("Authorization") == "" || !r.Close {
		t.Errorf("probe is %s %s, host %s, close %v, %v", r.Method, r.RequestURI, r.Host, r.Close, r.Header)
	}
}

// TestProbeSaysWhatIsWrong in words that hold no query, which may be secret.
func TestProbeSaysWhatIsWrong(t *testing.T) {
	hung := make(chan struct{})
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/healthz", http.StatusFound)
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/hung":
			<-hung
		}
	})
	defer close(hung)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, x := range []struct{ url, path, want string }{
		{s.URL, "/sick?key=secret", "GET /sick: 503 Service Unavailable"},
		{s.URL, "/moved?key=secret", "GET /moved: 302 Found"},
		{s.URL, "/hung?key=secret", "GET /hung: no answer within 50ms"},
		{closed.URL, "/healthz?key=secret", "connection refused"},
	} {
		timeout := time.Minute
		if strings.HasPrefix(x.path, "/hung") {
			timeout = 50 * time.Millisecond
		}
		err := healthOf(t, HTTPOptions{URL: x.url}, x.path, timeout).Probe(t.Context())
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want %q", x.path, err, x.want)
		}
	}
}

func TestProbeOverASocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" || r.Host != "localhost" {
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }()
	defer func() { _ = s.Close(); <-ended }()
	if err := healthOf(t, HTTPOptions{Socket: socket, Path: "/events"}, "/healthz", time.Minute).Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProbeOverTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	h := newHTTP(t, HTTPOptions{URL: s.URL})
	x, err := h.Health("/healthz", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v; want an error that says so", err)
	}
	h.pool.tls.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if err := x.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	entered, hung := make(chan struct{}), make(chan struct{})
	s, _ := serve(t, func(http.ResponseWriter, *http.Request) { close(entered); <-hung })
	defer close(hung)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if err := healthOf(t, HTTPOptions{URL: s.URL}, "/", time.Hour).Probe(ctx); err == nil {
		t.Error("a probe that was ended is good")
	}
}
