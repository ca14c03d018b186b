package storage

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

func TestDamagedOutboxRows(t *testing.T) {
	row := func(id uint64) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error { return flip(tx.Bucket(bucketOutbox), key8(id), 9) }
	}
	// 70 rows, two of each event, the first with the event's payload. Row 9 is
	// of event 5.
	db := openDamaged(t, all(row(1), row(2), row(3), row(70), flipInBlock(bucketPayloads, 5)))
	damaged := []uint64{1, 2, 3, 9, 70}
	var got []uint64
	for after := uint64(0); ; after = got[len(got)-1] {
		rows, err := db.Outbox(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 1 && len(got)+1 < 65 { // a caller may take a short page for the last
			t.Errorf("Outbox behind %d = 1 row; want 2, as there are more", after)
		}
		if len(rows) == 0 {
			break
		}
		for _, p := range rows {
			got = append(got, p.ID)
		}
	}
	if len(got) != 65 || slices.ContainsFunc(damaged, func(id uint64) bool { return slices.Contains(got, id) }) {
		t.Errorf("Outbox = %v; want 65 rows, without %v", got, damaged)
	}
	info, err := db.Info(ctx)
	if err != nil || info.Outbox != 65 || info.Quarantined != 5 {
		t.Errorf("Info = %d in the outbox, %d quarantined, %v; want 65, 5", info.Outbox, info.Quarantined, err)
	}
	_ = db.view(ctx, func(r *snapshot) error {
		for _, id := range damaged {
			if r.tx.Bucket(bucketQuarantine).Get(outboxKey(id)) == nil || r.tx.Bucket(bucketOutbox).Get(key8(id)) != nil {
				t.Errorf("row %d is not under quarantine, or still in the outbox", id)
			}
		}
		return nil
	})
}

// TestDamagedCountsAreCountedAnew damages the info of each segment.
func TestDamagedCountsAreCountedAnew(t *testing.T) {
	for _, first := range []uint64{1, 31} {
		path := fillStore(t)
		db := openTest(t, path)
		want := db.Counts()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		editStore(t, path, func(tx *bolt.Tx) error { return flip(segmentBucket(tx, first), keyInfo, 7) })
		db = openTest(t, path)
		if got := db.Counts(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Counts = %v; want %v", got, want)
		}
		a := newAdmission(event.Inbound, "next", "h")
		if accept(t, db, a); a.Event.Seq != 36 {
			t.Errorf("the next event is %d; want 36", a.Event.Seq)
		}
		dueSeqs(t, db, "h") // with both, every segment's counts change and are written
		dueSeqs(t, db, "h2")
	}
}

// TestDamagedIndexIsMadeAnew damages the filter, or a block, of a sealed index:
// events are found and known again all the same.
func TestDamagedIndexIsMadeAnew(t *testing.T) {
	for name, harm := range map[string]func(tx *bolt.Tx) error{
		"filter":       func(tx *bolt.Tx) error { return flip(segmentBucket(tx, 1).Bucket(bucketFilter), keyFilter, 30) },
		"short filter": func(tx *bolt.Tx) error { return segmentBucket(tx, 1).Bucket(bucketFilter).Put(keyFilter, []byte{1}) },
		"no filter":    func(tx *bolt.Tx) error { return segmentBucket(tx, 1).DeleteBucket(bucketFilter) },
		"block": func(tx *bolt.Tx) error {
			b := segmentBucket(tx, 1).Bucket(bucketIDs)
			k, _ := b.Cursor().First()
			return flip(b, bytes.Clone(k), 9)
		},
		"no blocks": func(tx *bolt.Tx) error { return segmentBucket(tx, 1).DeleteBucket(bucketIDs) },
	} {
		t.Run(name, func(t *testing.T) {
			path := fillStore(t)
			editStore(t, path, harm)
			db, err := Open(Options{Path: path, segmentEvents: 10})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for i := range 35 {
				id := fmt.Sprintf("id-%02d", i)
				if found, err := db.Find(ctx, id); err != nil || len(found) != 1 || found[0].Seq != uint64(i+1) {
					t.Errorf("Find(%s) = %+v, %v; want event %d", id, found, err, i+1)
				}
				again := newAdmission(event.Inbound, id, "h")
				if accept(t, db, again); !again.Duplicate || again.Event.Seq != uint64(i+1) {
					t.Errorf("%s is stored again as %d, duplicate %t", id, again.Event.Seq, again.Duplicate)
				}
			}
			list, _, err := db.List(ctx, event.Filter{CorrelationID: "conversation"}, event.Page{Limit: 100})
			if err != nil || len(list) != 35 {
				t.Errorf("List of the conversation = %d, %v; want 35", len(list), err)
			}
			if strings.Contains(name, "filter") { // then it is written again
				awaitSealed(t, db)
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				checkFile(t, path)
			}
		})
	}
}

func TestDamagedPositionIsNone(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	want := event.Position{Stream: "S", Sequence: 7, Stored: t0}
	if err := db.SavePosition(ctx, "src", want); err != nil {
		t.Fatal(err)
	}
	if got := db.LastPosition("src"); got != want {
		t.Errorf("LastPosition = %v; want %v", got, want)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	editStore(t, path, func(tx *bolt.Tx) error { return flip(tx.Bucket(bucketSources), []byte("src"), 8) })
	if r, err := Check(ctx, CommandOptions{Path: path}); err != nil || r.Damages != 1 || r.Problems[0] != "position of source src: damaged record" {
		t.Errorf("Check = %+v, %v; want the damaged position", r, err)
	}
	db = openTest(t, path)
	if got := db.LastPosition("src"); !got.IsZero() {
		t.Errorf("LastPosition of a damaged record = %v; want none", got)
	}
	if err := db.SavePosition(ctx, "src", want); err != nil {
		t.Fatal(err)
	}
}
