package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// finds is how many events are looked for.
const finds = 2000

// findAgain starts the system once more, so that what the search costs is not
// counted with the drain.
func (w *world) findAgain(ctx context.Context, s system, o order) (float64, error) {
	r, err := s.start(w, o)
	if err != nil {
		return 0, err
	}
	if err := w.awaitReady(ctx, r); err != nil {
		return 0, err
	}
	p99, err := w.find(ctx, r)
	if err != nil {
		return 0, err
	}
	_, err = r.stop(ctx)
	return p99, err
}

// find returns the 99th percentile, in ms, of showing one of the stored events by
// its id, one after the other on one connection, after a warm-up.
func (w *world) find(ctx context.Context, r *running) (float64, error) {
	s, err := newSearcher(ctx, strings.TrimPrefix(r.api, "http://"))
	if err != nil {
		return 0, err
	}
	defer s.conn.Close()
	hist := newRecorder()
	began := time.Now()
	for n := 0; n < finds; {
		took, err := s.show(storedID(rand.IntN(w.stored)))
		if err != nil {
			return 0, err
		}
		if time.Since(began) > w.warmup {
			hist.record(took)
			n++
		}
	}
	return hist.percentiles().P99, nil
}

// searcher asks for one event after the other. It reads the answer where it wrote the
// question: the client of net/http hands both to other goroutines, which on two
// processors would be a fifth of what it measures.
type searcher struct {
	conn net.Conn
	in   *bufio.Reader
	host string
}

func newSearcher(ctx context.Context, host string) (*searcher, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	return &searcher{conn, bufio.NewReader(conn), host}, err
}

// show returns how long it took until the whole answer was there.
func (s *searcher) show(id string) (took time.Duration, err error) {
	ask := "GET /v1/events/" + id + " HTTP/1.1\r\nHost: " + s.host + "\r\n\r\n"
	began := time.Now()
	if _, err := io.WriteString(s.conn, ask); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	took = time.Since(began)
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s: %.500s", id, res.Status, text)
	}
	if !json.Valid(text) {
		return 0, errors.New("GET " + id + ": the answer is no JSON")
	}
	return took, nil
}
