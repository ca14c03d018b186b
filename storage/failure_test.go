package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// wantBroken fails unless a store refuses everything.
func wantBroken(t *testing.T, db *DB) {
	t.Helper()
	select {
	case <-db.Broken():
	default:
		t.Error("Broken is not closed")
	}
	_, _, due := db.Due(ctx, event.DueQuery{Handler: "h", Now: t0, Limit: 1, Bytes: 1})
	_, _, list := db.List(ctx, event.Filter{}, event.Page{Limit: 1})
	_, find := db.Find(ctx, "id")
	_, get := db.Get(ctx, 1)
	_, inflight := db.Inflight(ctx, 0, 1)
	_, info := db.Info(ctx)
	for name, err := range map[string]error{
		"Err": db.Err(), "Due": due, "List": list, "Find": find, "Get": get, "Inflight": inflight, "Info": info,
		"Accept":    db.Accept(ctx, []*event.Admission{newAdmission(event.Inbound, "late", "h")}),
		"Update":    db.Update(ctx, &event.Update{Seq: 1, Step: func(*event.State) (*event.Effects, error) { return nil, nil }}),
		"Published": db.Published(ctx, []uint64{1}), "SetPaused": db.SetPaused(ctx, "handler", "h", "manual"),
	} {
		if !errors.Is(err, ErrBroken) {
			t.Errorf("%s of a broken store: %v; want %v", name, err, ErrBroken)
		}
	}
}

// within fails when f does not return in time.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() { defer close(ended); f() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

// TestFailedCommit closes the file under bbolt: what was waiting is answered
// with the failure, and nothing of it is there afterwards.
func TestFailedCommit(t *testing.T) {
	path := storePath(t)
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	accept(t, db, newAdmission(event.Inbound, "before", "h"))
	if err := db.file.Close(); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for i := range 20 {
		writers.Go(func() {
			err := db.Accept(ctx, []*event.Admission{newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")})
			if !errors.Is(err, ErrBroken) {
				t.Errorf("Accept: %v; want %v", err, ErrBroken)
			}
		})
	}
	within(t, "Accept", writers.Wait)
	wantBroken(t, db)
	within(t, "Close", func() { _ = db.Close() })
	db = openTest(t, path)
	list, _, err := db.List(ctx, event.Filter{}, event.Page{Limit: 100})
	if err != nil || len(list) != 1 || list[0].ID != "before" {
		t.Errorf("List = %v, %v; want what was there before", list, err)
	}
}

// TestPanicInAStep: bbolt's lock is given back, or Close would wait for ever.
func TestPanicInAStep(t *testing.T) {
	path := storePath(t)
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	accept(t, db, newAdmission(event.Inbound, "before", "h"))
	err = db.Update(ctx, &event.Update{Seq: 1, Step: func(*event.State) (*event.Effects, error) { panic("a fault of ours") }})
	if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "a fault of ours") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Update: %v; want one line with %v and the panic", err, ErrBroken)
	}
	wantBroken(t, db)
	within(t, "Close", func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db = openTest(t, path)
	if rec, err := db.Get(ctx, 1); err != nil || rec.Status != event.Unprocessed {
		t.Errorf("Get = %s, %v; want UNPROCESSED", rec.Status, err)
	}
}

// TestStuckTransaction stands for a panic after which bbolt cannot even roll
// back: Close does not wait for it.
func TestStuckTransaction(t *testing.T) {
	path := storePath(t)
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.bolt.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	db.stuck.Store(true)
	within(t, "Close", func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	_ = tx.Rollback()
	_ = db.bolt.Close() // gives back the memory, and with it the lock
	openTest(t, path)
}

// TestFullDisk lets a child run into a limit on the size of files: it goes on
// without taking new events.
func TestFullDisk(t *testing.T) {
	path := storePath(t)
	c := startChild(t, "full", path)
	acknowledged := 0
	for c.lines.Scan() {
		if n, ok := strings.CutPrefix(c.lines.Text(), "accepted "); ok {
			acknowledged, _ = strconv.Atoi(n)
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("child: %v", err)
	}
	db := openTest(t, path)
	if n := db.Counts()[event.Inbound][event.InProgress]; n != acknowledged {
		t.Errorf("%d events have the step that each took; want %d", n, acknowledged)
	}
	list, _, err := db.List(ctx, event.Filter{}, event.Page{Limit: 10_000})
	if err != nil || acknowledged == 0 || len(list) != acknowledged {
		t.Errorf("List = %d events, %v; want the %d that were acknowledged", len(list), err, acknowledged)
	}
}

func limitFiles(t *testing.T, size uint64) {
	t.Helper()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: 1 << 40}); err != nil {
		t.Fatal(err)
	}
}

func childFull(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limitFiles(t, 0)
	if _, err := Open(Options{Path: path}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Open on a full disk: %v; want %v", err, ErrUnavailable)
	}
	if names, _ := filepath.Glob(path + "*"); len(names) > 0 {
		t.Errorf("Open on a full disk leaves %v", names)
	}
	limitFiles(t, 40<<20)
	db, err := Open(Options{Path: path, segmentEvents: 10})
	if err != nil {
		t.Fatal(err)
	}
	a := newAdmission(event.Inbound, "", "h")
	for i := 1; i < 1000; i++ {
		a = newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		a.Payload = bytes.Repeat([]byte{1}, 200_000)
		if err = db.Accept(ctx, []*event.Admission{a}); err != nil {
			break
		}
		fmt.Println("accepted", i)
	}
	if !errors.Is(err, ErrFull) || !errors.Is(err, event.ErrUnavailable) || db.Full() == "" {
		t.Errorf("Accept on a full disk: %v; want %v; Full = %q", err, ErrFull, db.Full())
	}
	stepAll(t, db)
	limitFiles(t, 80<<20)
	<-db.FullChanged() // that it is full
	<-db.FullChanged() // that it is not
	if why := db.Full(); why != "" {
		t.Errorf("Full with space again: %q", why)
	}
	accept(t, db, a)
	stepAll(t, db)
	fmt.Println("accepted", len(events(t, db)))
	within(t, "Close", func() { _ = db.Close() })
}

// TestFullDiskWhileSomeoneReads fills the disk and holds a snapshot, as a backup
// does: steps wait for the pages that it keeps, and then go on.
func TestFullDiskWhileSomeoneReads(t *testing.T) {
	if err := startChild(t, "pinned", storePath(t)).Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childPinned(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limitFiles(t, 40<<20)
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	stored := uint64(0)
	for err == nil && stored < 1_000_000 {
		list := make([]*event.Admission, 200)
		for i := range list {
			list[i] = newAdmission(event.Inbound, fmt.Sprint("id-", stored+uint64(i)), "h")
			list[i].Payload = bytes.Repeat([]byte{1}, 100)
		}
		if err = db.Accept(ctx, list); err == nil {
			stored += uint64(len(list))
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("Accept: %v; want %v", err, ErrFull)
	}
	tx, err := db.bolt.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	steps := make(chan error, 1)
	go func() {
		for i := range uint64(1000) {
			u := &event.Update{Seq: 1 + i*37%stored, Step: func(s *event.State) (*event.Effects, error) {
				s.Timeline = append(s.Timeline, event.Entry{At: t0, Status: event.Unprocessed, Handler: "h"})
				return nil, nil
			}}
			if err := errors.Join(db.Update(ctx, u), u.Err); err != nil {
				steps <- fmt.Errorf("step %d: %w", i, err)
				return
			}
		}
		steps <- nil
	}()
	select {
	case err = <-steps:
		t.Errorf("the steps ended beside the reader: %v; want them to wait", err)
	case <-time.After(3 * time.Second):
		_ = tx.Rollback()
		limitFiles(t, 80<<20)
		if err = <-steps; err != nil {
			t.Errorf("%v; want the steps to go on when the reader has ended", err)
		}
	}
	within(t, "Close", func() { _ = db.Close() })
}

// stepAll begins an attempt of every event that waits, on its own.
func stepAll(t *testing.T, db *DB) {
	t.Helper()
	for _, e := range events(t, db) {
		if e.Status != event.Unprocessed {
			continue
		}
		u := &event.Update{Seq: e.Seq, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.InProgress
			return nil, nil
		}}
		if err := db.Update(ctx, u); err != nil || u.Err != nil {
			t.Errorf("step of event %d on a full disk: %v, %v", e.Seq, err, u.Err)
		}
	}
}

func events(t *testing.T, db *DB) []event.Record {
	t.Helper()
	list, _, err := db.List(ctx, event.Filter{}, event.Page{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestFileCutShortUnderTheStore: reading what is gone from a file in use is a
// bus error, which must not end the process.
func TestFileCutShortUnderTheStore(t *testing.T) {
	c := startChild(t, "shrink", fillStore(t))
	c.await(t, "alive")
	if err := c.Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childShrink(t *testing.T, path string) {
	db, err := Open(Options{Path: path, segmentEvents: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4*testPage); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for seq := uint64(1); seq <= 35; seq++ {
		_, err := db.Get(ctx, seq)
		allowed(t, "a file cut short", err)
		if err != nil {
			failed++
		}
		_, err = db.Payload(ctx, seq)
		allowed(t, "a file cut short", err)
	}
	err = db.Accept(ctx, []*event.Admission{newAdmission(event.Inbound, "next", "h")})
	allowed(t, "a file cut short", err)
	if failed == 0 && err == nil {
		t.Error("nothing was noticed")
	}
	fmt.Println("alive")
	within(t, "Close", func() { _ = db.Close() })
}
