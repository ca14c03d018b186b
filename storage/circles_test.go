package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/eventd-io/eventd/event"
)

// leadBack has a child of a branch page be the page itself, the first or the last.
func leadBack(t *testing.T, path string, id uint64, last bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := int64(id) * testPage
	var head [pageHeader]byte
	if _, err := f.ReadAt(head[:], at); err != nil {
		t.Fatal(err)
	}
	child := 0
	if last {
		child = int(binary.LittleEndian.Uint16(head[10:])) - 1
	}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, id), at+pageHeader+int64(pageElement*child)+8); err != nil {
		t.Fatal(err)
	}
}

// TestCircleOfPages leads one branch page after the other back to itself, and goes
// through all of the store: nothing hangs, each time something says that it is
// damaged, and what lies elsewhere can be read.
func TestCircleOfPages(t *testing.T) {
	whole := deepStore(t)
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	branches := pagesOf(t, whole, flagBranch)
	refused, damaged := 0, 0
	for _, id := range branches {
		for _, last := range []bool{false, true} {
			path := storePath(t)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			leadBack(t, path, id, last)
			within(t, fmt.Sprint("a store with page ", id), func() {
				if r, err := Check(ctx, CommandOptions{Path: path}); err == nil && r.Clean() {
					t.Errorf("page %d: check finds nothing", id)
				}
				db, err := Open(Options{Path: path, segmentEvents: 1000, Retention: Retention{Completed: 1}, DedupeWindow: -1})
				if err != nil {
					wantError(t, err, path, ErrCorrupt, "")
					refused++
					return
				}
				if useAll(t, db) {
					damaged++
				}
				_ = db.Close()
			})
		}
	}
	t.Logf("%d branch pages, each leads back twice: %d times refused at the start, %d times found at work", len(branches), refused, damaged)
	if len(branches) < 4 || refused == 0 || damaged == 0 || refused+damaged != 2*len(branches) {
		t.Errorf("of %d circles %d were refused and %d found", 2*len(branches), refused, damaged)
	}
}

// useAll does with a store what a daemon does, and reports whether it met damage.
func useAll(t *testing.T, db *DB) (met bool) {
	t.Helper()
	see := func(err error) {
		if err == nil || errors.Is(err, event.ErrNotFound) || errors.Is(err, event.ErrConflict) {
			return
		}
		met = true
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrQuarantined) && !errors.Is(err, errDamaged) {
			t.Errorf("%v; want one that says what is damaged", err)
		}
	}
	for _, seq := range []uint64{1, 500, 1000, 1001, 1200} {
		_, err := db.Get(ctx, seq)
		see(err)
		_, err = db.Payload(ctx, seq)
		see(err)
		u := &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.InProgress
			return nil, nil
		}}
		see(db.Update(ctx, u))
		see(u.Err)
	}
	for _, id := range []string{"id-00-00", "id-39-29"} {
		_, err := db.Find(ctx, id)
		see(err)
		see(db.Accept(ctx, []*event.Admission{newAdmission(event.Inbound, id, "h")}))
	}
	for _, f := range []event.Filter{{}, {Handler: "h"}, {CorrelationID: "id-00-00"}, {DeadLetters: true}} {
		for _, oldest := range []bool{false, true} {
			_, _, err := db.List(ctx, f, event.Page{Limit: 2000, OldestFirst: oldest})
			see(err)
		}
	}
	_, _, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: t0, Limit: 2000, Bytes: 1 << 30})
	see(err)
	_, err = db.Outbox(ctx, 0, 2000)
	see(err)
	_, err = db.Inflight(ctx, 0, 2000)
	see(err)
	info, err := db.Info(ctx)
	see(err)
	see(db.Err())
	return met || info.Quarantined > 0
}
