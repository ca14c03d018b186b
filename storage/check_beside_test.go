package storage

import (
	"slices"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// besideStore makes a file with working data beside events 1, of conversation c1,
// and 12, of c2, and with requests 2 and 13 that await their responses; 14 is one.
func besideStore(t *testing.T) string {
	t.Helper()
	path := storePath(t)
	db, err := Open(Options{Path: path, segmentEvents: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 15; i++ {
		a := newAdmission(event.Request, "q"+string(rune('a'+i)), "h")
		if i == 14 {
			a = newAdmission(event.Response, "response", "h")
		}
		a.Event.CorrelationID = map[bool]string{true: "c1", false: "c2"}[i < 12]
		accept(t, db, a)
	}
	for _, id := range []string{"c1", "c2"} {
		if _, err := db.AmendWorkingData(ctx, id, "h", func(event.Document) ([]byte, error) { return []byte(`{"of":"` + id + `"}`), nil }); err != nil {
			t.Fatal(err)
		}
	}
	send(t, db, 2, t0)
	send(t, db, 13, t0)
	awaitSealed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	checkFile(t, path)
	return path
}

// TestCheckFindsBesideEvents damages working data and the index of what awaits a
// response in each way, and wants it named.
func TestCheckFindsBesideEvents(t *testing.T) {
	working := func(first uint64, f func(b *bolt.Bucket) error) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error { return f(segmentBucket(tx, first).Bucket(bucketWorking)) }
	}
	awaiting := func(f func(b *bolt.Bucket, k []byte) error) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketAwaiting)
			k, _ := b.Cursor().First()
			return f(b, slices.Clone(k))
		}
	}
	handler := func(k []byte) uint32 { return uint32(k[3]) }
	value := func(b *bolt.Bucket, k []byte) []byte { return slices.Clone(b.Get(k)) }
	for _, c := range []struct {
		name  string
		harm  func(tx *bolt.Tx) error
		words string
	}{
		{"document", working(1, func(b *bolt.Bucket) error { return flip(b, key8(1), 9) }), "working data beside event 1: damaged record"},
		{"document of no event", working(1, func(b *bolt.Bucket) error { return b.Put(key8(4711), value(b, key8(1))) }), "segment 1: working data of event 4711, which is not there"},
		{"document without number", working(1, func(b *bolt.Bucket) error { return b.Put([]byte("?"), value(b, key8(1))) }), "segment 1: working data of no event"},
		{"document of others", func(tx *bolt.Tx) error {
			v := slices.Clone(segmentBucket(tx, 1).Bucket(bucketWorking).Get(key8(1)))
			return segmentBucket(tx, 11).Bucket(bucketWorking).Put(key8(15), v)
		}, `working data beside event 15 is of another conversation, "c1"`},
		{"two documents", working(1, func(b *bolt.Bucket) error { return b.Put(key8(3), value(b, key8(1))) }), `conversation "c1" has working data beside event 1 and event 3`},
		{"document without version", working(1, func(b *bolt.Bucket) error {
			v, err := encodeDocument(&event.Document{CorrelationID: "c1"})
			if err != nil {
				return err
			}
			return b.Put(key8(1), v)
		}), `working data of "c1" has version 0`},
		{"awaits since when", awaiting(func(b *bolt.Bucket, k []byte) error { return flip(b, k, 9) }), "event 2: since when it awaits a response is damaged"},
		{"awaits and no event", awaiting(func(b *bolt.Bucket, k []byte) error { return b.Put(awaitingKey(handler(k), 4711, 0), value(b, k)) }), "event 4711 is in the index awaiting, and not there"},
		{"awaits for no handler", awaiting(func(b *bolt.Bucket, k []byte) error { return b.Put(awaitingKey(99, 2, 0), value(b, k)) }), "event 2 is in the index awaiting for a delivery that it has not"},
		{"awaits with no delivery", awaiting(func(b *bolt.Bucket, k []byte) error { return b.Put(awaitingKey(handler(k), 2, 7), value(b, k)) }), "event 2 is in the index awaiting for a delivery that it has not"},
		{"awaits and was not sent", awaiting(func(b *bolt.Bucket, k []byte) error { return b.Put(awaitingKey(handler(k), 3, 0), value(b, k)) }), "event 3 is in the index awaiting, and its delivery to h is UNPROCESSED"},
		{"awaits since another time", awaiting(func(b *bolt.Bucket, k []byte) error {
			return b.Put(k, sealed(slices.Concat(key8(1), key8(2))))
		}), "event 2 has another creation in the index awaiting"},
		{"awaits without key", awaiting(func(b *bolt.Bucket, k []byte) error { return b.Put([]byte("?"), nil) }), "the index awaiting has a key of 1 bytes"},
		{"awaits and is answered", func(tx *bolt.Tx) error { return renameHead(tx, 14, "qc") }, "event 2 is in the index awaiting, and event 14 is its response"},
		{"no place in a segment", func(tx *bolt.Tx) error { _, err := segmentBucket(tx, 1).CreateBucket([]byte("other")); return err }, `segment 1: "other" has no place in it`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := besideStore(t)
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

// renameHead gives an event of a block of its own another id.
func renameHead(tx *bolt.Tx, seq uint64, id string) error {
	b := segmentBucket(tx, 11).Bucket(bucketHeads)
	h, err := blockRecord(b.Get(key8(seq)), 0)
	if err != nil {
		return err
	}
	e, err := decodeHead(seq, h)
	if err != nil {
		return err
	}
	e.ID = id
	if h, err = encodeHead(e); err != nil {
		return err
	}
	x := block{}
	x.add(seq, h)
	return b.Put(key8(seq), x.encode())
}
