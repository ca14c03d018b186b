package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// TestDamagedPages zeroes each page of a store in turn, and then everything in
// it but its header with noise. Whatever page it is, the process lives: the
// store is refused, or a call fails, or a record is under quarantine.
//
// What is not tried is to write into a page of noise: bbolt believes the sizes
// in it and asks for as much memory.
func TestDamagedPages(t *testing.T) {
	whole := fillStore(t)
	pages := metaOf(t, whole).pages
	noise := rand.New(rand.NewPCG(1, 2)) // the same every time
	refused, broken, worked := 0, 0, 0
	for id := range pages {
		for _, harm := range []string{"zero", "noise"} {
			path := copyFile(t, whole)
			if harm == "zero" {
				zeroPage(t, path, id)
			} else {
				b := make([]byte, testPage-pageHeader)
				for i := range b {
					b[i] = byte(noise.Uint32())
				}
				overwrite(t, path, int64(id)*testPage+pageHeader, b)
			}
			what := fmt.Sprintf("page %d of %d: %s", id, pages, harm)
			db, err := Open(Options{Path: path, segmentEvents: 10, LockTimeout: time.Second})
			if err != nil {
				if refused++; !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: Open: %v; want %v", what, err, ErrCorrupt)
				}
				continue
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				readAll(t, db, what)
				if harm == "zero" {
					writeAll(t, db, what)
				}
				if db.Err() != nil {
					broken++
				} else {
					worked++
				}
				_ = db.Close()
			}()
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: it hangs", what)
			}
		}
	}
	t.Logf("%d pages, each damaged twice: %d stores refused, %d broke at a commit, %d worked on", pages, refused, broken, worked)
	if refused == 0 || worked == 0 {
		t.Error("some damage must be noticed at the start, and some must not matter")
	}
}

// allowed fails when an error is none that damage may cause.
func allowed(t *testing.T, what string, err error) {
	t.Helper()
	for _, class := range []error{ErrCorrupt, ErrQuarantined, ErrBroken, event.ErrNotFound} {
		if errors.Is(err, class) {
			return
		}
	}
	if err != nil {
		t.Errorf("%s: %v; want it to say that the store is damaged", what, err)
	}
}

// readAll asks for everything, and whatever is returned must be right.
func readAll(t *testing.T, db *DB, what string) {
	t.Helper()
	for seq := uint64(1); seq <= 35; seq++ {
		rec, err := db.Get(ctx, seq)
		allowed(t, what, err)
		want := fmt.Sprintf("id-%02d", seq-1)
		if err == nil && rec.ID != want && rec.Reason != event.Quarantined {
			t.Errorf("%s: Get(%d) = %+v; want %s", what, seq, rec, want)
		}
		body, err := db.Payload(ctx, seq)
		allowed(t, what, err)
		if err == nil && !bytes.Equal(body, bytes.Repeat([]byte{byte((seq - 1) / 5)}, 700)) {
			t.Errorf("%s: Payload(%d) is not what was stored", what, seq)
		}
		_, err = db.Payloads(ctx, seq)
		allowed(t, what, err)
		found, err := db.Find(ctx, want)
		allowed(t, what, err)
		if len(found) > 1 || len(found) == 1 && found[0].Seq != seq {
			t.Errorf("%s: Find(%s) = %+v", what, want, found)
		}
	}
	for _, f := range []event.Filter{{}, {Status: event.Error}, {CorrelationID: "conversation"}} {
		for _, oldest := range []bool{true, false} {
			_, _, err := db.List(ctx, f, event.Page{Limit: 100, OldestFirst: oldest})
			allowed(t, what, err)
		}
	}
	_, err := db.Inflight(ctx, 0, 100)
	allowed(t, what, err)
	_, err = db.Parked(ctx, event.Error, 0, 100)
	allowed(t, what, err)
	_, err = db.Info(ctx)
	allowed(t, what, err)
	db.LastPosition("source")
	db.Paused("handler", "h")
}

// writeAll writes wherever the store writes.
func writeAll(t *testing.T, db *DB, what string) {
	t.Helper()
	_, err := db.Outbox(ctx, 0, 100)
	allowed(t, what, err)
	for _, h := range []string{"h", "h2"} {
		for range 20 {
			list, _, err := db.Due(ctx, event.DueQuery{Handler: h, Now: t0, Limit: 5, Bytes: 1 << 20})
			allowed(t, what, err)
			for _, d := range list {
				u := &event.Update{Seq: d.Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
					s.Deliveries[d.Index].Status = event.InProgress
					s.Timeline = append(s.Timeline, event.Entry{At: t0, Status: event.InProgress})
					return nil, nil
				}}
				allowed(t, what, errors.Join(db.Update(ctx, u), u.Err))
			}
		}
	}
	allowed(t, what, db.Published(ctx, []uint64{4, 5, 6, 7}))
	for i := range 25 {
		allowed(t, what, db.Accept(ctx, []*event.Admission{newAdmission(event.Request, fmt.Sprint("new-", i), "h")}))
	}
	readAll(t, db, what)
}

const (
	treeEvents  = 250
	treeSegment = 100
)

// openWithoutTree opens a store in which the page that leads to one bucket of
// the first segment is zeroed.
func openWithoutTree(t *testing.T, bucket []byte) *DB {
	t.Helper()
	path := storePath(t)
	db, err := Open(Options{Path: path, segmentEvents: treeSegment})
	if err != nil {
		t.Fatal(err)
	}
	for i := range treeEvents {
		accept(t, db, newAdmission(event.Inbound, fmt.Sprint("id-", i), "h"))
	}
	awaitSealed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	zeroTree(t, path, bucket)
	if db, err = Open(Options{Path: path, segmentEvents: treeSegment}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// zeroTree zeroes the page that leads to a bucket of the first segment.
func zeroTree(t *testing.T, path string, bucket []byte) {
	t.Helper()
	var root uint64
	editStore(t, path, func(tx *bolt.Tx) error {
		root = uint64(tx.Bucket(bucketSegments).Bucket(key8(1)).Bucket(bucket).RootPage())
		return nil
	})
	zeroPage(t, path, root)
}

// TestDamagedTreeOfOneSegment loses the heads, payloads or states of a segment:
// its events are lost to the handlers, and no others.
func TestDamagedTreeOfOneSegment(t *testing.T) {
	for _, bucket := range [][]byte{bucketHeads, bucketPayloads, bucketStates} {
		t.Run(string(bucket), func(t *testing.T) {
			db := openWithoutTree(t, bucket)
			if got := len(dueSeqs(t, db, "h")); got != treeEvents-treeSegment {
				t.Errorf("%d events were handed out; want the %d sound ones", got, treeEvents-treeSegment)
			}
			list, _, err := db.List(ctx, event.Filter{}, event.Page{Limit: 1000})
			if err != nil || len(list) != treeEvents {
				t.Errorf("List = %d events, %v; want all %d", len(list), err, treeEvents)
			}
			for _, rec := range list {
				if (rec.Reason == event.Quarantined) != (rec.Seq <= treeSegment) {
					t.Errorf("event %d is %s %s", rec.Seq, rec.Status, rec.Reason)
				}
				if got, err := db.Get(ctx, rec.Seq); err != nil || got.Reason != rec.Reason {
					t.Errorf("Get(%d) = %s, %v; want %s", rec.Seq, got.Reason, err, rec.Reason)
				}
			}
			if db.Err() != nil {
				t.Errorf("the store broke: %v", db.Err())
			}
		})
	}
}

// TestDamagedTreeOfAnIndex loses the written index of a segment.
func TestDamagedTreeOfAnIndex(t *testing.T) {
	db := openWithoutTree(t, bucketIDs)
	for i := range treeEvents {
		id := fmt.Sprint("id-", i)
		if found, err := db.Find(ctx, id); err != nil || len(found) != 1 {
			t.Errorf("Find(%s) = %d events, %v; want one", id, len(found), err)
		}
		again := newAdmission(event.Inbound, id, "h")
		if accept(t, db, again); !again.Duplicate {
			t.Errorf("%s is stored again", id)
		}
	}
}
