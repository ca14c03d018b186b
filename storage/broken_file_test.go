package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// fillStore makes a store with sealed segments and everything in it, closed.
func fillStore(t testing.TB) (path string) {
	t.Helper()
	path = storePath(t)
	db, err := Open(Options{Path: path, segmentEvents: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		var list []*event.Admission
		for k := range 5 {
			a := newAdmission(event.Inbound, fmt.Sprintf("id-%02d", 5*i+k), "h", "h2")
			a.Payload = bytes.Repeat([]byte{byte(i)}, 700)
			a.Event.CorrelationID = "conversation"
			a.Outbox = []event.Publication{{Subject: "s"}, {Subject: "s", Body: []byte("own")}}
			list = append(list, a)
		}
		accept(t, db, list...)
	}
	var updates []*event.Update
	for seq := uint64(1); seq <= 35; seq += 3 {
		updates = append(updates, &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.InProgress
			s.Deliveries[1].Status = event.Error
			s.Timeline = append(s.Timeline, event.Entry{At: t0, Status: event.Error, Detail: strings.Repeat("d", 5000)})
			return &event.Effects{Sent: []event.Payload{{Topic: "T", Body: []byte("sent"), CreatedAt: t0}}}, nil
		}})
	}
	if err := db.Update(ctx, updates...); err != nil {
		t.Fatal(err)
	}
	// The second index is put in a commit of its own: wait for it.
	awaitSealed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	checkFile(t, path)
	return path
}

// awaitSealed waits until all full segments have let go of their maps.
func awaitSealed(t testing.TB, db *DB) {
	t.Helper()
	await(t, "full segments to be sealed", func() bool {
		list := db.segmentList()
		for i := 0; i+1 < len(list); i++ {
			if list[i].open.Load() != nil {
				return false
			}
		}
		return true
	})
}

// await polls until a condition holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20s for %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func digest(t testing.TB, path string) [sha256.Size]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// metaOf returns what the newest meta page of a file says.
func metaOf(t testing.TB, path string) fileMeta {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, valid := newestMeta(f)
	if valid != 2 {
		t.Fatalf("%d valid meta pages; want 2", valid)
	}
	return m
}

// overwrite puts bytes into a file.
func overwrite(t testing.TB, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// editStore changes a closed store through bbolt.
func editStore(t testing.TB, path string, edit func(tx *bolt.Tx) error) {
	t.Helper()
	b, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Update(edit), b.Close()); err != nil {
		t.Fatal(err)
	}
}

const testPage = 4096

func zeroPage(t testing.TB, path string, id uint64) {
	overwrite(t, path, int64(id)*testPage, make([]byte, testPage))
}

// writeFreelist puts another list of free pages in the place of the one there.
func writeFreelist(t testing.TB, path string, ids ...uint64) {
	m := metaOf(t, path)
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(ids)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint64(b, id)
	}
	overwrite(t, path, int64(m.freelist)*testPage+10, b)
}

// noLists rewrites both meta pages as bbolt does for a file without free list.
func noLists(t *testing.T, path string) {
	for id := range int64(2) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		meta := b[id*testPage+pageHeader:][:metaSize]
		binary.LittleEndian.PutUint64(meta[32:], noFreelist)
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:metaSize-8])
		binary.LittleEndian.PutUint64(meta[56:], sum.Sum64())
		overwrite(t, path, id*testPage+pageHeader, meta)
	}
}

// brokenFile is a way to break a store, and how opening it is refused then.
type brokenFile struct {
	name  string
	do    func(t *testing.T, path string)
	want  error
	words string
}

func truncateTo(size int64) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}

func replaceBy(text string) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func editBy(f func(tx *bolt.Tx) error) func(t *testing.T, path string) {
	return func(t *testing.T, path string) { editStore(t, path, f) }
}

func foreignStore(o bolt.Options) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		_ = os.Remove(path)
		o.Timeout = time.Second
		b, err := bolt.Open(path, 0o600, &o)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("key"))
			return err
		}), b.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// brokenPages are harms to the pages of a store that uses that many bytes.
func brokenPages(used int64) []brokenFile {
	return []brokenFile{
		{"empty", truncateTo(0), ErrCorrupt, "is empty; remove it"},
		{"one byte", truncateTo(1), ErrCorrupt, "not an eventd store"},
		{"part of the first page", truncateTo(100), ErrCorrupt, "not an eventd store"},
		{"one page", truncateTo(testPage), ErrCorrupt, "not an eventd store"},
		{"a page and a half", truncateTo(testPage * 3 / 2), ErrCorrupt, "not an eventd store"},
		{"two pages", truncateTo(2 * testPage), ErrCorrupt, "truncated: 8192 bytes"},
		{"half", truncateTo(used / 2), ErrCorrupt, "truncated"},
		{"all but a byte", truncateTo(used - 1), ErrCorrupt, "truncated"},
		{"short text", replaceBy("hello\n"), ErrCorrupt, "not an eventd store"},
		{"long text", replaceBy(strings.Repeat("hello\n", 10_000)), ErrCorrupt, "not an eventd store"},
		{"zeros", replaceBy(string(make([]byte, 1<<16))), ErrCorrupt, "not an eventd store"},
		{"both meta pages", func(t *testing.T, path string) { zeroPage(t, path, 0); zeroPage(t, path, 1) }, ErrCorrupt, "not an eventd store"},
		{"root page", func(t *testing.T, path string) { zeroPage(t, path, metaOf(t, path).root) }, ErrCorrupt, "root page"},
		{"list of free pages", func(t *testing.T, path string) { zeroPage(t, path, metaOf(t, path).freelist) }, ErrCorrupt, "list of free pages"},
		{"free page outside the file", func(t *testing.T, path string) { writeFreelist(t, path, 2, 1<<40) }, ErrCorrupt, "list of free pages"},
		{"free meta page", func(t *testing.T, path string) { writeFreelist(t, path, 1) }, ErrCorrupt, "list of free pages"},
		{"free root page", func(t *testing.T, path string) { writeFreelist(t, path, metaOf(t, path).root) }, ErrCorrupt, "list of free pages"},
		{"page free twice", func(t *testing.T, path string) { writeFreelist(t, path, 2, 2) }, ErrCorrupt, "list of free pages"},
		{"more free pages than fit", func(t *testing.T, path string) {
			overwrite(t, path, int64(metaOf(t, path).freelist)*testPage+10, []byte{0xfe, 0xff, 0, 0, 0, 0})
		}, ErrCorrupt, "list of free pages"},
		{"more free pages than can be", func(t *testing.T, path string) {
			overwrite(t, path, int64(metaOf(t, path).freelist)*testPage+10, []byte{0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
		}, ErrCorrupt, "list of free pages"},
		{"list longer than the file", func(t *testing.T, path string) {
			overwrite(t, path, int64(metaOf(t, path).freelist)*testPage+12, []byte{0xff, 0xff, 0xff, 0xff})
		}, ErrCorrupt, "list of free pages"},
	}
}

// brokenContents are harms to what whole pages say.
func brokenContents() []brokenFile {
	return []brokenFile{
		{"another application", foreignStore(bolt.Options{}), ErrCorrupt, "another application"},
		{"another application without free list", foreignStore(bolt.Options{NoFreelistSync: true}), ErrCorrupt, "another application"},
		{"ours without free list", noLists, ErrCorrupt, "not written by eventd"},
		{"another name", editBy(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyApplication, []byte("eventx")) }), ErrCorrupt, "another application"},
		{"newer schema", editBy(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, key8(Schema+1)) }), ErrNewer, "schema 2, this program knows up to 1"},
		{"no schema", editBy(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keySchema) }), ErrCorrupt, "schema"},
		{"schema 0", editBy(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, key8(0)) }), ErrCorrupt, "schema"},
		{"missing bucket", editBy(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketDue) }), ErrCorrupt, "no bucket due"},
		{"missing part of a segment", editBy(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketSegments).Bucket(key8(11)).DeleteBucket(bucketHeads)
		}), ErrCorrupt, "segment 11 is incomplete"},
		{"damaged name of a handler", editBy(func(tx *bolt.Tx) error { return tx.Bucket(bucketNames).Put(key8(0), []byte("h")) }), ErrCorrupt, "names"},
		{"missing name of a handler", editBy(func(tx *bolt.Tx) error { return tx.Bucket(bucketNames).Delete(key8(0)) }), ErrCorrupt, "names"},
	}
}

// TestBrokenFile opens what is no store, or a damaged one: the error says which
// in one line, and the file is as it was.
func TestBrokenFile(t *testing.T) {
	whole := fillStore(t)
	used := int64(metaOf(t, whole).pages) * testPage
	for _, c := range append(brokenPages(used), brokenContents()...) {
		t.Run(c.name, func(t *testing.T) {
			path := copyFile(t, whole)
			c.do(t, path)
			before := digest(t, path)
			wantRefused(t, path, c.want, c.words)
			if digest(t, path) != before {
				t.Error("the file was changed")
			}
			// Whoever was refused has let go of the file.
			wantRefused(t, path, c.want, c.words)
			wantFound(t, path, c.want)
		})
	}
}

func copyFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := storePath(t)
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func wantRefused(t *testing.T, path string, want error, words string) {
	t.Helper()
	db, err := Open(Options{Path: path, LockTimeout: 100 * time.Millisecond})
	if err == nil {
		_ = db.Close()
		t.Fatalf("Open(%s) = nil; want %v", filepath.Base(path), want)
	}
	wantError(t, err, path, want, words)
}

func wantError(t *testing.T, err error, path string, want error, words string) {
	t.Helper()
	for _, class := range []error{ErrCorrupt, ErrUnavailable, ErrNewer} {
		if errors.Is(err, class) != (class == want) {
			t.Errorf("Open: %v; want it to be %q alone", err, want)
		}
	}
	if s := err.Error(); strings.Contains(s, "\n") || !strings.Contains(s, words) || !strings.Contains(s, path) {
		t.Errorf("Open: %q; want one line with %q and the path", s, words)
	}
}

func TestUnavailableFile(t *testing.T) {
	whole := fillStore(t)
	t.Run("locked by another handle", func(t *testing.T) {
		path := copyFile(t, whole)
		db := openTest(t, path)
		wantRefused(t, path, ErrUnavailable, "is locked by another process (waited 100ms)")
		accept(t, db, newAdmission(event.Inbound, "after", "h")) // and is not disturbed
	})
	t.Run("locked by another process", func(t *testing.T) {
		path := copyFile(t, whole)
		c := startChild(t, "lock", path)
		c.await(t, "locked")
		before := digest(t, path)
		wantRefused(t, path, ErrUnavailable, "is locked by another process")
		if digest(t, path) != before {
			t.Error("the file was changed")
		}
		_ = c.in.Close()
		c.await(t, "PASS")
		openTest(t, path)
	})
	t.Run("locked by another process that writes", func(t *testing.T) {
		path := copyFile(t, whole)
		c := startChild(t, "load", path)
		c.await(t, "ready")
		var drain sync.WaitGroup
		drain.Go(func() {
			for c.lines.Scan() {
			}
		})
		for range 5 { // its pages change under whoever looks at them without the lock
			wantRefused(t, path, ErrUnavailable, "is locked by another process")
		}
		_ = c.Process.Kill()
		drain.Wait()
	})
	t.Run("a folder in its place", func(t *testing.T) {
		wantRefused(t, filepath.Dir(whole), ErrUnavailable, "is not a regular file")
	})
	t.Run("a file in the place of its folder", func(t *testing.T) {
		_, err := Open(Options{Path: filepath.Join(whole, "eventd.db")})
		wantError(t, err, whole, ErrUnavailable, "not a directory")
	})
}

// TestOneMetaPageIsEnough loses either of the two meta pages: as after a crash
// in a commit, the store is what the other one says.
func TestOneMetaPageIsEnough(t *testing.T) {
	for id := range uint64(2) {
		path := copyFile(t, fillStore(t))
		zeroPage(t, path, id)
		db, err := Open(Options{Path: path, segmentEvents: 10})
		if err != nil {
			t.Fatal(err)
		}
		accept(t, db, newAdmission(event.Inbound, "next", "h"))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		checkFile(t, path)
	}
}

// TestNewStoreIsWholeOrNotThere: nothing but the store is left in its folder,
// and who loses the race to make it finds the other's.
func TestNewStoreIsWholeOrNotThere(t *testing.T) {
	path := filepath.Join(filepath.Dir(storePath(t)), "made", "eventd.db")
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := makeStore(path); err != nil {
		t.Fatal(err)
	}
	first := digest(t, path)
	if err := makeStore(path); err != nil {
		t.Fatal(err)
	}
	if digest(t, path) != first {
		t.Error("a second makeStore replaced the store")
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("folder holds %v, %v; want the store alone", names, err)
	}
	db := openTest(t, path)
	if db.ID() == "" {
		t.Error("the store has no id")
	}
}
