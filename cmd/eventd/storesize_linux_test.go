package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/storage"
)

// What is held of a daemon with a store of 2,000,000 events.
const (
	sizeStart  = 2 * time.Second
	sizeMemory = 150 << 10 // KiB of its own, beside the page cache
	sizeQuery  = 50 * time.Millisecond
)

// TestStoreSize starts the daemon with a store of EVENTD_STORE_EVENTS events: how
// long it takes until it is ready, how much memory it has, and how long the first
// page of each filter takes while it is written to, through the API.
func TestStoreSize(t *testing.T) {
	events, err := strconv.Atoi(os.Getenv("EVENTD_STORE_EVENTS"))
	if err != nil {
		t.Skip("EVENTD_STORE_EVENTS says how many; make store-size")
	}
	s := newSite(t, `
service: SIZE
log: {level: warn}
nats: {embedded: {listen: none}}
handlers: {counting: {log: {}}}
routes: [{message_type: "*", handler: counting}]
`)
	path := filepath.Join(s.dir, "eventd-data", "eventd.db")
	fillSize(t, path, events)
	if fi, err := os.Stat(path); err == nil {
		t.Logf("%d events, a file of %d MiB", events, fi.Size()>>20)
	}
	for _, cold := range []bool{true, false} {
		if cold {
			forget(t, path)
		}
		p, took := s.startReady()
		t.Logf("ready after %s, file in the page cache: %t; %s", took.Round(time.Millisecond), !cold, memoryOf(t, p))
		if took > sizeStart {
			t.Errorf("ready after %s; want %s", took, sizeStart)
		}
		if !cold {
			sizeQueries(t, s, events)
			t.Logf("after the queries: %s", memoryOf(t, p))
		}
		if own := ownMemory(t, p); own > sizeMemory {
			t.Errorf("%d KiB of its own; want at most %d", own, sizeMemory)
		}
		p.signal(syscall.SIGTERM)
		p.ends(0)
	}
}

// fillSize makes a store of events that have ended, a few of them badly.
func fillSize(t *testing.T, path string, events int) {
	t.Helper()
	db, err := storage.Open(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	const batch = 4000
	begun := time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	for from := 0; from < events; from += batch {
		var list []*event.Admission
		for i := from; i < min(from+batch, events); i++ {
			list = append(list, sizeEvent(i, events, begun.Add(time.Duration(i)*time.Millisecond)))
		}
		if err := db.Accept(context.Background(), list); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func sizeEvent(i, events int, at time.Time) *event.Admission {
	id := fmt.Sprintf("01890000-0000-7000-8000-%012d", i)
	a := &event.Admission{Payload: []byte(fmt.Sprintf(`{"n": %d, "text": %q}`, i, strings.Repeat("x", 100)))}
	a.Event = &event.Event{
		Table: event.Tables[i%2], ID: id, MessageType: fmt.Sprint("RQ_", i%7), SourceService: "UPSTREAM", TargetService: "SIZE",
		CorrelationID: fmt.Sprint("conversation-", i/3), CreatedBy: "UPSTREAM", CreatedAt: at, ContentType: "application/json",
	}
	d := event.Delivery{Handler: "counting", Route: "usual", Status: event.Completed, Attempts: 1, FirstAttempt: at}
	switch {
	case i == events/3:
		a.Event.MessageType, a.Event.SourceService = "RARE", "ELSEWHERE"
	case i%(events/20) == 7:
		d.Status, d.Reason = event.Error, event.Rejected
	case i%(events/20) == 8:
		d.Status, d.Reason = event.Failed, event.Exhausted
	}
	a.State = event.State{UpdatedBy: "SIZE", UpdatedAt: at, Deliveries: []event.Delivery{d}, Timeline: []event.Entry{
		{At: at, Status: event.InProgress, Attempt: 1, Handler: "counting"}, {At: at, Status: d.Status, Attempt: 1, Handler: "counting", Code: 200},
	}}
	return a
}

// forget lets go of what the page cache has of a file.
func forget(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // read only
	const dontNeed = 4
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

// startReady starts the daemon and returns how long it took until it was ready.
func (s *site) startReady() (*process, time.Duration) {
	s.t.Helper()
	started := time.Now()
	p := s.start()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if ok, _ := get(s.url(s.metrics, "/readyz")); ok {
			return p, time.Since(started)
		}
		select {
		case <-again.C:
		case <-deadline.C:
			s.t.Fatalf("it does not become ready:\n%s", s.log.tail(10))
		}
	}
}

// memoryOf says how much memory a process has, in the words of the kernel.
func memoryOf(t *testing.T, p *process) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(b)) {
		for _, name := range []string{"VmHWM:", "VmRSS:", "RssAnon:", "RssFile:"} {
			if strings.HasPrefix(line, name) {
				list = append(list, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return strings.Join(list, ", ")
}

// ownMemory returns the KiB that are no copy of a file.
func ownMemory(t *testing.T, p *process) (kib int) {
	t.Helper()
	for part := range strings.SplitSeq(memoryOf(t, p), ", ") {
		if _, err := fmt.Sscanf(part, "RssAnon: %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Fatal("no RssAnon")
	return 0
}

// sizeQueries asks for the first page of each filter while events come in, and for
// many pages of all: none is listed twice, and none left out.
func sizeQueries(t *testing.T, s *site, events int) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	c := s.client()
	writing.Go(func() {
		for ctx.Err() == nil {
			if _, err := c.Send(ctx, wire.NewEvent{MessageType: "RQ_1", Payload: []byte("1")}); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for name, q := range map[string]client.Query{
		"all": {}, "table": {Table: "inbound"}, "status COMPLETED": {Status: "COMPLETED"}, "status ERROR": {Status: "ERROR"},
		"status FAILED": {Status: "FAILED"}, "status RETRY": {Status: "RETRY"}, "message_type": {MessageType: "RQ_3"},
		"message_type, one": {MessageType: "RARE"}, "message_type, none": {MessageType: "NONE"}, "handler": {Handler: "counting"},
		"route": {Route: "usual"}, "reason": {Reason: "rejected"}, "source_service": {SourceService: "UPSTREAM"},
		"source_service, one": {SourceService: "ELSEWHERE"}, "correlation_id": {CorrelationID: fmt.Sprint("conversation-", events/9)},
	} {
		var worst time.Duration
		n := 0
		for range 5 {
			q.Limit = 100
			started := time.Now()
			page, err := c.List(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			worst, n = max(worst, time.Since(started)), len(page.Events)
		}
		t.Logf("%-20s %3d events, worst of 5: %s", name, n, worst.Round(10*time.Microsecond))
		if worst > sizeQuery {
			t.Errorf("%s: %s; want at most %s", name, worst, sizeQuery)
		}
	}
	checkPages(t, c, events)
	stop()
	writing.Wait()
}

// checkPages goes through all that was there before, page by page.
func checkPages(t *testing.T, c *client.Client, events int) {
	t.Helper()
	q, next, pages := client.Query{Limit: 1000, SourceService: "UPSTREAM"}, events-1, 0
	for {
		page, err := c.List(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, row := range page.Events {
			if next == events/3 {
				next-- // of another service
			}
			if want := fmt.Sprintf("01890000-0000-7000-8000-%012d", next); row.EventID != want {
				t.Fatalf("page %d lists %s where %s is next", pages, row.EventID, want)
			}
			next--
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
	}
	if next != -1 {
		t.Errorf("the pages end %d events early", next+1)
	}
	t.Logf("%d pages list each of %d events once", pages, events-1)
}
