package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// openDamaged opens a copy of a filled store after it was damaged through bbolt.
// In it, seqs 1, 4, 7 … are IN_PROGRESS for h and ERROR for h2, the others
// UNPROCESSED for both.
// harm writes to the file of an open store past its writer, while the file is not
// extended.
func harm(db *DB, f func(*bolt.Tx) error) error {
	db.extending.Lock()
	defer db.extending.Unlock()
	return db.bolt.Update(f)
}

func openDamaged(t *testing.T, harm func(tx *bolt.Tx) error) *DB {
	t.Helper()
	path := fillStore(t)
	editStore(t, path, harm)
	return openUnsound(t, path)
}

// openUnsound is openTest for a file with damaged records, which the check at
// the end is to find, and nothing else: the indexes must fit the states.
func openUnsound(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(Options{Path: path, segmentEvents: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = db.Close()
		problems, err := Inconsistencies(path)
		if err != nil {
			t.Errorf("check: %v", err)
		}
		for _, p := range problems {
			if !strings.Contains(p, errDamaged.Error()) {
				t.Errorf("check: %s", p)
			}
		}
	})
	return db
}

func segmentBucket(tx *bolt.Tx, seq uint64) *bolt.Bucket {
	return tx.Bucket(bucketSegments).Bucket(key8((seq-1)/10*10 + 1))
}

// flip changes one bit of a value.
func flip(b *bolt.Bucket, key []byte, at int) error {
	v := bytes.Clone(b.Get(key))
	if len(v) <= at {
		return fmt.Errorf("no byte %d under %x", at, key)
	}
	v[at] ^= 0x10
	return b.Put(key, v)
}

func flipState(seq uint64) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error { return flip(segmentBucket(tx, seq).Bucket(bucketStates), key8(seq), 20) }
}

// flipInBlock damages the first byte of the record of one event in a block.
func flipInBlock(bucket []byte, seq uint64) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		b := segmentBucket(tx, seq).Bucket(bucket)
		c := b.Cursor()
		k, v := c.Seek(key8(seq + 1))
		if k == nil {
			k, v = c.Last()
		} else {
			k, v = c.Prev()
		}
		n, err := blockCount(v)
		if err != nil {
			return err
		}
		at, i := blockHeader+blockEntry*int(n), int(seq-binary.BigEndian.Uint64(k))
		if i > 0 {
			at += int(binary.LittleEndian.Uint32(v[blockHeader+blockEntry*(i-1):]))
		}
		return flip(b, bytes.Clone(k), at)
	}
}

func all(list ...func(tx *bolt.Tx) error) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		for _, f := range list {
			if err := f(tx); err != nil {
				return err
			}
		}
		return nil
	}
}

// dueSeqs reads the whole queue of a handler, a few at a time as a dispatcher
// does, and takes each as begun.
func dueSeqs(t *testing.T, db *DB, handler string) (seqs []uint64) {
	t.Helper()
	for range 1000 {
		list, next, err := db.Due(ctx, event.DueQuery{Handler: handler, Now: t0.Add(time.Hour), Limit: 3, Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			u := &event.Update{Seq: d.Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
				s.Deliveries[d.Index].Status = event.InProgress
				return nil, nil
			}}
			if err := errors.Join(db.Update(ctx, u), u.Err); err != nil {
				t.Fatal(err)
			}
			seqs = append(seqs, d.Event.Seq)
		}
		if next.IsZero() || next.After(t0.Add(time.Hour)) {
			return seqs
		}
	}
	t.Fatalf("the queue of %s has no end", handler)
	return nil
}

func undamaged(seqs ...uint64) (list []uint64) {
	for seq := uint64(1); seq <= 35; seq++ {
		if seq%3 != 1 && !slices.Contains(seqs, seq) {
			list = append(list, seq)
		}
	}
	return list
}

func wantQuarantined(t *testing.T, db *DB, events int, seqs ...uint64) {
	t.Helper()
	info, err := db.Info(ctx)
	if err != nil || info.Quarantined != events {
		t.Errorf("Info.Quarantined = %d, %v; want %d", info.Quarantined, err, events)
	}
	listed, _, err := db.List(ctx, event.Filter{Reason: event.Quarantined, Status: event.Error}, event.Page{Limit: 1000, OldestFirst: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, rec := range listed {
		got = append(got, rec.Seq)
	}
	if !slices.Equal(got, seqs) {
		t.Errorf("events listed as ERROR quarantined = %v; want %v", got, seqs)
	}
	for _, seq := range seqs {
		rec, err := db.Get(ctx, seq)
		if err != nil || rec.Seq != seq || rec.Status != event.Error || rec.Reason != event.Quarantined || len(rec.Timeline) == 0 {
			t.Errorf("Get(%d) = %+v, %v; want ERROR quarantined", seq, rec, err)
		}
	}
}

func TestDamagedState(t *testing.T) {
	db := openDamaged(t, all(flipState(5), flipState(12), flipState(35)))
	for _, h := range []string{"h", "h2"} {
		if got := dueSeqs(t, db, h); !slices.Equal(got, undamaged(5, 12, 35)) {
			t.Errorf("due for %s: %v; want all but 5, 12 and 35", h, got)
		}
		if u, r := db.Waiting(h); u != 0 || r != 0 {
			t.Errorf("Waiting(%s) = %d, %d; want none", h, u, r)
		}
	}
	wantQuarantined(t, db, 3, 5, 12, 35)
	u := &event.Update{Seq: 5, Step: func(*event.State) (*event.Effects, error) {
		t.Error("a step of a damaged event was taken")
		return nil, nil
	}}
	if err := db.Update(ctx, u); err != nil || !errors.Is(u.Err, ErrQuarantined) {
		t.Errorf("Update of a damaged event: %v, %v; want %v", err, u.Err, ErrQuarantined)
	}
	again := newAdmission(event.Inbound, "id-04", "h")
	if accept(t, db, again); !again.Duplicate || again.Event.Seq != 5 {
		t.Errorf("a damaged event that arrives again: duplicate %t of %d; want true of 5", again.Duplicate, again.Event.Seq)
	}
	if found, err := db.Find(ctx, "id-04"); err != nil || len(found) != 1 || found[0].Reason != event.Quarantined {
		t.Errorf("Find of a damaged event = %+v, %v; want it quarantined", found, err)
	}
	// A filter that does not select what is damaged is not disturbed by it.
	if list, _, err := db.List(ctx, event.Filter{Status: event.InProgress}, event.Page{Limit: 1000}); err != nil || len(list) != 32 {
		t.Errorf("List IN_PROGRESS = %d, %v; want 32", len(list), err)
	}
	if list, _, err := db.List(ctx, event.Filter{Table: event.Inbound, Status: event.Error}, event.Page{Limit: 1000}); err != nil || len(list) != 3 {
		t.Errorf("List inbound ERROR = %d, %v; want the 3 damaged ones", len(list), err)
	}
	path := db.options.Path
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openUnsound(t, path)
	wantQuarantined(t, db, 3, 5, 12, 35)
}

// TestDamagedHeadOrPayload covers heads and payloads: the state is readable, so that the
// event ends as any other.
func TestDamagedHeadOrPayload(t *testing.T) {
	for _, bucket := range [][]byte{bucketHeads, bucketPayloads} {
		t.Run(string(bucket), func(t *testing.T) {
			db := openDamaged(t, all(flipInBlock(bucket, 5), flipInBlock(bucket, 12), flipInBlock(bucket, 35)))
			for i, h := range []string{"h", "h2"} {
				if got := dueSeqs(t, db, h); !slices.Equal(got, undamaged(5, 12, 35)) {
					t.Errorf("due for %s: %v; want all but 5, 12 and 35", h, got)
				}
				if u, r := db.Waiting(h); u != 0 || r != 0 {
					t.Errorf("Waiting(%s) = %d, %d; want none", h, u, r)
				}
				// With the first delivery parked the other is still to be handled.
				if n := db.Counts()[event.Inbound][event.Error]; n != 3*i {
					t.Errorf("after %s: %d events are ERROR; want %d", h, n, 3*i)
				}
			}
			wantQuarantined(t, db, 3, 5, 12, 35)
			if seqs, err := db.Parked(ctx, event.Error, 0, 100); err != nil || !slices.Equal(seqs, []uint64{5, 12, 35}) {
				t.Errorf("Parked = %v, %v; want 5, 12 and 35", seqs, err)
			}
			// A person may try again; that is no way around the damage.
			u := &event.Update{Seq: 12, Step: func(s *event.State) (*event.Effects, error) {
				s.Deliveries[0].Status, s.Deliveries[0].NextAttempt = event.Unprocessed, t0
				return nil, nil
			}}
			if err := errors.Join(db.Update(ctx, u), u.Err); err != nil {
				t.Fatal(err)
			}
			if got := dueSeqs(t, db, "h"); len(got) != 0 {
				t.Errorf("due after a redrive: %v; want none", got)
			}
			wantQuarantined(t, db, 3, 5, 12, 35)
		})
	}
}

func TestDamagedPayloadIsNotReturned(t *testing.T) {
	db := openDamaged(t, flipInBlock(bucketPayloads, 5))
	if b, err := db.Payload(ctx, 5); !errors.Is(err, ErrQuarantined) || len(b) > 0 {
		t.Errorf("Payload = %d bytes, %v; want %v", len(b), err, ErrQuarantined)
	}
	if rows, err := db.Payloads(ctx, 5); !errors.Is(err, ErrQuarantined) {
		t.Errorf("Payloads = %v, %v; want %v", rows, err, ErrQuarantined)
	}
	if b, err := db.Payload(ctx, 4); err != nil || len(b) != 700 {
		t.Errorf("Payload of the next = %d bytes, %v; want 700", len(b), err)
	}
}

func TestDamagedHeadIsFoundThroughTheIndex(t *testing.T) {
	db := openDamaged(t, flipInBlock(bucketHeads, 5)) // in a sealed segment
	found, err := db.Find(ctx, "id-04")
	if err != nil || len(found) != 1 || found[0].Seq != 5 || found[0].ID != "id-04" || found[0].Reason != event.Quarantined {
		t.Errorf("Find = %+v, %v; want event 5, quarantined", found, err)
	}
	if len(found) == 1 && len(found[0].Deliveries) != 2 {
		t.Errorf("Find = %d deliveries; want the 2 that its state knows", len(found[0].Deliveries))
	}
}

// TestRecoveryEndsWithDamagedStates walks what was in flight as a start does.
func TestRecoveryEndsWithDamagedStates(t *testing.T) {
	db := openDamaged(t, all(flipState(1), flipState(16), flipState(34), flipInBlock(bucketHeads, 4)))
	walk := func() (seqs []uint64) {
		for after := uint64(0); ; after = seqs[len(seqs)-1] {
			list, err := db.Inflight(ctx, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				return seqs
			}
			if seqs = append(seqs, list...); len(seqs) > 100 {
				t.Fatal("Inflight has no end")
			}
		}
	}
	for _, seq := range walk() {
		if _, err := db.Get(ctx, seq); err != nil {
			t.Errorf("Get(%d): %v; want it, quarantined or not", seq, err)
		}
		u := &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status, s.Deliveries[0].NextAttempt = event.Retry, t0
			return nil, nil
		}}
		if err := db.Update(ctx, u); err != nil {
			t.Fatal(err)
		}
		if damaged := slices.Contains([]uint64{1, 16, 34}, seq); damaged != errors.Is(u.Err, ErrQuarantined) || !damaged && u.Err != nil {
			t.Errorf("Update(%d): %v; damaged %t", seq, u.Err, damaged)
		}
	}
	if left := walk(); len(left) != 0 {
		t.Errorf("still in flight: %v; want none, so that no start meets them again", left)
	}
	got := dueSeqs(t, db, "h")
	slices.Sort(got)
	for _, seq := range []uint64{1, 4, 16, 34} {
		if slices.Contains(got, seq) {
			t.Errorf("damaged event %d was handed out", seq)
		}
	}
	if len(got) != 31 {
		t.Errorf("%d events were handed out; want the 31 sound ones", len(got))
	}
	info, err := db.Info(ctx)
	if err != nil || info.Quarantined != 4 {
		t.Errorf("Info.Quarantined = %d, %v; want 4", info.Quarantined, err)
	}
}

// TestParkedWithDamagedStates: who takes up what is parked meets a damaged
// event once.
func TestParkedWithDamagedStates(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	for i := range 6 {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", i))
		a.State.Status, a.State.Reason = event.Error, event.NoRoute
		accept(t, db, a)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	editStore(t, path, all(flipState(2), flipState(3)))
	db = openTest(t, path)
	for _, want := range [][]uint64{{1, 2, 3, 4, 5, 6}, {1, 4, 5, 6}} {
		seqs, err := db.Parked(ctx, event.Error, 0, 10)
		if err != nil || !slices.Equal(seqs, want) {
			t.Errorf("Parked = %v, %v; want %v", seqs, err, want)
		}
		for _, seq := range seqs {
			if err := db.Update(ctx, &event.Update{Seq: seq, Step: func(*event.State) (*event.Effects, error) { return nil, nil }}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantQuarantined(t, db, 2, 2, 3)
}

func TestDamagedNoteIsOneEntry(t *testing.T) {
	db := openDamaged(t, func(tx *bolt.Tx) error {
		return flip(segmentBucket(tx, 4).Bucket(bucketNotes), noteKey(4, 0), 100)
	})
	rec, err := db.Get(ctx, 4)
	if err != nil || rec.Status != event.InProgress || len(rec.Timeline) != 1 || rec.Timeline[0].Reason != event.Quarantined {
		t.Errorf("Get = %s %+v, %v; want IN_PROGRESS with a damaged entry", rec.Status, rec.Timeline, err)
	}
}

func TestDamagedPayloadRow(t *testing.T) {
	db := openDamaged(t, func(tx *bolt.Tx) error {
		return flip(segmentBucket(tx, 4).Bucket(bucketBodies), noteKey(4, 0), 9)
	})
	rows, err := db.Payloads(ctx, 4)
	if !errors.Is(err, ErrQuarantined) || len(rows) != 1 || len(rows[0].Body) != 700 {
		t.Errorf("Payloads = %d rows, %v; want the first and %v", len(rows), err, ErrQuarantined)
	}
}

// TestStaleScheduleIsIgnored puts entries into the schedule that no state
// knows: a queue must not hand out, or come back to, what they say.
func TestStaleScheduleIsIgnored(t *testing.T) {
	var stale [][]byte
	db := openDamaged(t, func(tx *bolt.Tx) error {
		id := uint32(binary.BigEndian.Uint64(firstKey(tx.Bucket(bucketNames))))
		for _, k := range [][]byte{
			dueKey(id, t0, 1, 0),                     // IN_PROGRESS
			dueKey(id, t0.Add(-time.Second), 2, 0),   // due at another time
			dueKey(id, t0, 2, 1),                     // of another handler
			dueKey(id, t0, 2, 7),                     // no such delivery
			dueKey(id, t0.Add(-time.Second), 999, 0), // no such event
			dueKey(id, t0.Add(-time.Second), 0, 0),
		} {
			stale = append(stale, k)
			if err := tx.Bucket(bucketDue).Put(k, []byte{byte(event.Unprocessed)}); err != nil {
				return err
			}
		}
		return nil
	})
	if got := dueSeqs(t, db, "h"); !slices.Equal(got, undamaged()) {
		t.Errorf("due: %v; want each waiting event once", got)
	}
	if u, r := db.Waiting("h"); u != 0 || r != 0 {
		t.Errorf("Waiting = %d, %d; want none", u, r)
	}
	wantQuarantined(t, db, 0)
	_ = db.view(ctx, func(r *snapshot) error {
		for _, k := range stale {
			if r.tx.Bucket(bucketDue).Get(k) != nil {
				t.Errorf("entry %x is still there", k)
			}
		}
		return nil
	})
}

// TestLostScheduleIsNotMissed takes an entry out of the schedule: a step of its
// event must take out no other, and count none.
func TestLostScheduleIsNotMissed(t *testing.T) {
	db := openDamaged(t, func(tx *bolt.Tx) error {
		id := uint32(binary.BigEndian.Uint64(firstKey(tx.Bucket(bucketNames))))
		return tx.Bucket(bucketDue).Delete(dueKey(id, t0, 5, 0))
	})
	before, _ := db.Waiting("h")
	u := &event.Update{Seq: 5, Step: func(s *event.State) (*event.Effects, error) {
		s.Deliveries[0].Status = event.InProgress
		return nil, nil
	}}
	if err := errors.Join(db.Update(ctx, u), u.Err); err != nil {
		t.Fatal(err)
	}
	if after, _ := db.Waiting("h"); after != before {
		t.Errorf("Waiting = %d; want %d as before", after, before)
	}
	if got := dueSeqs(t, db, "h"); !slices.Equal(got, undamaged(5)) {
		t.Errorf("due: %v; want all others", got)
	}
}

func firstKey(b *bolt.Bucket) []byte {
	k, _ := b.Cursor().First()
	return k
}
