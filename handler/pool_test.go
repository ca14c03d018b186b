package handler

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// connections counts those that a scripted server has met.
func connections(t testing.TB, script func(*exchange)) (*scripted, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	return newScripted(t, func(x *exchange) {
		if x.nth == 1 {
			n.Add(1)
		}
		script(x)
	}), &n
}

// TestUnaskedAnswerIsNobodys: what a server says after its answer is not taken
// for the answer to the next event, whether it is there at once or comes later.
func TestUnaskedAnswerIsNobodys(t *testing.T) {
	const farewell = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
	for name, script := range map[string]func(*exchange){
		"with the answer": func(x *exchange) { x.say(fine + farewell) },
		"later":           func(x *exchange) { x.say(fine); time.Sleep(5 * time.Millisecond); x.say(farewell) },
	} {
		s, _ := connections(t, script)
		h := newHTTP(t, HTTPOptions{URL: s.url()})
		for range 5 {
			if got := h.Deliver(t.Context(), attempt("{}")); got.Code != 200 {
				t.Errorf("%s: Deliver = %+v; want code 200", name, got)
			}
			time.Sleep(10 * time.Millisecond) // what comes later has come
		}
	}
}

// TestConnectionIsNotUsedAgain after answers that say or show that it is over.
func TestConnectionIsNotUsedAgain(t *testing.T) {
	for name, answer := range map[string]string{
		"close":      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0":   "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"large body": "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n" + strings.Repeat("x", 2<<20),
	} {
		s, n := connections(t, func(x *exchange) { x.say(answer) })
		h := newHTTP(t, HTTPOptions{URL: s.url()})
		for range 3 {
			if got := h.Deliver(t.Context(), attempt("{}")); got.Code != 200 || got.Outcome != event.Done {
				t.Errorf("%s: Deliver = %+v; want done", name, got)
			}
		}
		if n.Load() != 3 {
			t.Errorf("%s: %d connections for 3 attempts; want 3", name, n.Load())
		}
	}
}

func TestAnswerUntilTheConnectionEnds(t *testing.T) {
	s := newScripted(t, func(x *exchange) { x.say("HTTP/1.1 400 No\r\n\r\nnot like this"); x.hangUp() })
	if got := deliver(t, HTTPOptions{URL: s.url()}, attempt("{}")); got.Code != 400 || got.Detail != "not like this" {
		t.Errorf("Deliver = %+v; want 400, not like this", got)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	s, n := connections(t, func(x *exchange) { x.say(fine) })
	h := newHTTP(t, HTTPOptions{URL: s.url()})
	use := func(want int64, when string) {
		t.Helper()
		if got := h.Deliver(t.Context(), attempt("{}")); got.Outcome != event.Done || n.Load() != want {
			t.Errorf("%s: Deliver = %+v over %d connections; want %d", when, got, n.Load(), want)
		}
	}
	use(1, "at first")
	h.pool.reap()
	use(1, "soon after")
	h.pool.mu.Lock()
	c := h.pool.idle[0]
	c.since = c.since.Add(-idleTimeout)
	h.pool.mu.Unlock()
	h.pool.reap()
	if _, err := c.Write([]byte("x")); err == nil || h.pool.reaper != nil {
		t.Errorf("a connection that was idle for %s is open, reaper %v", idleTimeout, h.pool.reaper)
	}
	use(2, "later")
	h.Close()
	use(3, "after Close")
	if len(h.pool.idle) != 0 {
		t.Error("a connection is kept after Close")
	}
}

// TestEndOfContextEndsAttempts with connections that were used before, and at
// the same time.
func TestEndOfContextEndsAttempts(t *testing.T) {
	entered := make(chan struct{})
	s := newScripted(t, func(x *exchange) {
		if x.nth == 1 {
			x.say(fine)
			return
		}
		entered <- struct{}{}
		var b [1]byte
		_, _ = x.Read(b[:])
		x.hangUp()
	})
	h := newHTTP(t, HTTPOptions{URL: s.url()})
	ctx, cancel := context.WithCancel(t.Context())
	h.Deliver(ctx, attempt("{}"))
	answer := make(chan event.Answer)
	go func() { answer <- h.Deliver(ctx, attempt("{}")) }()
	<-entered
	cancel()
	if got := <-answer; got.Reason != event.Interrupted || got.Took > 5*time.Second {
		t.Errorf("Deliver = %+v; want interrupted", got)
	}
	if got := h.Deliver(ctx, attempt("{}")); got.Reason != event.Interrupted {
		t.Errorf("Deliver with a context that has ended = %+v; want interrupted", got)
	}
	if got := h.Deliver(t.Context(), attempt("{}")); got.Outcome != event.Done {
		t.Errorf("Deliver with another context = %+v; want done", got)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ url, address, host, server string }{
		{"http://a.example", "a.example:http", "a.example", ""},
		{"https://a.example/x", "a.example:https", "a.example", "a.example"},
		{"https://a.example:8443", "a.example:8443", "a.example:8443", "a.example"},
		{"http://a.example:", "a.example:http", "a.example:", ""},
		{"https://[::1]", "[::1]:https", "[::1]", "::1"},
		{"http://[fe80::1%25eth0]:80", "[fe80::1%eth0]:80", "[fe80::1]:80", ""},
		{"https://bücher.example", "xn--bcher-kva.example:https", "xn--bcher-kva.example", "xn--bcher-kva.example"},
	} {
		h := newHTTP(t, HTTPOptions{URL: tt.url})
		server := ""
		if h.pool.tls != nil {
			server = h.pool.tls.ServerName
		}
		if !strings.Contains(string(h.first), "\r\nHost: "+tt.host+"\r\n") || h.pool.address != tt.address || server != tt.server {
			t.Errorf("%s: %q to %s, server name %q; want host %s, %s, %q", tt.url, h.first, h.pool.address, server, tt.host, tt.address, tt.server)
		}
	}
}

// TestManySizes posts payloads around the size from which they are written
// while the answer is read.
func TestManySizes(t *testing.T) {
	s, last := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.ContentLength) })
	h := newHTTP(t, HTTPOptions{URL: s.URL})
	for _, n := range []int{0, 1, together - 1, together, together + 1, keptBuffer + 1, 8 << 20, 1} {
		payload := strings.Repeat("x", n)
		if got := h.Deliver(t.Context(), attempt(payload)); got.Detail != fmt.Sprint(n) || last.Load().body != payload {
			t.Errorf("%d bytes: Deliver = %+v, %d received", n, got, len(last.Load().body))
		}
	}
}

// TestConnectionIsNotUsedAgainAfterASwitch to another protocol, which is spoken
// on it from then on.
func TestConnectionIsNotUsedAgainAfterASwitch(t *testing.T) {
	s, n := connections(t, func(x *exchange) {
		x.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
	})
	h := newHTTP(t, HTTPOptions{URL: s.url()})
	for range 3 {
		if got := h.Deliver(t.Context(), attempt("{}")); got.Code != 101 {
			t.Errorf("Deliver = %+v; want code 101", got)
		}
	}
	if n.Load() != 3 {
		t.Errorf("%d connections for 3 attempts; want 3", n.Load())
	}
}
