package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// slowCommits holds commits up.
type slowCommits struct {
	*DB
	commits *commits
	path    string
	begun   int        // so many; the first of them is of e1
	slow    bool       // they do not end before…
	release chan error // …this: with an error it fails
}

// committing returns a store that is making a commit of the event e1, from the journal.
func committing(t *testing.T) *slowCommits {
	s := &slowCommits{commits: &commits{}, path: storePath(t), release: make(chan error)}
	s.DB = openTest(t, s.path, func(o *Options) {
		o.Observer = s.commits
		o.beforeCommit = func() error {
			if s.begun++; s.slow {
				return <-s.release
			}
			return nil
		}
	})
	synctest.Wait()
	s.begun, s.slow = 0, true
	accept(t, s.DB, newBegun("e1", "h"))
	time.Sleep(lingerTime)
	synctest.Wait()
	return s
}

// free has commits take no time from now on.
func (s *slowCommits) free() {
	s.slow = false
	close(s.release)
	synctest.Wait()
}

// TestEventsDoNotWaitForACommit that is being made: they are durable before its end, and
// after it.
func TestEventsDoNotWaitForACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		began := time.Now()
		second, fourth := newBegun("e2", "h"), newBegun("e4", "h")
		accept(t, s.DB, second, newBegun("e3", "h"))
		accept(t, s.DB, fourth)
		if second.Event.Seq != 2 || fourth.Event.Seq != 4 || time.Since(began) != 0 {
			t.Errorf("events %d and %d after %s; want 2 and 4 at once", second.Event.Seq, fourth.Event.Seq, time.Since(began))
		}
		during := crashed(t, s.DB)
		s.release <- nil
		synctest.Wait()
		after := crashed(t, s.DB)
		if s.begun != 1 {
			t.Errorf("%d commits; want one, as others may come for the second", s.begun)
		}
		accept(t, s.DB, newBegun("e5", "h"))
		later := crashed(t, s.DB)
		time.Sleep(lingerTime)
		synctest.Wait()
		accept(t, s.DB, newBegun("e6", "h")) // over what is in its tables by now
		third := crashed(t, s.DB)
		s.free()
		wantBegun(t, during, "e1", "e2", "e3", "e4")
		wantBegun(t, after, "e1", "e2", "e3", "e4")
		wantBegun(t, later, "e1", "e2", "e3", "e4", "e5")
		wantBegun(t, third, "e1", "e2", "e3", "e4", "e5", "e6")
		wantBegun(t, crashed(t, s.DB), "e1", "e2", "e3", "e4", "e5", "e6")
		time.Sleep(lingerTime)
		synctest.Wait()
		if n := s.commits.count(); n != 3 {
			t.Errorf("%d commits; want 3", n)
		}
	})
}

// TestCrashesInARow: what one left in either half comes in once, and what the next one left
// behind it.
func TestCrashesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		accept(t, s.DB, newBegun("e2", "h"))
		path := crashed(t, s.DB)
		s.free()
		ids := []string{"e1", "e2"}
		for n := 3; n < 6; n++ {
			db := openTest(t, path)
			if r, err := Check(ctx, CommandOptions{Path: crashed(t, db)}); err != nil || r.Journal != 0 || r.Events != len(ids) {
				t.Errorf("Check = %+v, %v; want %d events, and none in the journal", r, err, len(ids))
			}
			ids = append(ids, fmt.Sprint("e", n))
			accept(t, db, newBegun(ids[n-1], "h"))
			path = crashed(t, db)
		}
		wantBegun(t, path, ids...)
	})
}

// TestReadersBesideACommit: they see what was durable when they came.
func TestReadersBesideACommit(t *testing.T) {
	for name, find := range map[string]func(*DB) (int, error){
		"Find": func(db *DB) (int, error) {
			list, err := db.Find(ctx, "e2")
			return 1 + len(list), err
		},
		"Get": func(db *DB) (int, error) {
			rec, err := db.Get(ctx, 2)
			return int(rec.Seq), err
		},
		"Counts": func(db *DB) (int, error) { return db.Counts()[event.Inbound][event.InProgress], nil },
		"List": func(db *DB) (int, error) {
			list, _, err := db.List(ctx, event.Filter{}, event.Page{Limit: 9})
			return len(list), err
		},
		"a conversation": func(db *DB) (int, error) {
			list, _, err := db.List(ctx, event.Filter{CorrelationID: "e2"}, event.Page{Limit: 9})
			return 1 + len(list), err
		},
		"a backup": func(db *DB) (int, error) {
			b, err := db.Backup(ctx)
			if err != nil {
				return 0, err
			}
			path := filepath.Join(t.TempDir(), "backup.db")
			saveBackup(t, b, path)
			r, err := Check(ctx, CommandOptions{Path: path})
			return r.Events, err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := committing(t)
			accept(t, s.DB, newBegun("e2", "h"))
			var waiting sync.WaitGroup
			waiting.Go(func() {
				if n, err := find(s.DB); n != 2 || err != nil {
					t.Errorf("%s finds %d, %v; want 2", name, n, err)
				}
			})
			synctest.Wait()
			s.free()
			waiting.Wait()
		})
	}
}

// TestReaderBeforeEarlyEvents: one that came before them waits for the commit that is being
// made, and not for theirs.
func TestReaderBeforeEarlyEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if list, err := s.Find(ctx, "e1"); err != nil || len(list) != 1 {
				t.Errorf("Find = %+v, %v; want one event", list, err)
			}
		})
		synctest.Wait()
		accept(t, s.DB, newBegun("e2", "h"))
		s.release <- nil
		waiting.Wait()
		if s.begun != 1 {
			t.Errorf("%d commits; want one", s.begun)
		}
		s.free()
	})
}

// TestWhatWaitsForACommit: what the store is to be asked for first, and what is no event
// that begins at once.
func TestWhatWaitsForACommit(t *testing.T) {
	published, large := newBegun("new", "h"), newBegun("new", "h")
	published.Outbox = []event.Publication{{Subject: "s"}}
	large.Payload = make([]byte, earlyBytes)
	var many []*event.Admission
	for i := range earlyEvents {
		many = append(many, newBegun(fmt.Sprint("new", i), "h"))
	}
	for name, list := range map[string][]*event.Admission{
		"one of the commit":       {newBegun("e1", "h")},
		"one that came beside it": {newBegun("e2", "h")},
		"one that does not begin": {newAdmission(event.Inbound, "new", "h")},
		"one with a publication":  {published},
		"a large one":             {large},
		"many":                    many,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := committing(t)
			accept(t, s.DB, newBegun("e2", "h"))
			var waiting sync.WaitGroup
			answered := false
			waiting.Go(func() {
				accept(t, s.DB, list...)
				answered = true
			})
			synctest.Wait()
			if answered {
				t.Errorf("%s: answered for before the commit", name)
			}
			accept(t, s.DB, newBegun("e3", "h"))
			s.free()
			waiting.Wait()
			a := list[0]
			known := map[string]uint64{"e1": 1, "e2": 2}[a.Event.ID]
			if want := max(known, map[bool]uint64{known == 0: 4}[true]); a.Event.Seq != want || a.Duplicate != (known > 0) {
				t.Errorf("%s: event %d, a duplicate %t; want %d", name, a.Event.Seq, a.Duplicate, want)
			}
			if list, err := s.Find(ctx, "e3"); err != nil || len(list) != 1 || list[0].Seq != 3 {
				t.Errorf("%s: Find(e3) = %+v, %v; want event 3", name, list, err)
			}
		})
	}
}

// TestEarlyEventsHaveNoGap: what a commit has of other new events would be missing before
// them after a crash.
func TestEarlyEventsHaveNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			u := &event.Update{Seq: 1, Step: func(*event.State) (*event.Effects, error) {
				return &event.Effects{FollowUps: []*event.Admission{newAdmission(event.Request, "next", "h")}}, nil
			}}
			if err := s.UpdateWithin(context.Background(), time.Hour, u); err != nil || u.Err != nil {
				t.Error(err, u.Err)
			}
		})
		synctest.Wait()
		accept(t, s.DB, newBegun("e2", "h")) // with which it goes into the next commit
		s.release <- nil
		time.Sleep(lingerTime)
		synctest.Wait() // which is being made
		answered := false
		third := newBegun("e3", "h")
		waiting.Go(func() {
			accept(t, s.DB, third)
			answered = true
		})
		synctest.Wait()
		if answered {
			t.Error("an event is answered for with a gap before it")
		}
		s.free()
		waiting.Wait()
		if third.Event.Seq != 4 {
			t.Errorf("event %d; want 4", third.Event.Seq)
		}
	})
}

// TestPatienceBesideACommit: what comes beside one waits as long as it would otherwise.
func TestPatienceBesideACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		var waiting sync.WaitGroup
		began := time.Now()
		waiting.Go(func() {
			if err := s.UpdateWithin(context.Background(), time.Minute, touch(1)); err != nil || time.Since(began) != time.Minute {
				t.Errorf("answered after %s, %v; want a minute", time.Since(began), err)
			}
		})
		synctest.Wait()
		s.free()
		waiting.Wait()
	})
}

// TestOutcomeOfAnEarlyEvent: it may come before the event is in its tables.
func TestOutcomeOfAnEarlyEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		accept(t, s.DB, newBegun("e2", "h"))
		var waiting sync.WaitGroup
		waiting.Go(func() {
			u := touch(2)
			if err := s.UpdateWithin(context.Background(), time.Hour, u); err != nil || u.Err != nil {
				t.Error(err, u.Err)
			}
		})
		waiting.Go(func() {
			if rec, err := s.Get(ctx, 2); err != nil || rec.UpdatedBy != "someone" {
				t.Errorf("Get = %+v, %v; want what is durable, and came before", rec, err)
			}
		})
		synctest.Wait()
		s.free()
		waiting.Wait()
	})
}

// TestCommitFailsBesideEarlyEvents: those are durable, whatever becomes of it, and nothing
// is answered for any more.
func TestCommitFailsBesideEarlyEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		accept(t, s.DB, newBegun("e2", "h"))
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := s.Update(ctx, touch(2)); !errors.Is(err, ErrBroken) {
				t.Errorf("Update: %v; want %v", err, ErrBroken)
			}
		})
		synctest.Wait()
		s.release <- errors.New("the disk is gone")
		waiting.Wait()
		if err := s.Accept(ctx, []*event.Admission{newBegun("e3", "h")}); !errors.Is(err, ErrBroken) {
			t.Errorf("Accept: %v; want %v", err, ErrBroken)
		}
		s.slow = false
		wantBegun(t, crashed(t, s.DB), "e1", "e2")
	})
}

// TestJournalCannotBeWritten: neither before a commit nor beside one.
func TestJournalCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		accept(t, db, newBegun("e1", "h"))
		path := crashed(t, db)
		db.journal.close()
		if err := db.Accept(ctx, []*event.Admission{newBegun("e2", "h")}); !errors.Is(err, ErrBroken) {
			t.Errorf("Accept: %v; want %v", err, ErrBroken)
		}
		wantBegun(t, path, "e1")
	})
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		s.journal.close()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := s.Accept(ctx, []*event.Admission{newBegun("e2", "h")}); !errors.Is(err, ErrBroken) {
				t.Errorf("Accept beside a commit: %v; want %v", err, ErrBroken)
			}
		})
		synctest.Wait()
		s.free()
		waiting.Wait()
		wantBegun(t, crashed(t, s.DB), "e1")
	})
}

// TestCloseBesideEarlyEvents: they are in their tables then.
func TestCloseBesideEarlyEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		accept(t, s.DB, newBegun("e2", "h"))
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		s.free()
		waiting.Wait()
		if r, err := Check(ctx, CommandOptions{Path: s.path}); err != nil || !r.Clean() || r.Events != 2 || r.Journal != 0 {
			t.Errorf("Check = %+v, %v; want two events, and none in the journal", r, err)
		}
	})
}

// TestEarlyEventsHaveTheirBounds: the half of an epoch, and as many as let the next
// transaction linger.
func TestEarlyEventsHaveTheirBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		n, early := 0, 0
		var waiting sync.WaitGroup
		for range 2 * earlyEvents {
			n++
			a, answered := newBegun(fmt.Sprint("f", n), "h"), false
			waiting.Go(func() {
				accept(t, s.DB, a)
				answered = true
			})
			synctest.Wait()
			if !answered {
				break
			}
			early++
		}
		if most := s.journal.size / journalPage; early != most { // a page for each
			t.Errorf("%d events beside a commit; want %d", early, most)
		}
		during := crashed(t, s.DB)
		s.free()
		waiting.Wait()
		again := openTest(t, during)
		if got := again.Counts()[event.Inbound][event.InProgress]; got != 1+early {
			t.Errorf("%d events after a crash; want %d", got, 1+early)
		}
		if got := s.Counts()[event.Inbound][event.InProgress]; got != 1+n {
			t.Errorf("%d events; want %d", got, 1+n)
		}
	})
}

// TestBackupHasNoJournal: what is in the journal by the time it is copied may have come
// after the moment of the backup, and others of then not be there any more.
func TestBackupHasNoJournal(t *testing.T) {
	db := openTest(t, storePath(t))
	for i := range 5 {
		accept(t, db, newBegun(fmt.Sprint("e", i), "h"))
	}
	b, err := db.Backup(ctx)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "backup.db")
	saveBackup(t, b, path)
	original, err1 := os.ReadFile(db.options.Path)
	copied, err2 := os.ReadFile(path)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	p := db.journal.place()
	if original, copied := original[p.from:p.to], copied[p.from:p.to]; bytes.Count(original, []byte{0}) == len(original) || bytes.Count(copied, []byte{0}) != len(copied) {
		t.Error("the backup has a journal, or the store has none")
	}
	if got := openTest(t, path).Counts()[event.Inbound][event.InProgress]; got != 5 {
		t.Errorf("%d events in the backup; want 5", got)
	}
}

// TestJournalOfVersion1: its records begin at the start of the journal in each epoch.
func TestJournalOfVersion1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := lingering(t)
		for epoch := range 2 {
			accept(t, db, newBegun(fmt.Sprint("e", epoch+1), "h"))
			path := crashed(t, db)
			record := append([]byte{}, db.journal.record...)
			record[journalHeader+journalStamp] = 1
			binary.LittleEndian.PutUint32(record[4:], checksum(record[journalHeader:]))
			overwrite(t, path, db.journal.offset+int64(db.journal.size), make([]byte, journalPage))
			overwrite(t, path, db.journal.offset, record)
			if r, err := Check(ctx, CommandOptions{Path: path}); err != nil || !r.Clean() || r.Journal != 1 {
				t.Errorf("Check = %+v, %v; want an event in the journal", r, err)
			}
			wantBegun(t, path, []string{"e1", "e2"}[:epoch+1]...)
			time.Sleep(lingerTime)
			synctest.Wait()
		}
	})
}

// TestDamageBeforeEarlyEvents: a commit's own events are lost, all of them, and that is told.
func TestDamageBeforeEarlyEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := committing(t)
		accept(t, s.DB, newBegun("e2", "h"))
		path := crashed(t, s.DB)
		spoil(t, path, s.journal.offset+int64(halfAt(s.journal.epoch, s.journal.size))+50)
		if r, err := Check(ctx, CommandOptions{Path: path}); err != nil || r.Damages != 1 || r.Journal != 1 {
			t.Errorf("Check = %+v, %v; want a problem, and an event", r, err)
		}
		s.free()
	})
}
