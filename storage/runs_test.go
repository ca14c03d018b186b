package storage

import (
	"bytes"
	"fmt"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

func TestCountRuns(t *testing.T) {
	free := newBitmap(100)
	free.addRun(2, 17)  // two of eight, one of fifteen
	free.addRun(30, 7)  // too short
	free.addRun(60, 40) // to the end: five, and two
	if runs, longs := countRuns(free, 100, 15); runs != 7 || longs != 3 {
		t.Errorf("countRuns = %d, %d; want 7, 3", runs, longs)
	}
}

// TestFileAtTheEndOfItsDisk: a file that cannot grow any more takes new events as
// long as much of it is free.
func TestFileAtTheEndOfItsDisk(t *testing.T) {
	if err := startChild(t, "end", storePath(t)).Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childEnd(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	db, err := Open(Options{Path: path, segmentEvents: 10, Retention: Retention{Completed: time.Second}, DedupeWindow: -1})
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(100)
	for i := range n {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		a.Payload = bytes.Repeat([]byte{1}, 100_000)
		accept(t, db, a)
	}
	// Nothing behind what is in use now can be had.
	db.extending.Lock()
	high, err := db.highWater()
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(t, uint64(high))
	db.secured = min(db.secured, high)
	db.extending.Unlock()
	for seq := uint64(1); seq <= n; seq++ {
		end(t, db, seq, event.Completed, nil)
	}
	await(t, "removed events", func() bool { return db.reusable.Load() > 8<<20 })
	for i := range 200 {
		a := newAdmission(event.Inbound, fmt.Sprint("late-", i), "h")
		a.Payload = bytes.Repeat([]byte{1}, 1000)
		await(t, "room for an event", func() bool { return db.Accept(ctx, []*event.Admission{a}) == nil })
		end(t, db, a.Event.Seq, event.Completed, nil)
	}
	if err := db.Err(); err != nil {
		t.Error(err)
	}
	within(t, "Close", func() { _ = db.Close() })
	checkFile(t, path)
}
