package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// TestBackupUnderLoad takes a backup while others store, and reads it slowly: it
// is of one moment, it restores, and the file grows as it does without it.
func TestBackupUnderLoad(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path, func(o *Options) { o.segmentEvents = 1000 })
	n := 0
	store := func(events int) {
		for range events {
			n++
			a := newAdmission(event.Inbound, fmt.Sprintf("id-%05d", n), "h")
			a.Payload = bytes.Repeat([]byte{byte(n)}, 500)
			accept(t, db, a)
		}
	}
	store(300)
	var writers sync.WaitGroup
	started, enough := make(chan struct{}), make(chan struct{})
	writers.Go(func() {
		store(20)
		close(started)
		for {
			select {
			case <-enough:
				return
			default:
				store(20)
			}
		}
	})
	<-started
	b, err := db.Backup(ctx)
	if err != nil {
		t.Fatal(err)
	}
	close(enough)
	writers.Wait()
	if _, err := db.Backup(ctx); !errors.Is(err, event.ErrConflict) {
		t.Errorf("a second backup: %v; want %v", err, event.ErrConflict)
	}
	// The client has read nothing so far. What is written over again and again
	// goes into pages that were freed: no reader keeps them.
	before := metaOf(t, path).pages
	for i := range 300 {
		u := &event.Update{Seq: 5, Step: func(s *event.State) (*event.Effects, error) { s.UpdatedAt = t0.Add(time.Duration(i)); return nil, nil }}
		if err := db.Update(ctx, u); err != nil || u.Err != nil {
			t.Fatal(err, u.Err)
		}
	}
	if grown := metaOf(t, path).pages - before; grown > 20 {
		t.Errorf("the file grew by %d pages for 300 updates of one event; want hardly any", grown)
	}
	copied := filepath.Join(filepath.Dir(storePath(t)), "backup.db")
	saveBackup(t, b, copied)
	if parts, err := filepath.Glob(path + partBackup + "*"); err != nil || len(parts) != 0 {
		t.Errorf("leftovers = %q, %v; want none", parts, err)
	}
	checkFile(t, copied)
	wantPrefix(t, copied, n)
	if b, err := db.Backup(ctx); err != nil {
		t.Errorf("the next backup: %v", err)
	} else if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func saveBackup(t *testing.T, b *event.Backup, to string) {
	t.Helper()
	all, err := io.ReadAll(b)
	if err := errors.Join(err, b.Close(), os.WriteFile(to, all, 0o600)); err != nil {
		t.Fatal(err)
	}
	if int64(len(all)) != b.Size || sha256.Sum256(all) != b.SHA256 {
		t.Errorf("%d bytes with sum %x; want %d with %x", len(all), sha256.Sum256(all), b.Size, b.SHA256)
	}
}

// wantPrefix restores a backup and finds the first events of those stored one
// after the other, without a gap.
func wantPrefix(t *testing.T, backup string, stored int) {
	t.Helper()
	to := filepath.Join(filepath.Dir(storePath(t)), "restored", "eventd.db")
	r, err := Restore(ctx, PutOptions{CommandOptions: CommandOptions{Path: to}}, backup)
	if err != nil || r.Events < 320 || r.Events > stored || r.Path != to {
		t.Fatalf("Restore = %+v, %v; want 320 to %d events", r, err, stored)
	}
	db := openTest(t, to)
	for seq := uint64(1); seq <= uint64(r.Events); seq++ {
		if rec, err := db.Get(ctx, seq); err != nil || rec.ID != fmt.Sprintf("id-%05d", seq) {
			t.Fatalf("Get(%d) = %s, %v", seq, rec.ID, err)
		}
	}
}

func TestBackupOfAClosedOrBrokenStore(t *testing.T) {
	db := openTest(t, storePath(t))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it does not stand in its own way
		if _, err := db.Backup(ctx); err == nil || errors.Is(err, event.ErrConflict) {
			t.Errorf("Backup: %v; want that it is closed", err)
		}
	}
	wantAlone(t, db.options.Path, "eventd.db")
}

func TestLeftoversAreRemoved(t *testing.T) {
	path := fillStore(t)
	for _, part := range []string{partCompact, partBackup, partRestore, partLoad, partSalvage} {
		if _, err := makePart(path, part); err != nil {
			t.Fatal(err)
		}
	}
	other := path + ".mine"
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	openTest(t, path)
	wantAlone(t, path, "eventd.db", filepath.Base(other))
}

func TestRestore(t *testing.T) {
	backup, path := deepStore(t), fillStore(t)
	want, before := digest(t, backup), digest(t, path)
	o := PutOptions{CommandOptions: CommandOptions{Path: path, LockTimeout: 50 * time.Millisecond}}
	if _, err := Restore(ctx, o, backup); !errors.Is(err, ErrExists) || digest(t, path) != before {
		t.Errorf("Restore onto a store: %v; want %v", err, ErrExists)
	}
	o.Force = true
	db := openTest(t, path)
	if _, err := Restore(ctx, o, backup); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Restore onto a store at work: %v; want %v", err, ErrUnavailable)
	}
	_ = db.Close()
	before = digest(t, path)
	r, err := Restore(ctx, o, backup)
	if err != nil || r.Events != 1200 || digest(t, r.Kept) != before || digest(t, path) != want {
		t.Fatalf("Restore = %+v, %v; want 1200 events, and the store before beside it", r, err)
	}
	wantAlone(t, path, "eventd.db", filepath.Base(r.Kept))
}

// TestRestoreOfWhatIsNoBackup changes nothing.
func TestRestoreOfWhatIsNoBackup(t *testing.T) {
	bad := fillStore(t)
	editStore(t, bad, func(tx *bolt.Tx) error {
		return flip(segmentBucket(tx, 5).Bucket(bucketStates), key8(5), 20)
	})
	path := fillStore(t)
	before := digest(t, path)
	o := PutOptions{CommandOptions: CommandOptions{Path: path}, Force: true}
	r, err := Restore(ctx, o, bad)
	if !errors.Is(err, ErrCorrupt) || r.Report == nil || r.Damages != 1 || !strings.Contains(err.Error(), "state of event 5") {
		t.Errorf("Restore of a damaged backup = %+v, %v; want it to say what is wrong", r, err)
	}
	if err := os.WriteFile(bad, []byte("a diary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(ctx, o, bad); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Restore of a diary: %v; want %v", err, ErrCorrupt)
	}
	if _, err := Restore(ctx, o, bad+"-none"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Restore of no file: %v; want %v", err, ErrUnavailable)
	}
	if digest(t, path) != before {
		t.Error("the store was changed")
	}
	wantAlone(t, path, "eventd.db")
	// What is too damaged to be opened is replaced all the same, and kept.
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	if r, err := Restore(ctx, o, deepStore(t)); err != nil || r.Kept == "" {
		t.Errorf("Restore onto a damaged store = %+v, %v", r, err)
	}
	openTest(t, path)
}
