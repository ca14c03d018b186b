package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// TestCheckFinds makes one thing after the other not fit, and wants it named.
func TestCheckFinds(t *testing.T) {
	in := func(name []byte, f func(b *bolt.Bucket) error) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error { return f(tx.Bucket(name)) }
	}
	drop := func(b *bolt.Bucket) error { k, _ := b.Cursor().First(); return b.Delete(k) }
	of := func(name []byte, f func(b *bolt.Bucket) error) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error { return f(segmentBucket(tx, 11).Bucket(name)) }
	}
	for _, c := range []struct {
		name  string
		harm  func(tx *bolt.Tx) error
		words string
	}{
		{"not scheduled", in(bucketDue, drop), "is missing in the index due"},
		{"scheduled for no event", in(bucketDue, func(b *bolt.Bucket) error { return b.Put(dueKey(0, t0, 4711, 0), []byte{1}) }), "the index due has 1 keys that belong to no event"},
		{"scheduled with another status", in(bucketDue, func(b *bolt.Bucket) error {
			k, _ := b.Cursor().First()
			return b.Put(k, []byte{byte(event.Retry)})
		}), "has another status in the index due"},
		{"not in flight", in(bucketInflight, drop), "is missing in the index inflight"},
		{"in flight and no event", in(bucketInflight, func(b *bolt.Bucket) error { return b.Put(deliveryKey(2, 9), []byte{}) }), "the index inflight has 1 keys"},
		{"parked and no event", in(bucketParked, func(b *bolt.Bucket) error { return b.Put(parkedKey(event.Failed, 2), []byte{}) }), "the index parked has 1 keys"},
		{"outbox row", in(bucketOutbox, func(b *bolt.Bucket) error { return flip(b, key8(3), 7) }), "outbox row 3: damaged record"},
		{"outbox row of no event", in(bucketOutbox, func(b *bolt.Bucket) error {
			v, err := encodePublication(&dumpPublication{ID: 99, Seq: 4711, Subject: "s"})
			return errors.Join(err, b.Put(key8(99), v))
		}), "outbox row 99: event 4711"},
		{"state", of(bucketStates, func(b *bolt.Bucket) error { return flip(b, key8(12), 20) }), "state of event 12: damaged record"},
		{"state too many", of(bucketStates, func(b *bolt.Bucket) error { return b.Put(key8(99), []byte("?")) }), "segment 11: 11 states of 10 events"},
		{"head", of(bucketHeads, func(b *bolt.Bucket) error { return flip(b, key8(11), 60) }), "head of event 11: damaged record"},
		{"payload", of(bucketPayloads, func(b *bolt.Bucket) error { return flip(b, key8(11), 100) }), "payloads of event 11: damaged record"},
		{"payloads of no event", of(bucketPayloads, func(b *bolt.Bucket) error {
			k, v := b.Cursor().Last()
			return b.Put(key8(binary.BigEndian.Uint64(k)+100), v)
		}), "payloads of 110 events; want 10 at most"},
		{"payload row", of(bucketBodies, func(b *bolt.Bucket) error { return flip(b, noteKey(13, 0), 6) }), "payloads of event 13: damaged record"},
		{"payload row of no event", of(bucketBodies, func(b *bolt.Bucket) error { return b.Put(noteKey(4711, 0), []byte{}) }), "segment 11: bodies of event 4711"},
		{"timeline", of(bucketNotes, func(b *bolt.Bucket) error { return flip(b, noteKey(13, 0), 9) }), "entry 0 of the timeline of event 13: damaged record"},
		{"timeline too long", of(bucketNotes, func(b *bolt.Bucket) error { return b.Put(noteKey(13, 1), []byte{}) }), "event 13 has more than 1 entries"},
		{"ids", of(bucketIDs, drop), "segment 11: its index of ids has 0 entries that are not the 20"},
		{"block of ids", of(bucketIDs, func(b *bolt.Bucket) error { k, _ := b.Cursor().First(); return flip(b, k, 30) }), "a block of its index of ids is damaged"},
		{"filter", of(bucketFilter, func(b *bolt.Bucket) error { return flip(b, keyFilter, 30) }), "segment 11: filter: damaged record"},
		{"filter of others", func(tx *bolt.Tx) error {
			return segmentBucket(tx, 11).Bucket(bucketFilter).Put(keyFilter, slices.Clone(segmentBucket(tx, 1).Bucket(bucketFilter).Get(keyFilter)))
		}, "segment 11: the filter does not know event"},
		{"counts", func(tx *bolt.Tx) error {
			info, err := decodeInfo(segmentBucket(tx, 11).Get(keyInfo))
			info.counts[0][0]++
			return errors.Join(err, segmentBucket(tx, 11).Put(keyInfo, info.encode()))
		}, "segment 11: its counts are not those of its 10 events"},
		{"info", func(tx *bolt.Tx) error { return segmentBucket(tx, 11).Put(keyInfo, []byte("?")) }, "segment 11: info: damaged record"},
		{"no index", func(tx *bolt.Tx) error { return segmentBucket(tx, 11).DeleteBucket(bucketFilter) }, "segment 11: no bucket filter"},
		{"no part", func(tx *bolt.Tx) error { return segmentBucket(tx, 11).DeleteBucket(bucketNotes) }, "segment 11: no bucket notes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fillStore(t)
			editStore(t, path, c.harm)
			before := digest(t, path)
			r, err := Check(ctx, CommandOptions{Path: path})
			if err != nil || r.Clean() || !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, c.words) }) {
				t.Errorf("Check = %+v, %v; want %q", r, err, c.words)
			}
			if digest(t, path) != before {
				t.Error("the file was changed")
			}
		})
	}
}

// TestCheckOfASoundStore tells what is in it.
func TestCheckOfASoundStore(t *testing.T) {
	path := fillStore(t)
	stages := map[string]bool{}
	r, err := Check(ctx, CommandOptions{Path: path, Progress: func(stage string, done, total int64) {
		if stages[stage] = true; done > total || total == 0 {
			t.Errorf("%s: %d of %d", stage, done, total)
		}
	}})
	if err != nil || !r.Clean() || r.Events != 35 || r.Segments != 4 || r.Outbox != 70 || r.StoreID == "" || !stages["pages"] ||
		r.Counts[event.Inbound][event.Unprocessed] != 23 || r.Counts[event.Inbound][event.InProgress] != 12 || r.Counts[event.Request][event.Failed] != 0 {
		t.Errorf("Check = %+v, %v", r, err)
	}
	fi, err := os.Stat(path)
	if err != nil || r.Size != fi.Size() || r.Free <= 0 || r.Free >= r.Size {
		t.Errorf("%d bytes, %d free; want %d, and some of them", r.Size, r.Free, fi.Size())
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := Check(ended, CommandOptions{Path: path}); !errors.Is(err, context.Canceled) {
		t.Errorf("Check: %v; want %v", err, context.Canceled)
	}
}

// TestCheckListsWhatIsQuarantined, which is no damage any more.
func TestCheckListsWhatIsQuarantined(t *testing.T) {
	path := fillStore(t)
	editStore(t, path, func(tx *bolt.Tx) error {
		return errors.Join(
			flip(segmentBucket(tx, 2).Bucket(bucketStates), key8(2), 20),
			flip(tx.Bucket(bucketOutbox), key8(3), 7),
		)
	})
	if r, err := Check(ctx, CommandOptions{Path: path}); err != nil || r.Damages != 2 {
		t.Fatalf("Check = %+v, %v; want 2 damages", r, err)
	}
	db, err := Open(Options{Path: path, segmentEvents: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: t0, Limit: 100, Bytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Due(ctx, event.DueQuery{Handler: "h2", Now: t0, Limit: 100, Bytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Outbox(ctx, 0, 100); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Check(ctx, CommandOptions{Path: path})
	if err != nil || !r.Clean() || len(r.Quarantined) != 2 {
		t.Fatalf("Check = %+v, %v; want no damage and two under quarantine", r, err)
	}
	if q := r.Quarantined; q[0].Seq != 2 || q[0].ID != "id-01" || !strings.Contains(q[0].Why, "damaged record") || q[1].Outbox != 3 {
		t.Errorf("quarantined = %+v; want event 2, id-01, and outbox row 3", q)
	}
}

// TestCheckFindsPages that are lost, or free and in use.
func TestCheckFindsPages(t *testing.T) {
	path := deepStore(t)
	leaf := pagesOf(t, path, flagLeaf)[5]
	writeFreelist(t, path, leaf)
	r, err := Check(ctx, CommandOptions{Path: path})
	if err != nil || !strings.Contains(strings.Join(r.Problems, "\n"), "1 pages are in use and in the list of free pages") {
		t.Errorf("Check = %+v, %v; want a page that is free and in use", r, err)
	}
	writeFreelist(t, path)
	r, err = Check(ctx, CommandOptions{Path: path})
	if err != nil || !strings.Contains(strings.Join(r.Problems, "\n"), "pages are neither in use nor free") {
		t.Errorf("Check = %+v, %v; want pages that nobody has", r, err)
	}
}
