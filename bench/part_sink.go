package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sink answers every POST as its flags say, and counts. It reads HTTP/1.1 with
// the least work, so that it is not what limits a run.
type sink struct {
	delay     time.Duration
	reply     bool // an answer carries an event
	failEvery int64

	count, refused, mistakes atomic.Int64
	first, last              atomic.Int64 // ns since 1970
	latency                  *recorder
	mu                       sync.Mutex
	failed                   map[int64]bool // numbers that were answered 503
}

func serveSink(ctx context.Context, args []string) error {
	s := &sink{latency: newRecorder(), failed: map[int64]bool{}}
	f := flag.NewFlagSet("sink", flag.ContinueOnError)
	listen := f.String("listen", "", "address")
	f.DurationVar(&s.delay, "delay", 0, "before an answer")
	f.BoolVar(&s.reply, "reply", false, "answer with an event")
	f.Int64Var(&s.failEvery, "fail-every", 0, "answer 503 once to one in so many")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil
		}
		go s.serve(conn) // ends with the process
	}
}

const (
	answerOK      = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	answerRefused = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
	answerMistake = "HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	answerEvent   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nce-specversion: 1.0\r\nce-source: /bench\r\nce-type: RQ_B\r\nContent-Length: "
)

// serve answers the requests of a connection until it ends.
func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	var body, answer []byte
	for {
		head, err := readHead(r)
		if err != nil {
			if errors.Is(err, errNoLength) {
				s.mistakes.Add(1)
				_, _ = io.WriteString(conn, answerMistake)
			}
			return
		}
		if cap(body) < head.length {
			body = make([]byte, head.length)
		}
		body = body[:head.length]
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if head.post {
			answer = s.post(answer[:0], body)
		} else {
			answer = s.get(head.path)
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// post takes a message and adds the answer to it.
func (s *sink) post(b, body []byte) []byte {
	now := time.Now().UnixNano()
	s.first.CompareAndSwap(0, now)
	if at, _ := field(body, `"at":`); at > 0 {
		s.latency.record(time.Duration(now - at))
	}
	if s.refuse(body) {
		s.refused.Add(1)
		return append(b, answerRefused...)
	}
	if s.delay > 0 {
		time.Sleep(s.delay)
	}
	s.last.Store(now)
	s.count.Add(1)
	if !s.reply {
		return append(b, answerOK...)
	}
	b = strconv.AppendInt(append(b, answerEvent...), int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}

// refuse tells whether this is the first time that a message comes which is to
// fail once.
func (s *sink) refuse(body []byte) bool {
	if s.failEvery == 0 {
		return false
	}
	n, _ := field(body, `"n":`)
	if n%s.failEvery != 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.failed[n]
	s.failed[n] = true
	return !again
}

// get is the answer to whoever wants to know what was counted.
func (s *sink) get(path string) []byte {
	var v any = seen{
		Count: int(s.count.Load()), Refused: int(s.refused.Load()), Mistakes: int(s.mistakes.Load()),
		First: s.first.Load(), Last: s.last.Load(),
	}
	if path == "/latency" {
		v = s.latency.percentiles()
	}
	body, _ := json.Marshal(v)
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// head is what we need of a request up to its body.
type head struct {
	post   bool
	path   string // "" for POST
	length int
}

// errNoLength is a body whose length is not known before it is read.
var errNoLength = errors.New("no Content-Length")

func readHead(r *bufio.Reader) (h head, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if h.post = bytes.HasPrefix(line, []byte("POST ")); !h.post {
		if fields := strings.Fields(string(line)); len(fields) > 1 {
			h.path = fields[1]
		}
	}
	known := !h.post
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		if len(line) <= 2 && known {
			return h, nil
		}
		if len(line) <= 2 {
			return h, errNoLength
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && len(name) == 14 && bytes.EqualFold(name, []byte("content-length")) {
			known = true
			if h.length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || h.length < 0 {
				return h, errNoLength
			}
		}
	}
}
