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
// counted with the drain, and looks for events twice: as soon as it is ready, and then.
func (w *world) findAgain(ctx context.Context, s system, o order, result sample) error {
	r, err := s.start(w, o)
	if err != nil {
		return err
	}
	if err := w.awaitReady(ctx, r); err != nil {
		return err
	}
	searcher, err := newSearcher(ctx, strings.TrimPrefix(r.api, "http://"))
	if err != nil {
		return err
	}
	defer searcher.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = searcher.conn.Close() })() // ends what waits
	for _, key := range []string{kFindFirst, kFind} {
		if result[key], err = searcher.find(w.stored); err != nil {
			return err
		}
	}
	_, err = r.stop(ctx)
	return err
}

// find returns the 99th percentile, in ms, of showing one of so many stored events by
// its id, one after the other.
func (s *searcher) find(stored int) (float64, error) {
	hist := newRecorder()
	for range finds {
		took, err := s.show(storedID(rand.IntN(stored)))
		if err != nil {
			return 0, err
		}
		hist.record(took)
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
	return &searcher{conn, bufio.NewReader(conn), host}, nil
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
