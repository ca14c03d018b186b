package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
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
	if runs, longs := countRuns(runsOf(free, 100), 15); runs != 7 || longs != 3 {
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
	for i := range 50 {
		accept(t, db, newAdmission(event.Inbound, fmt.Sprint("open-", i), "h"))
	}
	for seq := uint64(1); seq <= n; seq++ {
		end(t, db, seq, event.Completed, nil)
	}
	await(t, "removed events", func() bool { return db.reusable.Load() > 6<<20 })
	// Nothing behind what is in use now can be had.
	db.extending.Lock()
	high, err := db.highWater()
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(t, uint64(high))
	if err := os.Truncate(path, high); err != nil {
		t.Fatal(err)
	}
	db.secured = min(db.secured, high)
	db.end.Store(high)
	db.extending.Unlock()
	for i := range 200 {
		a := newAdmission(event.Inbound, fmt.Sprint("late-", i), "h")
		a.Payload = bytes.Repeat([]byte{1}, 1000)
		await(t, "room for an event", func() bool { return db.Accept(ctx, []*event.Admission{a}) == nil })
		end(t, db, a.Event.Seq, event.Completed, nil)
	}
	var steps []*event.Update // all that they are said to bring has no place, what each does has
	for seq := n + 1; seq <= n+50; seq++ {
		steps = append(steps, &event.Update{Seq: seq, Bytes: 40 << 10, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.InProgress
			return nil, nil
		}})
	}
	within(t, "many steps at once", func() {
		if err := db.Update(ctx, steps...); err != nil {
			t.Error(err)
		}
	})
	for _, u := range steps {
		if rec, err := db.Get(ctx, u.Seq); u.Err != nil || err != nil || rec.Status != event.InProgress {
			t.Errorf("event %d: %v; %s, %v; want the step taken once", u.Seq, u.Err, rec.Status, err)
		}
	}
	if err := db.Err(); err != nil {
		t.Error(err)
	}
	within(t, "Close", func() { _ = db.Close() })
	checkFile(t, path)
}

// TestRunsAreReadOnce for all that wait for a commit.
func TestRunsAreReadOnce(t *testing.T) {
	db := openTest(t, storePath(t))
	db.reusable.Store(1 << 40)
	db.freeBytes.Store(1 << 40)
	h := &holes{db: db}
	if h.lodges(10*groupBytes, 0) || !h.read {
		t.Errorf("the runs are read: %t; want none in a new file", h.read)
	}
	h.runs = []int64{1 << 20, 1 << 20} // where it has none
	if !h.lodges(10*groupBytes, 0) || len(h.runs) != 2 {
		t.Error("the runs are read again")
	}
}

// TestFullDiskPutsOffWhatRetentionWrites: a document of nearly 1 MiB has to leave the
// segment that it lies in before that can go. On a full disk it stays, and the store
// lives; with room it moves to the next event of its conversation.
func TestFullDiskPutsOffWhatRetentionWrites(t *testing.T) {
	if err := startChild(t, "carry", storePath(t)).Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childCarry(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limitFiles(t, 24<<20)
	db, err := Open(Options{Path: path, segmentEvents: 10, Retention: Retention{Completed: time.Second}, DedupeWindow: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		a := newAdmission(event.Inbound, fmt.Sprint("kept-", i), "h")
		a.Event.CorrelationID = "conversation"
		accept(t, db, a)
	}
	document := bytes.Repeat([]byte("7"), event.MaxDocument-1)
	if _, err := db.AmendWorkingData(ctx, "conversation", "h", func(event.Document) ([]byte, error) { return document, nil }); err != nil {
		t.Fatal(err)
	}
	last := uint64(3)
	for err == nil && last < 1000 {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", last), "h")
		a.Event.CorrelationID, a.Payload = "conversation", bytes.Repeat([]byte{1}, 100_000)
		if err = db.Accept(ctx, []*event.Admission{a}); err == nil {
			last = a.Event.Seq
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("Accept: %v; want %v", err, ErrFull)
	}
	for seq := uint64(1); seq <= 10; seq++ {
		end(t, db, seq, event.Completed, nil)
	}
	// What retention does when it looks, at once.
	k := &keeper{db: db, next: map[uint64]time.Time{}, damaged: map[uint64]bool{}}
	p := &policy{prompt: true}
	p.rows[event.Completed] = 1
	for range 3 {
		if err := k.look(p); err != nil {
			t.Errorf("retention on a full disk: %v", err)
		}
	}
	if _, err := db.Get(ctx, 1); err != nil || db.Err() != nil {
		t.Fatalf("event 1: %v; the store: %v; want it to stay while there is no room for its document", err, db.Err())
	}
	limitFiles(t, 100<<20)
	await(t, "the segment to go", func() bool { _, err := db.Get(ctx, 1); return errors.Is(err, event.ErrNotFound) })
	if d, err := db.WorkingData(ctx, "conversation"); err != nil || len(d.Body) != len(document) {
		t.Errorf("WorkingData = %d bytes, %v; want all of it", len(d.Body), err)
	}
	within(t, "Close", func() { _ = db.Close() })
	checkFile(t, path)
}
