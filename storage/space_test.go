package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestFullDiskKeepsNothingBack fills the disk: a step that brings much waits until
// there is space, and keeps neither smaller ones nor retention from going on.
func TestFullDiskKeepsNothingBack(t *testing.T) {
	if err := startChild(t, "tight", storePath(t)).Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childTight(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limitFiles(t, 24<<20)
	db, err := Open(Options{Path: path, segmentEvents: 10, Retention: Retention{Completed: time.Second}, DedupeWindow: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; err == nil && i < 1000; i++ {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		a.Payload = bytes.Repeat([]byte{1}, 100_000)
		err = db.Accept(ctx, []*event.Admission{a})
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("Accept: %v; want %v", err, ErrFull)
	}
	large := &event.Update{Seq: 1, Bytes: 20 << 20, Step: func(s *event.State) (*event.Effects, error) {
		a := newAdmission(event.Request, "follow-up", "h")
		a.Payload = make([]byte, 20<<20)
		s.Deliveries[0].Status = event.InProgress
		return &event.Effects{FollowUps: []*event.Admission{a}}, nil
	}}
	done := make(chan error, 1)
	go func() { done <- errors.Join(db.Update(ctx, large), large.Err) }()
	within(t, "a small step beside one that waits", func() {
		for _, seq := range []uint64{2, 3, 4} {
			take(t, db, seq, event.InProgress, nil)
		}
	})
	_, err = db.AmendWorkingData(ctx, "conversation", "h", func(event.Document) ([]byte, error) { return make([]byte, 900<<10), nil })
	if !errors.Is(err, ErrFull) || !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("AmendWorkingData: %v; want %v", err, ErrFull)
	}
	within(t, "retention beside a step that waits", func() {
		for seq := uint64(11); seq <= 40; seq++ {
			end(t, db, seq, event.Completed, nil)
		}
		await(t, "removed events", func() bool { _, err := db.Get(ctx, 11); return errors.Is(err, event.ErrNotFound) })
	})
	select {
	case err := <-done:
		t.Errorf("the large step ended without space for it: %v", err)
	default:
	}
	limitFiles(t, 100<<20)
	within(t, "the large step with space", func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	within(t, "Close", func() { _ = db.Close() })
	checkFile(t, path)
}

// TestCloseOfAFullStore answers what waits for space.
func TestCloseOfAFullStore(t *testing.T) {
	if err := startChild(t, "closed", storePath(t)).Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childClosed(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limitFiles(t, 4<<20)
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	accept(t, db, newAdmission(event.Inbound, "id", "h"))
	large := &event.Update{Seq: 1, Bytes: 20 << 20, Step: func(*event.State) (*event.Effects, error) { return nil, nil }}
	done := make(chan error, 1)
	go func() { done <- db.Update(ctx, large) }()
	await(t, "a full disk", func() bool { return db.Full() != "" })
	within(t, "Close", func() { _ = db.Close() })
	if err := <-done; !errors.Is(err, ErrFull) {
		t.Errorf("Update: %v; want %v", err, ErrFull)
	}
}

// TestReadOnly: while nothing can be written events are refused and steps wait; it
// heals by itself, and what waited is on disk.
func TestReadOnly(t *testing.T) {
	var locked atomic.Bool
	path := storePath(t)
	db := openTest(t, path, func(o *Options) { o.readOnly = func(*os.File) bool { return locked.Load() } })
	accept(t, db, newAdmission(event.Inbound, "before", "h"))
	locked.Store(true)
	step := func(status event.Status) *event.Update {
		return &event.Update{Seq: 1, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = status
			return nil, nil
		}}
	}
	done := make(chan error, 1)
	go func() { done <- db.Update(ctx, step(event.InProgress)) }()
	await(t, "it to be noticed", func() bool { return db.Full() == "the file system is read-only" })
	err := db.Accept(ctx, []*event.Admission{newAdmission(event.Inbound, "late", "h")})
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Accept: %v; want %v that says why", err, ErrFull)
	}
	if _, err := db.Get(ctx, 1); err != nil || db.Err() != nil {
		t.Errorf("Get: %v, %v; want reading to go on", err, db.Err())
	}
	select {
	case err := <-done:
		t.Errorf("the step ended: %v", err)
	default:
	}
	locked.Store(false)
	within(t, "the step that waited", func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	await(t, "it to heal", func() bool { return db.Full() == "" })
	accept(t, db, newAdmission(event.Inbound, "late", "h"))
	locked.Store(true)
	go func() { done <- db.Update(ctx, step(event.Completed)) }()
	await(t, "it to be noticed", func() bool { return db.Full() != "" })
	within(t, "Close", func() { _ = db.Close() })
	if err := <-done; !errors.Is(err, ErrFull) && !errors.Is(err, ErrClosed) {
		t.Errorf("a step that waits when the store is closed: %v", err)
	}
}

// TestFullStaysWhatItIs while a step waits that the disk has no space for: it is not
// full no more each second, until the step is met again.
func TestFullStaysWhatItIs(t *testing.T) {
	if err := startChild(t, "steady", storePath(t)).Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childSteady(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limitFiles(t, 8<<20)
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	accept(t, db, newAdmission(event.Inbound, "id", "h"))
	large := &event.Update{Seq: 1, Bytes: 10 << 20, Step: func(s *event.State) (*event.Effects, error) {
		s.Deliveries[0].Status = event.InProgress
		return nil, nil
	}}
	done := make(chan error, 1)
	go func() { done <- errors.Join(db.Update(ctx, large), large.Err) }()
	within(t, "a full disk", func() { <-db.FullChanged() })
	if err := db.feed(); err != nil || db.Full() == "" { // what looks each second
		t.Errorf("Full = %q beside a step that there is no space for, %v; want it to stay", db.Full(), err)
	}
	limitFiles(t, 100<<20)
	within(t, "the step with space", func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	within(t, "no full disk", func() { <-db.FullChanged() })
	accept(t, db, newAdmission(event.Inbound, "next", "h"))
	within(t, "Close", func() { _ = db.Close() })
	checkFile(t, path)
}

// TestWaitNoMore: what waits for space, and what comes later, is answered when
// nothing is to wait any more. What there is space for is stored.
func TestWaitNoMore(t *testing.T) {
	var locked atomic.Bool
	db := openTest(t, storePath(t), func(o *Options) { o.readOnly = func(*os.File) bool { return locked.Load() } })
	accept(t, db, newAdmission(event.Inbound, "id", "h"))
	locked.Store(true)
	done := make(chan error, 2)
	go func() { done <- db.Update(ctx, touch(1)) }()
	go func() { done <- db.SetMark(ctx, event.Mark{Schedule: "s"}) }()
	await(t, "it to be noticed", func() bool { return db.Full() != "" })
	db.WaitNoMore()
	within(t, "what waits", func() {
		for range 2 {
			if err := <-done; !errors.Is(err, ErrFull) {
				t.Errorf("what waits: %v; want %v", err, ErrFull)
			}
		}
	})
	within(t, "what comes", func() {
		if err := db.Published(ctx, []uint64{1}); !errors.Is(err, ErrFull) {
			t.Errorf("what comes: %v; want %v", err, ErrFull)
		}
	})
	locked.Store(false)
	await(t, "it to heal", func() bool { return db.Full() == "" })
	within(t, "what there is space for", func() {
		if err := db.Update(ctx, touch(1)); err != nil {
			t.Errorf("with space: %v", err)
		}
	})
	// In a store that is only full, steps live on the reserve.
	db.setFull(func(f *fullness) { f.disk = true })
	if err := db.Update(ctx, touch(1)); err != nil {
		t.Errorf("in the reserve: %v", err)
	}
}

// TestSwitchesOnAReadOnlyDisk: what people and sources can do without is refused
// rather than kept waiting.
func TestSwitchesOnAReadOnlyDisk(t *testing.T) {
	db := openTest(t, storePath(t), func(o *Options) { o.readOnly = func(*os.File) bool { return true } })
	for name, call := range map[string]func() error{
		"pause":         func() error { return db.SetPaused(ctx, "source", "s", "manual") },
		"resume":        func() error { return db.SetPaused(ctx, "source", "s", "") },
		"save position": func() error { return db.SavePosition(ctx, "s", event.Position{Stream: "S", Sequence: 1}) },
	} {
		within(t, name, func() {
			if err := call(); !errors.Is(err, ErrFull) {
				t.Errorf("%s: %v; want %v", name, err, ErrFull)
			}
		})
	}
}
