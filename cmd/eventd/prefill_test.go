package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/storage"
)

// sized returns the size that an environment variable gives, or another.
func sized(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ledger puts events into the store of a site that is not running.
type ledger struct {
	t       *testing.T
	db      *storage.DB
	payload []byte
	list    []*event.Admission
}

func (s *site) fillStore(do func(*ledger)) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "eventd-data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	db, err := storage.Open(storage.Options{Path: filepath.Join(dir, "eventd.db")})
	if err != nil {
		s.t.Fatal(err)
	}
	l := &ledger{t: s.t, db: db, payload: []byte(`{"n": "` + strings.Repeat("x", 200) + `"}`)}
	do(l)
	l.flush()
	if err := db.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// retry adds an event that has failed once and is due at a time.
func (l *ledger) retry(id, messageType, handler string, due time.Time) {
	l.t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	a := &event.Admission{Payload: l.payload, Event: &event.Event{
		Table: event.Request, ID: id, MessageType: messageType, SourceService: "TEST", CorrelationID: id,
		CreatedBy: "TEST", CreatedAt: now, ContentType: "application/json",
	}}
	a.State = event.State{
		UpdatedBy: "TEST", UpdatedAt: now,
		Deliveries: []event.Delivery{{
			Handler: handler, Route: "r", Status: event.Retry, Reason: event.HTTPStatus(503),
			Attempts: 1, FirstAttempt: now, NextAttempt: due.UTC().Truncate(time.Microsecond),
		}},
		Timeline: []event.Entry{
			{At: now, Status: event.InProgress, Attempt: 1, Handler: handler},
			{At: now, Status: event.Retry, Attempt: 1, Handler: handler, Reason: event.HTTPStatus(503), Code: 503},
		},
	}
	if l.list = append(l.list, a); len(l.list) == 1000 {
		l.flush()
	}
}

func (l *ledger) flush() {
	l.t.Helper()
	if err := l.db.Accept(context.Background(), l.list); err != nil {
		l.t.Fatal(err)
	}
	l.list = nil
}

// percentile returns the value below which a share of the others are.
func percentile(list []time.Duration, share float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list[min(len(list)-1, int(share*float64(len(list))))]
}

// resident returns the resident memory of a process in bytes, and the part of it
// that is not of files. 0 where the system does not tell.
func (p *process) resident() (all, anonymous int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	kilobytes := func(name string) int64 {
		_, rest, _ := strings.Cut(string(b), "\n"+name+":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0
		}
		n, _ := strconv.ParseInt(fields[0], 10, 64)
		return n << 10
	}
	return kilobytes("VmRSS"), kilobytes("RssAnon")
}
