package handler

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is a server that counts the requests it meets and does with each
// what its script says.
type scripted struct {
	net.Listener
	requests atomic.Int64
	script   func(*exchange)
	done     sync.WaitGroup
}

// exchange is one request on its connection.
type exchange struct {
	*net.TCPConn
	nth  int // of this connection, from 1
	gone bool
}

func newScripted(t testing.TB, script func(*exchange)) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{Listener: l, script: script}
	s.done.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.done.Wait()
	})
	return s
}

func (s *scripted) url() string { return "http://" + s.Addr().String() }

func (s *scripted) accept() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.done.Go(func() { s.serve(c.(*net.TCPConn)) })
	}
}

func (s *scripted) serve(c *net.TCPConn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	for x := (&exchange{TCPConn: c, nth: 1}); !x.gone; x.nth++ {
		line, err := in.Peek(5)
		if err != nil {
			return
		}
		if string(line) == "POST " {
			s.requests.Add(1) // as soon as it could be acted on
		}
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if r.Header.Get("X-Unread") == "" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		s.script(x)
	}
}

func (x *exchange) say(s string) { _, _ = io.WriteString(x, s) }

// hangUp closes the connection in order, reset breaks it.
func (x *exchange) hangUp() { x.gone = true; _ = x.Close() }

func (x *exchange) reset() { _ = x.SetLinger(0); x.hangUp() }

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// moments are when a server can drop a connection: all let the first request
// of a connection pass, so that the next one meets a connection in use before.
var moments = map[string]func(*exchange){
	"never": func(x *exchange) { x.say(fine) },
	"after the request": func(x *exchange) {
		if x.nth == 1 {
			x.say(fine)
		} else {
			x.hangUp()
		}
	},
	"after the request, with a reset": func(x *exchange) {
		if x.nth == 1 {
			x.say(fine)
		} else {
			x.reset()
		}
	},
	"within the status line": func(x *exchange) {
		if x.nth == 1 {
			x.say(fine)
		} else {
			x.say("HTTP/1.1 20")
			x.hangUp()
		}
	},
	"within the body": func(x *exchange) {
		if x.nth == 1 {
			x.say(fine)
		} else {
			x.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
			x.hangUp()
		}
	},
	"when idle":               func(x *exchange) { x.say(fine); x.hangUp() },
	"when idle, with a reset": func(x *exchange) { x.say(fine); x.reset() },
	"with a farewell": func(x *exchange) {
		x.say(fine + "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
		x.hangUp()
	},
	"on a first request": func(x *exchange) { x.hangUp() },
}

// TestExecutionsNeverExceedAttempts meets servers that drop connections at
// awkward moments, with events that Go's transport would send again by itself.
func TestExecutionsNeverExceedAttempts(t *testing.T) {
	const attempts = 10
	for moment, script := range moments {
		for size, payload := range map[string]string{"no": "", "a small": `{"a":1}`, "a large": strings.Repeat("x", 256<<10)} {
			for _, headers := range []map[string]string{nil, {"Idempotency-Key": "k"}, {"x-idempotency-key": "k"}, {"Idempotency-Key": "k", "X-Unread": "1"}} {
				t.Run(fmt.Sprintf("%s/%s payload/%v", moment, size, headers), func(t *testing.T) {
					s := newScripted(t, script)
					h := newHTTP(t, HTTPOptions{URL: s.url()})
					a := attempt(payload)
					a.Event.Headers = headers
					for range attempts {
						h.Deliver(t.Context(), a)
					}
					if n := s.requests.Load(); n > attempts {
						t.Errorf("%d requests for %d attempts", n, attempts)
					} else if moment == "never" && headers["X-Unread"] == "" && n != attempts {
						t.Errorf("%d requests for %d attempts, though nothing was dropped", n, attempts)
					}
				})
			}
		}
	}
}

func TestExecutionsNeverExceedAttemptsAtOnce(t *testing.T) {
	const workers, each = 8, 25
	s := newScripted(t, func(x *exchange) {
		if x.nth%3 != 0 {
			x.say(fine)
		} else {
			x.reset()
		}
	})
	h := newHTTP(t, HTTPOptions{URL: s.url(), Headers: map[string]string{"Idempotency-Key": "k"}})
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				h.Deliver(t.Context(), attempt(`{"a":1}`))
			}
		})
	}
	group.Wait()
	if n := s.requests.Load(); n > workers*each || n == 0 {
		t.Errorf("%d requests for %d attempts", n, workers*each)
	}
}
