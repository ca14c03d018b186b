package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/FastFilter/xorfilter"
	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// TestNarrowFilter: a segment that was sealed with a filter of eight bits is as good
// as another.
func TestNarrowFilter(t *testing.T) {
	path := storePath(t)
	small := func(o *Options) { o.segmentEvents = 10 }
	db := openTest(t, path, small)
	for i := range 25 {
		accept(t, db, newAdmission(event.Inbound, fmt.Sprint("id-", i), "h"))
	}
	awaitSealed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	editStore(t, path, func(tx *bolt.Tx) error {
		b := segmentBucket(tx, 1).Bucket(bucketFilter)
		var hashes []uint64
		for i := range 10 {
			hashes = append(hashes, hashID(fmt.Append(nil, "id-", i)))
		}
		narrow, err := xorfilter.NewBinaryFuse[uint8](hashes)
		if err != nil {
			return err
		}
		var buf bytes.Buffer
		if err := narrow.Save(&buf); err != nil {
			return err
		}
		if err := b.Put(keyNarrow, append(binary.LittleEndian.AppendUint32(nil, checksum(buf.Bytes())), buf.Bytes()...)); err != nil {
			return err
		}
		return b.Delete(keyFilter)
	})
	checkFile(t, path)
	db = openTest(t, path, small)
	list := db.segmentList()
	if f := list[0].ids.Load(); list[0].open.Load() != nil || f == nil || f.narrow == nil || list[1].ids.Load().wide == nil {
		t.Fatalf("the filters are %+v, %+v; want a narrow one and a wide one", f, list[1].ids.Load())
	}
	for _, id := range []string{"id-3", "id-13"} {
		found, err := db.Find(ctx, id)
		if err != nil || len(found) != 1 {
			t.Errorf("Find(%s) = %d events, %v; want it", id, len(found), err)
		}
		a := newAdmission(event.Inbound, id, "h")
		accept(t, db, a)
		if !a.Duplicate {
			t.Errorf("%s is stored twice", id)
		}
	}
}
