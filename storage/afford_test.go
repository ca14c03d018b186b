package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"testing"

	"github.com/eventd-io/eventd/event"
)

// TestRedriveOnAFullDisk: what a job redrives at a time is weighed like other steps,
// and refused where it does not fit, before a commit fails for want of space.
func TestRedriveOnAFullDisk(t *testing.T) {
	if err := startChild(t, "redrive", storePath(t)).Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
}

func childRedrive(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	const limit = 24 << 20
	limitFiles(t, limit)
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 256 {
		list := make([]*event.Admission, placeSeqs)
		for n := range list {
			list[n] = newAdmission(event.Inbound, fmt.Sprint("id-", i, "-", n), "h")
			list[n].State.Deliveries[0].Status = event.Completed
		}
		list[0].State.Deliveries[0].Status, list[0].State.Deliveries[0].Reason = event.Failed, event.Exhausted
		accept(t, db, list...)
	}
	j := event.Redrive{}
	if err := db.AddRedrive(ctx, &j); err != nil {
		t.Fatal(err)
	}
	for i := 0; err == nil; i++ {
		a := newAdmission(event.Inbound, fmt.Sprint("large-", i), "h")
		a.Payload = bytes.Repeat([]byte{1}, 100_000)
		err = db.Accept(ctx, []*event.Admission{a})
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("Accept: %v; want %v", err, ErrFull)
	}
	tx, err := db.bolt.Begin(false) // so that each step takes pages and none become free
	if err != nil {
		t.Fatal(err)
	}
	for high := int64(0); high < limit-350<<10; {
		take(t, db, 8193, event.InProgress, nil)
		if high, err = db.highWater(); err != nil {
			t.Fatal(err)
		}
	}
	updates := make([]*event.Update, 256)
	for i := range updates {
		updates[i] = &event.Update{Seq: uint64(i)*placeSeqs + 1, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.Unprocessed
			return nil, nil
		}}
	}
	err = db.AdvanceRedrive(ctx, j.ID, func(*event.Redrive) { t.Error("there was space for it") }, updates...)
	if !errors.Is(err, event.ErrTooMuch) || db.Err() != nil {
		t.Errorf("AdvanceRedrive: %v, and the store is broken: %v; want %v", err, db.Err(), event.ErrTooMuch)
	}
	if err = db.AdvanceRedrive(ctx, j.ID, func(*event.Redrive) {}, updates[:2]...); err != nil {
		t.Errorf("AdvanceRedrive of fewer: %v", err)
	}
	_ = tx.Rollback()
	within(t, "Close", func() { _ = db.Close() })
}

// TestStepsOfOrderKeysCountMore: they rewrite their line, and the next who comes due.
func TestStepsOfOrderKeysCountMore(t *testing.T) {
	db := openTest(t, storePath(t))
	step := func(u *event.Update) int64 {
		op := &operation{}
		op.weigh([]*event.Update{u})
		return db.mostOf(op)
	}
	alone := step(&event.Update{Seq: 1})
	if n := step(&event.Update{Seq: 1, Then: func(*event.Due) *event.Update { return nil }}); n < 2*alone {
		t.Errorf("a step with an heir is taken to write %d bytes; want twice the %d of one without", n, alone)
	}
	accept(t, db, ordered("id", "k", event.Block))
	if n := step(&event.Update{Seq: 1}); n < alone+3*int64(testPage) {
		t.Errorf("with order keys a step is taken to write %d bytes; want %d and three pages", n, alone)
	}
}
