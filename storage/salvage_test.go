package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// wantFound fails the test when the commands do not see what is wrong with a
// file that cannot be opened, or change it, or make a store of it that is not sound.
func wantFound(t *testing.T, path string, want error) {
	t.Helper()
	before := digest(t, path)
	o := CommandOptions{Path: path, LockTimeout: 100 * time.Millisecond}
	if r, err := Check(ctx, o); err == nil && r.Clean() || err != nil && !errors.Is(err, want) {
		t.Errorf("Check = %+v, %v; want %v or damages", r, err, want)
	}
	if _, err := Compact(ctx, o); err == nil && errors.Is(want, ErrNewer) {
		t.Errorf("Compact: %v; want %v", err, want)
	}
	out := storePath(t)
	s, err := Salvage(ctx, o, out)
	switch {
	case err == nil && s.Damages > 0:
		checkFile(t, out)
	case err == nil, !errors.Is(err, want):
		t.Errorf("Salvage = %+v, %v; want %v or damages", s, err, want)
	default:
		wantAlone(t, out)
	}
	if digest(t, path) != before {
		t.Error("the file was changed")
	}
}

// deepStore makes a store whose trees have branches, closed.
func deepStore(t testing.TB) (path string) {
	t.Helper()
	path = storePath(t)
	db, err := Open(Options{Path: path, segmentEvents: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		var list []*event.Admission
		for k := range 30 {
			a := newAdmission(event.Inbound, fmt.Sprintf("id-%02d-%02d", i, k), "h")
			a.Payload = bytes.Repeat([]byte{byte(i), 0xff}, 150)
			a.Outbox = []event.Publication{{Subject: "s"}}
			list = append(list, a)
		}
		accept(t, db, list...)
	}
	awaitSealed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	checkFile(t, path)
	return path
}

// pagesOf returns the pages in use that have a flag.
func pagesOf(t testing.TB, path string, flag uint16) (ids []uint64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr, err := openTree(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	tr.bucket = func([][]byte, uint64) error { return nil }
	tr.entry = func([][]byte, []byte, []byte) error { return nil }
	if err := tr.walk(); err != nil {
		t.Fatal(err)
	}
	for id := uint64(2); id < tr.meta.pages; id++ {
		if p, err := inspectPage(f, &tr.meta, id, flag); err == nil && tr.used.has(id) && p.count > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// TestPagesThatLeadBack: bbolt would walk them for ever.
func TestPagesThatLeadBack(t *testing.T) {
	whole := deepStore(t)
	branches := pagesOf(t, whole, flagBranch)
	if len(branches) < 3 {
		t.Fatalf("%d branch pages; want some", len(branches))
	}
	for _, id := range branches {
		path := copyFile(t, whole)
		overwrite(t, path, int64(id)*testPage+pageHeader+8, binary.LittleEndian.AppendUint64(nil, id))
		o := CommandOptions{Path: path, LockTimeout: time.Second}
		r, err := Check(ctx, o)
		if err != nil || r.Clean() || !strings.Contains(strings.Join(r.Problems, " "), fmt.Sprintf("page %d is used twice", id)) {
			t.Errorf("Check = %+v, %v; want page %d to be used twice", r, err, id)
		}
		if _, err := Compact(ctx, o); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Compact: %v; want %v", err, ErrCorrupt)
		}
		if _, err := Dump(ctx, o, io.Discard); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Dump: %v; want %v", err, ErrCorrupt)
		}
		out := storePath(t)
		if s, err := Salvage(ctx, o, out); err != nil || s.Damages == 0 {
			t.Errorf("Salvage = %+v, %v; want damages", s, err)
		} else {
			checkFile(t, out)
		}
	}
}

// TestRootThatLeadsBack: not even what the file is could be found out.
func TestRootThatLeadsBack(t *testing.T) {
	path := fillStore(t)
	root := metaOf(t, path).root
	overwrite(t, path, int64(root)*testPage+8, []byte{flagBranch, 0})
	for i := range int64(10) { // of its elements
		overwrite(t, path, int64(root)*testPage+pageHeader+16*i+8, binary.LittleEndian.AppendUint64(nil, root))
	}
	wantRefused(t, path, ErrCorrupt, "root: page")
	wantFound(t, path, ErrCorrupt)
}

// dumpedEvents returns the events of a dump by their seq.
func dumpedEvents(t testing.TB, path string) map[uint64]string {
	t.Helper()
	events := map[uint64]string{}
	for line := range strings.Lines(dumpOfFile(t, path)) {
		var l dumpLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Event != nil {
			events[l.Event.Seq] = line
		}
	}
	return events
}

// TestSalvageOfDamagedPages damages pages in every way that comes to mind: what
// can be read is there as it was, what cannot is listed, and all of it ends.
func TestSalvageOfDamagedPages(t *testing.T) {
	whole := deepStore(t)
	events := dumpedEvents(t, whole)
	used := int(metaOf(t, whole).pages)
	random := rand.New(rand.NewPCG(1, 2))
	saved := 0
	for round := range 25 {
		path := copyFile(t, whole)
		for range 1 + random.IntN(3) {
			harmPage(t, path, random, 2+random.IntN(used-2), used)
		}
		before := digest(t, path)
		o := CommandOptions{Path: path, LockTimeout: time.Second}
		report, checkErr := Check(ctx, o)
		out := storePath(t)
		s, err := Salvage(ctx, o, out)
		if digest(t, path) != before {
			t.Fatalf("round %d: the file was changed", round)
		}
		if errors.Is(err, ErrCorrupt) && checkErr != nil {
			continue // not even the root is left
		}
		if err != nil {
			t.Fatalf("round %d: Salvage: %v; Check = %+v, %v", round, err, report, checkErr)
		}
		checkFile(t, out)
		changed := wantSaved(t, events, dumpedEvents(t, out), s)
		saved += len(events) - changed
		if changed > 0 && checkErr == nil && report.Clean() {
			t.Errorf("round %d: %d events are not what they were, and Check finds nothing", round, changed)
		}
	}
	if saved == 0 {
		t.Error("nothing was saved")
	}
}

// wantSaved fails the test when an event is not what it was and nothing says so.
// It returns how many are not.
func wantSaved(t *testing.T, want, got map[uint64]string, s Salvaged) (changed int) {
	t.Helper()
	for seq, line := range want {
		if got[seq] != line {
			changed++
		}
	}
	if changed > 0 && s.Damages == 0 {
		t.Errorf("%d events are not what they were, and nothing is listed", changed)
	}
	return changed
}

// harmPage damages one page.
func harmPage(t *testing.T, path string, random *rand.Rand, id, used int) {
	at := int64(id) * testPage
	word := binary.LittleEndian.AppendUint64(nil, uint64(random.IntN(2*used)))
	switch random.IntN(6) {
	case 0:
		zeroPage(t, path, uint64(id))
	case 1: // another page in its place
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		other := bytes.Clone(b[random.IntN(used)*testPage:][:testPage])
		binary.LittleEndian.PutUint64(other, uint64(id))
		overwrite(t, path, at, other)
	case 2: // somewhere in the header or the elements
		overwrite(t, path, at+int64(8+random.IntN(60)), word[:1+random.IntN(7)])
	case 3: // somewhere in keys or values
		overwrite(t, path, at+int64(100+random.IntN(testPage-200)), word)
	case 4: // the page an element leads to, or its sizes
		overwrite(t, path, at+pageHeader+8, word)
	case 5:
		overwrite(t, path, at+10, []byte{0xff, 0x7f})
	}
}

// lostRecord is a way to lose a record, what salvage says of it, and what the
// new store has in its place.
type lostRecord struct {
	name  string
	harm  func(tx *bolt.Tx) error
	words string
	check func(t *testing.T, db *DB)
}

// recordsOfAnEvent loses each kind of record of one event.
func recordsOfAnEvent() []lostRecord {
	return []lostRecord{
		{"state", func(tx *bolt.Tx) error {
			return flip(segmentBucket(tx, 5).Bucket(bucketStates), key8(5), 20)
		}, "event 5 (id-04): state", func(t *testing.T, db *DB) {
			rec, err := db.Get(ctx, 5)
			if err != nil || rec.Status != event.Error || rec.Reason != event.Quarantined || rec.ID != "id-04" || len(rec.Deliveries) != 0 {
				t.Errorf("Get = %+v, %v; want it to be ERROR quarantined", rec, err)
			}
			if body, err := db.Payload(ctx, 5); err != nil || len(body) != 700 {
				t.Errorf("Payload = %d bytes, %v; want 700", len(body), err)
			}
		}},
		{"payload", func(tx *bolt.Tx) error {
			return flip(segmentBucket(tx, 6).Bucket(bucketPayloads), key8(6), 100)
		}, "event 6 (id-05): payload", func(t *testing.T, db *DB) {
			rec, err := db.Get(ctx, 6)
			if err != nil || rec.Status != event.Error || rec.Deliveries[0].Reason != event.Quarantined {
				t.Errorf("Get = %+v, %v; want its deliveries to be ERROR quarantined", rec, err)
			}
		}},
		{"head", func(tx *bolt.Tx) error {
			return flip(segmentBucket(tx, 11).Bucket(bucketHeads), key8(11), 60)
		}, "event 11: head", func(t *testing.T, db *DB) {
			if _, err := db.Get(ctx, 11); !errors.Is(err, event.ErrNotFound) {
				t.Errorf("Get: %v; want %v", err, event.ErrNotFound)
			}
			if rec, err := db.Get(ctx, 12); err != nil || rec.ID != "id-11" {
				t.Errorf("Get of the next = %+v, %v; want id-11", rec, err)
			}
			if u := (&event.Update{Seq: 11, Step: func(*event.State) (*event.Effects, error) { return nil, nil }}); db.Update(ctx, u) != nil || !errors.Is(u.Err, event.ErrNotFound) {
				t.Errorf("Update: %v; want %v", u.Err, event.ErrNotFound)
			}
		}},
	}
}

// recordsBeside loses what events refer to, and what counts them.
func recordsBeside() []lostRecord {
	return []lostRecord{
		{"outbox", func(tx *bolt.Tx) error { return flip(tx.Bucket(bucketOutbox), key8(3), 7) }, "outbox row 3", func(t *testing.T, db *DB) {
			rows, err := db.Outbox(ctx, 0, 100)
			if err != nil || len(rows) != 69 || rows[2].ID != 4 {
				t.Errorf("Outbox = %d rows, %v; want 69 without number 3", len(rows), err)
			}
		}},
		{"name of a handler", func(tx *bolt.Tx) error { return tx.Bucket(bucketNames).Put(key8(0), []byte("h")) }, "name 0", func(t *testing.T, db *DB) {
			if got := db.WaitingHandlers(); !strings.Contains(fmt.Sprint(got), "lost-name-0") {
				t.Errorf("WaitingHandlers = %q; want one that stands for what is lost", got)
			}
		}},
		{"part of a segment", func(tx *bolt.Tx) error { return segmentBucket(tx, 21).DeleteBucket(bucketStates) }, "states", func(t *testing.T, db *DB) {
			if rec, err := db.Get(ctx, 25); err != nil || rec.Reason != event.Quarantined || rec.ID != "id-24" {
				t.Errorf("Get = %+v, %v; want it to be quarantined", rec, err)
			}
		}},
		{"counts", func(tx *bolt.Tx) error { return segmentBucket(tx, 31).Put(keyInfo, []byte("?")) }, "counted anew", func(t *testing.T, db *DB) {
			if rec, err := db.Get(ctx, 35); err != nil || rec.ID != "id-34" {
				t.Errorf("Get = %+v, %v; want id-34", rec, err)
			}
		}},
	}
}

func TestSalvageOfDamagedRecords(t *testing.T) {
	for _, c := range append(recordsOfAnEvent(), recordsBeside()...) {
		t.Run(c.name, func(t *testing.T) {
			path, out := fillStore(t), storePath(t)
			editStore(t, path, c.harm)
			s, err := Salvage(ctx, CommandOptions{Path: path}, out)
			if err != nil || !strings.Contains(strings.Join(s.Damaged, "\n"), c.words) {
				t.Fatalf("Salvage = %+v, %v; want it to list %q", s, err, c.words)
			}
			checkFile(t, out)
			c.check(t, openTest(t, out))
		})
	}
}

func TestSalvageRefuses(t *testing.T) {
	path := fillStore(t)
	o := CommandOptions{Path: path, LockTimeout: 50 * time.Millisecond}
	if _, err := Salvage(ctx, o, path); !errors.Is(err, ErrExists) {
		t.Errorf("Salvage onto itself: %v; want %v", err, ErrExists)
	}
	if _, err := Salvage(ctx, CommandOptions{Path: filepath.Join(path, "none")}, storePath(t)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Salvage of no file: %v; want %v", err, ErrUnavailable)
	}
	db := openTest(t, path)
	if _, err := Salvage(ctx, o, storePath(t)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Salvage of a store at work: %v; want %v", err, ErrUnavailable)
	}
	if _, err := Check(ctx, o); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Check of a store at work: %v; want %v", err, ErrUnavailable)
	}
	accept(t, db, newAdmission(event.Inbound, "after", "h"))
}

// TestSalvageOfASoundStore is the store as it was.
func TestSalvageOfASoundStore(t *testing.T) {
	path, out := deepStore(t), storePath(t)
	s, err := Salvage(ctx, CommandOptions{Path: path}, out)
	if err != nil || s.Damages != 0 || s.Events != 1200 || s.Outbox != 1200 {
		t.Fatalf("Salvage = %+v, %v; want 1200 events and no damages", s, err)
	}
	if dumpOfFile(t, out) != dumpOfFile(t, path) {
		t.Error("what was saved is not what was there")
	}
}
