package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
)

// newBegun returns an event whose attempts have begun with it.
func newBegun(id string, handlers ...string) *event.Admission {
	a := newAdmission(event.Inbound, id, handlers...)
	for i := range a.State.Deliveries {
		d := &a.State.Deliveries[i]
		d.Status, d.Attempts, d.FirstAttempt, d.NextAttempt = event.InProgress, 1, t0, time.Time{}
		a.State.Timeline = append(a.State.Timeline, event.Entry{At: t0, Status: event.InProgress, Attempt: 1, Handler: d.Handler})
	}
	return a
}

// crashed copies what is on disk of an open store, at a moment between two commits.
func crashed(t testing.TB, db *DB) string {
	t.Helper()
	db.extending.Lock()
	defer db.extending.Unlock()
	return copyFile(t, db.options.Path)
}

func (c *commits) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.list)
}

// lingering returns a store and its commits. In the time of a test it lingers for as long
// as the test lets it.
func lingering(t *testing.T) (*DB, *commits) {
	c := &commits{}
	db := openTest(t, storePath(t), func(o *Options) { o.Observer = c })
	synctest.Wait() // what looks at the store after its start has done so
	return db, c
}

func wantBegun(t *testing.T, path string, ids ...string) {
	t.Helper()
	for range 2 { // the second time nothing is left in the journal
		db := openTest(t, path)
		for i, id := range ids {
			list, err := db.Find(ctx, id)
			if err != nil || len(list) != 1 || list[0].Seq != uint64(i+1) || list[0].Status != event.InProgress || list[0].Deliveries[0].Attempts != 1 {
				t.Fatalf("Find(%s) = %+v, %v; want one event %d, begun once", id, list, err, i+1)
			}
			if body, err := db.Payload(ctx, list[0].Seq); err != nil || string(body) != `{"id":"`+id+`"}` {
				t.Fatalf("Payload of %s = %q, %v", id, body, err)
			}
		}
		if n := db.Counts()[event.Inbound][event.InProgress]; n != len(ids) {
			t.Errorf("%d events are there; want %d", n, len(ids))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalOutlastsACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, c := lingering(t)
		accept(t, db, newBegun("e1", "h1", "h2"), newBegun("e2", "h1"))
		accept(t, db, newBegun("e3", "h3"))
		before := crashed(t, db)
		if c.count() != 0 {
			t.Fatalf("%d commits; want none yet", c.count())
		}
		time.Sleep(lingerTime)
		synctest.Wait()
		if c.count() != 1 || c.last() != 2 {
			t.Errorf("%d commits, the last of %d operations; want one of 2", c.count(), c.last())
		}
		after := crashed(t, db)
		accept(t, db, newBegun("e4", "h1")) // over what is in its tables by now
		later := crashed(t, db)
		wantBegun(t, before, "e1", "e2", "e3")
		wantBegun(t, after, "e1", "e2", "e3")
		wantBegun(t, later, "e1", "e2", "e3", "e4")
	})
}

// TestJournalCutShort: of a record that a crash left in parts nothing counts, and what
// was before it does.
func TestJournalCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		from := db.journal.at
		accept(t, db, newBegun("e2", "h"))
		whole := crashed(t, db)
		for at := from; at < from+len(db.journal.record); at += 7 {
			path := copyFile(t, whole)
			spoil(t, path, db.journal.offset+int64(at))
			wantBegun(t, path, "e1")
		}
	})
}

func spoil(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, at, []byte{b[at] ^ 0x55})
}

// TestOnlyBegunEventsAreJournaled: whatever somebody looks for in the store soon is
// committed at once.
func TestOnlyBegunEventsAreJournaled(t *testing.T) {
	large := newBegun("large", "h")
	large.Payload = make([]byte, lingerBytes)
	gone := newBegun("gone", "h")
	gone.Outbox = []event.Publication{{Subject: "s"}}
	remembering := newBegun("remembering", "h")
	remembering.Remember = func(body []byte) ([]byte, error) { return []byte(`{}`), nil }
	scheduled := newBegun("scheduled", "h")
	scheduled.Mark = &event.Mark{Schedule: "nightly", Seen: t0}
	half := newBegun("half", "h", "h2")
	half.State.Deliveries[1].Status = event.Unprocessed
	ended := newAdmission(event.Inbound, "ended")
	ended.State.Status = event.Error
	for _, a := range []*event.Admission{large, gone, remembering, scheduled, half, ended, newAdmission(event.Inbound, "waits", "h")} {
		synctest.Test(t, func(t *testing.T) {
			db, c := lingering(t)
			accept(t, db, a)
			if c.count() != 1 || db.unseen.Load() {
				t.Errorf("%s: %d commits; want one at once", a.Event.ID, c.count())
			}
			accept(t, db, newBegun(a.Event.ID, "h")) // which is noted in the timeline of the first
			if c.count() != 2 || db.unseen.Load() {
				t.Errorf("%s again: %d commits; want a second one at once", a.Event.ID, c.count())
			}
		})
	}
}

// TestReadersSeeWhatIsJournaled: a reader ends the lingering, and no time passes.
func TestReadersSeeWhatIsJournaled(t *testing.T) {
	for name, count := range map[string]func(*DB) int{
		"Find":   func(db *DB) int { list, _ := db.Find(ctx, "e1"); return len(list) },
		"Get":    func(db *DB) int { rec, _ := db.Get(ctx, 1); return int(rec.Seq) },
		"Counts": func(db *DB) int { return db.Counts()[event.Inbound][event.InProgress] },
		"List": func(db *DB) int {
			list, _, _ := db.List(ctx, event.Filter{}, event.Page{Limit: 9})
			return len(list)
		},
		"a conversation": func(db *DB) int {
			list, _, _ := db.List(ctx, event.Filter{CorrelationID: "e1"}, event.Page{Limit: 9})
			return len(list)
		},
		"a backup": func(db *DB) int {
			b, err := db.Backup(ctx)
			if err == nil {
				err = b.Close()
			}
			return map[bool]int{true: 1}[err == nil && !db.unseen.Load()]
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			db, c := lingering(t)
			accept(t, db, newBegun("e1", "h"))
			began := time.Now()
			if n := count(db); n != 1 || time.Since(began) != 0 {
				t.Errorf("%s finds %d after %s; want 1 at once", name, n, time.Since(began))
			}
			if c.count() != 1 {
				t.Errorf("%s: %d commits; want one", name, c.count())
			}
		})
	}
}

// TestJournalHasNoGap: what follows new events that only a commit makes durable is not
// durable before them.
func TestJournalHasNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, c := lingering(t)
		accept(t, db, newAdmission(event.Inbound, "e1", "h"))
		var waiting sync.WaitGroup
		waiting.Go(func() {
			u := &event.Update{Seq: 1, Step: func(*event.State) (*event.Effects, error) {
				return &event.Effects{FollowUps: []*event.Admission{newAdmission(event.Request, "next", "h")}}, nil
			}}
			if err := db.UpdateWithin(context.Background(), time.Hour, u); err != nil || u.Err != nil {
				t.Error(err, u.Err)
			}
		})
		synctest.Wait()
		accept(t, db, newBegun("e2", "h"))
		if c.count() != 2 || db.unseen.Load() {
			t.Errorf("%d commits; want a second one at once", c.count())
		}
		waiting.Wait()
	})
}

// TestCommandsKnowTheJournal: what a crash left in it is in no table, and lost in none
// of what is made of the file.
func TestCommandsKnowTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		accept(t, db, newAdmission(event.Inbound, "e1", "h"))
		accept(t, db, newBegun("e2", "h"))
		path := crashed(t, db)
		r, err := Check(ctx, CommandOptions{Path: path})
		if err != nil || !r.Clean() || r.Events != 1 || r.Journal != 1 {
			t.Errorf("Check = %+v, %v; want an event, and one in the journal", r, err)
		}
		loaded := filepath.Join(filepath.Dir(path), "loaded.db")
		l, err := Load(ctx, putOptions(loaded), strings.NewReader(dumpOfFile(t, path)))
		if err != nil || l.Events != 2 {
			t.Fatalf("Load = %+v, %v; want 2 events", l, err)
		}
		compacted := copyFile(t, path)
		if _, err := Compact(ctx, CommandOptions{Path: compacted}); err != nil {
			t.Fatal(err)
		}
		salvaged := filepath.Join(filepath.Dir(path), "salvaged.db")
		if s, err := Salvage(ctx, CommandOptions{Path: path}, salvaged); err != nil || s.Damages > 0 {
			t.Fatalf("Salvage = %+v, %v", s, err)
		}
		for _, path := range []string{path, loaded, compacted, salvaged} {
			db := openTest(t, path)
			list, err := db.Find(ctx, "e2")
			if err != nil || len(list) != 1 || list[0].Seq != 2 || list[0].Status != event.InProgress {
				t.Errorf("%s: Find = %+v, %v; want event 2 in progress", path, list, err)
			}
		}
	})
}

func TestStoreOfBeforeGetsAJournal(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	accept(t, db, newBegun("e1", "h"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	editStore(t, path, func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketJournal) })
	db = openTest(t, path)
	accept(t, db, newBegun("e2", "h"))
	if db.journal == nil {
		t.Error("the store has no journal")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wantBegun(t, path, "e1", "e2")
}

func TestNewerJournalIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		path := crashed(t, db)
		record := append([]byte{}, db.journal.record...)
		record[journalHeader+journalStamp]++
		binary.LittleEndian.PutUint32(record[4:], checksum(record[journalHeader:]))
		overwrite(t, path, db.journal.offset, record)
		if _, err := Open(Options{Path: path}); !errors.Is(err, ErrNewer) {
			t.Errorf("Open: %v; want %v", err, ErrNewer)
		}
		if r, err := Check(ctx, CommandOptions{Path: path}); err != nil || r.Clean() {
			t.Errorf("Check = %+v, %v; want a problem", r, err)
		}
	})
}

// TestJournalIsFull: what has no room in it is committed.
func TestJournalIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, c := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		db.journal.size = db.journal.at + 10
		accept(t, db, newBegun("e2", "h"))
		if c.count() != 1 || db.unseen.Load() {
			t.Errorf("%d commits; want one at once", c.count())
		}
		for i := range 300 {
			accept(t, db, newBegun(fmt.Sprint("f", i), "h"))
		}
	})
}

// TestReadersDoNotWaitForADiskThatHangs: counts are those of before, and what is not seen
// is not said to be absent.
func TestReadersDoNotWaitForADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		if err := db.SetPaused(ctx, "handler", "h", "gone"); err != nil {
			t.Fatal(err)
		}
		accept(t, db, newBegun("e1", "h"))
		db.Counts()
		accept(t, db, newBegun("e2", "h"))
		hangs := make(chan struct{})
		var hanging sync.WaitGroup
		hanging.Go(func() {
			if err := db.do(ctx, func(*transaction) error { <-hangs; return nil }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		if n := db.Counts()[event.Inbound][event.InProgress]; n != 1 || time.Since(began) != showPatience {
			t.Errorf("%d events after %s; want 1 after %s", n, time.Since(began), showPatience)
		}
		began = time.Now()
		if why := db.Paused("handler", "h"); why != "gone" || time.Since(began) != 0 {
			t.Errorf("paused %q after %s; want gone at once", why, time.Since(began))
		}
		stopped, stop := context.WithTimeout(ctx, time.Millisecond)
		defer stop()
		if _, err := db.Find(stopped, "e2"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Find: %v; want %v", err, context.DeadlineExceeded)
		}
		if _, err := db.Find(ctx, "e2"); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("Find: %v; want %v, not that it is not there", err, event.ErrUnavailable)
		}
		close(hangs)
		hanging.Wait()
		if n := db.Counts()[event.Inbound][event.InProgress]; n != 2 {
			t.Errorf("%d events; want 2", n)
		}
	})
}

// TestDamagedJournalIsTold: what cannot be read is lost, and nothing else, and not in
// silence.
func TestDamagedJournalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		for i := range 4 {
			accept(t, db, newBegun(fmt.Sprint("e", i), "h"))
		}
		path := crashed(t, db)
		first := copyFile(t, path)
		spoil(t, first, db.journal.offset+50)
		if r, err := Check(ctx, CommandOptions{Path: first}); err != nil || r.Damages != 1 || r.Journal != 3 {
			t.Errorf("Check = %+v, %v; want one problem, and three events", r, err)
		}
		spoil(t, path, db.journal.offset+journalPage+50)
		if r, err := Check(ctx, CommandOptions{Path: path}); err != nil || r.Damages != 1 || r.Journal != 3 {
			t.Errorf("Check = %+v, %v; want one problem, and three events", r, err)
		}
		var log bytes.Buffer
		again := openTest(t, path, func(o *Options) { o.Log = zerolog.New(&log) })
		for i := range 4 {
			list, err := again.Find(ctx, fmt.Sprint("e", i))
			if want := map[bool]int{true: 0, false: 1}[i == 1]; err != nil || len(list) != want {
				t.Errorf("Find(e%d) = %+v, %v; want %d", i, list, err, want)
			}
		}
		if !strings.Contains(log.String(), "the journal is damaged") {
			t.Errorf("the log says %q", log.String())
		}
	})
}

// TestSalvageBesideAFullJournal: also where the counts of the last segment are damaged.
func TestSalvageBesideAFullJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		accept(t, db, newAdmission(event.Inbound, "e1", "h"))
		accept(t, db, newBegun("e2", "h"))
		path := crashed(t, db)
		editStore(t, path, func(tx *bolt.Tx) error { return flip(segmentBucket(tx, 1), keyInfo, 6) })
		salvaged := filepath.Join(filepath.Dir(path), "salvaged.db")
		if _, err := Salvage(ctx, CommandOptions{Path: path}, salvaged); err != nil {
			t.Fatal(err)
		}
		again := openTest(t, salvaged)
		for i, id := range []string{"e1", "e2"} {
			list, err := again.Find(ctx, id)
			if err != nil || len(list) != 1 || list[0].Seq != uint64(i+1) {
				t.Errorf("Find(%s) = %+v, %v; want event %d", id, list, err, i+1)
			}
		}
	})
}

// TestReaderBesideACommit: what it asks for comes with that commit.
func TestReaderBesideACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, c := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		commits, beside := make(chan struct{}), sync.WaitGroup{}
		beside.Go(func() {
			if err := db.do(ctx, func(*transaction) error { <-commits; return nil }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		beside.Go(func() {
			if list, err := db.Find(ctx, "e1"); err != nil || len(list) != 1 {
				t.Errorf("Find = %+v, %v", list, err)
			}
		})
		synctest.Wait()
		close(commits)
		beside.Wait()
		synctest.Wait()
		if c.count() != 1 {
			t.Errorf("%d commits; want one", c.count())
		}
	})
}

func TestOpeningWritesNothing(t *testing.T) {
	path := storePath(t)
	if err := openTest(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := openTest(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after[:len(before)], before) {
		t.Errorf("the store is another one, %v", err)
	}
}

// TestReplayKnowsWhatIsThere: a program without a journal had stored it in between.
func TestReplayKnowsWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		journal := crashed(t, db)
		db.Counts()
		path := crashed(t, db)
		b, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, path, db.journal.offset, b[db.journal.offset:][:journalPage])
		editStore(t, path, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyEpoch, key8(0)) })
		wantBegun(t, path, "e1")
	})
}
