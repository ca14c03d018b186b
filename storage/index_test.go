package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// writeIndex puts the sealed index of some entries into a bucket of a new file.
func writeIndex(t testing.TB, entries []idEntry) (*bolt.DB, *sealedIndex) {
	t.Helper()
	b, err := bolt.Open(storePath(t), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	index, filter, err := seal(slices.Clone(entries))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !filter.Contains(e.hash) {
			t.Errorf("the filter does not know %x", e.hash)
		}
	}
	if err := b.Update(func(tx *bolt.Tx) error {
		s, err := tx.CreateBucket([]byte("segment"))
		if err != nil {
			return err
		}
		ids, err := s.CreateBucket(bucketIDs)
		if err != nil {
			return err
		}
		return index.write(ids)
	}); err != nil {
		t.Fatal(err)
	}
	return b, index
}

// wantLookups compares the lookups of some hashes with a plain search.
func wantLookups(t testing.TB, b *bolt.DB, entries []idEntry, hashes []uint64) {
	t.Helper()
	_ = b.View(func(tx *bolt.Tx) error {
		for _, h := range hashes {
			var want []uint32
			for _, e := range entries {
				if e.hash == h {
					want = append(want, e.offset)
				}
			}
			got, err := lookupSealed(tx.Bucket([]byte("segment")), h, nil)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("lookup of %x = %d offsets, %v; want %d", h, len(got), err, len(want))
			}
		}
		return nil
	})
}

// TestLookupOfManyEqualHashes covers a hash that fills blocks, begins and ends
// within them, and those beside it.
func TestLookupOfManyEqualHashes(t *testing.T) {
	for _, equal := range []int{1, 2, idsPerBlock - 1, idsPerBlock, idsPerBlock + 1, 3 * idsPerBlock, 5*idsPerBlock + 7} {
		for _, before := range []int{0, 1, idsPerBlock - 1, idsPerBlock, idsPerBlock + 5} {
			for _, after := range []int{0, 1, idsPerBlock} {
				var entries []idEntry
				for i := range before {
					entries = append(entries, idEntry{uint64(10 + i), uint32(i)})
				}
				for i := range equal {
					entries = append(entries, idEntry{1 << 32, uint32(i)})
				}
				for i := range after {
					entries = append(entries, idEntry{1<<32 + 5 + uint64(i), uint32(i)})
				}
				b, _ := writeIndex(t, entries)
				wantLookups(t, b, entries, []uint64{
					0, 9, 10, 11, 9 + uint64(before), 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<32 + 5, 1<<32 + 4 + uint64(after), 1 << 63, ^uint64(0),
				})
			}
		}
	}
}

func TestLookupFindsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		span := rapid.SampledFrom([]uint64{3, 50, 1 << 60}).Draw(r, "span")
		hashes := rapid.SliceOfN(rapid.Uint64Range(0, span), 1, 4*idsPerBlock).Draw(r, "hashes")
		x := newOpenIndex()
		for i, h := range hashes {
			x.add(h, uint32(i))
		}
		entries := x.sorted()
		for _, h := range hashes[:min(len(hashes), 20)] {
			if !x.holds(h) {
				r.Fatalf("the open index does not hold %x", h)
			}
			var want []uint32
			for i := range hashes {
				if hashes[i] == h {
					want = append(want, uint32(i))
				}
			}
			if got := x.lookup(h, nil); !slices.Equal(got, want) {
				r.Fatalf("open lookup of %x = %v; want %v", h, got, want)
			}
		}
		b, _ := writeIndex(t, entries)
		wantLookups(t, b, entries, append(hashes[:min(len(hashes), 50)], 0, span/2, span, span+1))
		_ = b.Close()
	})
}

// TestIndexOfAnySize: a segment may be closed by its age with a single event.
func TestIndexOfAnySize(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 10, idsPerBlock, 1000} {
		var entries []idEntry
		for i := range n {
			entries = append(entries, idEntry{hashID([]byte(fmt.Sprint(i))), uint32(i)})
		}
		slices.SortFunc(entries, func(a, b idEntry) int { // as openIndex.sorted does
			if a.hash < b.hash {
				return -1
			}
			return 1
		})
		_, index := writeIndex(t, entries)
		filter, err := loadFilter(index.filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !filter.Contains(e.hash) {
				t.Errorf("the filter of %d ids, read again, does not know %x", n, e.hash)
			}
		}
	}
}

// TestSealingBesideAReader: a reader that began before the index of a segment
// was written does not see it; one that has the map must not need it.
func TestSealingBesideAReader(t *testing.T) {
	db := openTest(t, storePath(t))
	for i := range 10 {
		accept(t, db, newAdmission(event.Inbound, fmt.Sprint("id-", i), "h"))
	}
	hash := hashID([]byte("id-3"))
	places := db.places(hash)
	if err := db.view(ctx, func(r *snapshot) error {
		accept(t, db, newAdmission(event.Inbound, "id-10", "h")) // the first segment is full
		awaitSealed(t, db)
		if got := r.seqs(places, hash); !slices.Equal(got, []uint64{4}) {
			t.Errorf("seqs = %v; want event 4", got)
		}
		if r.tx.Bucket(bucketSegments).Bucket(key8(1)).Bucket(bucketIDs) != nil {
			t.Error("the reader sees the index; the test does not test what it should")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if db.segmentList()[0].open.Load() != nil {
		t.Fatal("the index was rebuilt in memory")
	}
	found, err := db.Find(ctx, "id-3")
	if err != nil || len(found) != 1 || found[0].Seq != 4 {
		t.Errorf("Find = %+v, %v; want event 4", found, err)
	}
}

// TestFullSegmentsAreSealedAtTheNextStart: the store was closed, or killed,
// between the last event of a segment and its index.
func TestFullSegmentsAreSealedAtTheNextStart(t *testing.T) {
	path := fillStore(t)
	editStore(t, path, func(tx *bolt.Tx) error {
		for _, first := range []uint64{1, 21} {
			s := tx.Bucket(bucketSegments).Bucket(key8(first))
			if err := errors.Join(s.DeleteBucket(bucketIDs), s.DeleteBucket(bucketFilter)); err != nil {
				return err
			}
		}
		return nil
	})
	db := openTest(t, path)
	awaitSealed(t, db)
	if found, err := db.Find(ctx, "id-20"); err != nil || len(found) != 1 {
		t.Errorf("Find = %+v, %v; want one", found, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_ = b.View(func(tx *bolt.Tx) error {
		for _, first := range []uint64{1, 11, 21} {
			if tx.Bucket(bucketSegments).Bucket(key8(first)).Bucket(bucketFilter) == nil {
				t.Errorf("segment %d is not sealed", first)
			}
		}
		return nil
	})
}

// TestSegmentIsFullByItsAge closes segments that hold less than they could.
func TestSegmentIsFullByItsAge(t *testing.T) {
	now := time.Now().UTC()
	for _, c := range []struct {
		events  uint32
		created time.Time
		want    bool
	}{
		{0, now.Add(-7 * time.Hour), false}, // a segment without events has no place behind it
		{1, now.Add(-segmentAge - time.Second), true},
		{9, now.Add(-segmentAge + time.Minute), false},
		{10, now, true},
		{1, now.Add(time.Hour), false}, // the clock was set back
	} {
		s := &segment{info: segmentInfo{events: c.events, created: micros(c.created)}}
		if got := s.full(now, &Options{segmentEvents: 10, age: segmentAge}); got != c.want {
			t.Errorf("segment of %d events, %s old: full %t; want %t", c.events, now.Sub(c.created), got, c.want)
		}
	}
}

// TestBlocksAreBounded stores large payloads and heads in one group, with
// repetitions of events whose block is not written yet, just written, and in
// the segment before.
func TestBlocksAreBounded(t *testing.T) {
	path := filepath.Join(filepath.Dir(storePath(t)), "blocks.db")
	db := openTest(t, path, func(o *Options) { o.segmentEvents = 4 })
	var list []*event.Admission
	for i := range 9 {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		a.Payload = make([]byte, 600_000)
		a.Payload[0] = byte(i)
		a.Event.Headers = map[string]string{"large": string(make([]byte, 300_000))}
		list = append(list, a)
		for k := range i {
			list = append(list, newAdmission(event.Inbound, fmt.Sprint("id-", k), "h"))
		}
	}
	accept(t, db, list...)
	n := uint64(0)
	for _, a := range list {
		if a.Duplicate != (len(a.Payload) < 1000) {
			t.Errorf("%s: duplicate %t", a.Event.ID, a.Duplicate)
		}
		if !a.Duplicate {
			n++
			if body, err := db.Payload(ctx, n); err != nil || len(body) != 600_000 || body[0] != byte(n-1) {
				t.Errorf("Payload(%d) = %d bytes, %v", n, len(body), err)
			}
		}
	}
	_ = db.view(ctx, func(r *snapshot) error {
		for _, s := range db.segmentList() {
			b, err := r.segment(s)
			if err != nil {
				return err
			}
			_ = b.payloads.ForEach(func(k, v []byte) error {
				if n, err := blockCount(v); err != nil || n > 1 && len(v) > maxBlock {
					t.Errorf("block %x has %d bytes of %d events, %v", k, len(v), n, err)
				}
				return nil
			})
		}
		return nil
	})
}
