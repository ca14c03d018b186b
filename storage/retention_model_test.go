package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"pgregory.net/rapid"
)

// TestRetentionIsTheModel lets time pass over random events: nothing goes that
// has not ended or is not over its time, and all else goes soon after.
func TestRetentionIsTheModel(t *testing.T) {
	dir := filepath.Dir(storePath(t))
	rapid.Check(t, func(rt *rapid.T) {
		run, err := os.MkdirTemp(dir, "run-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(run)
		path := filepath.Join(run, "eventd.db")
		size := uint32(rapid.IntRange(1, 40).Draw(rt, "segment"))
		seed := rapid.SliceOfN(rapid.IntRange(0, 1<<16), 20, 80).Draw(rt, "events")
		synctest.Test(t, func(t *testing.T) {
			retentionRun(t, path, size, seed)
		})
	})
}

func retentionRun(t *testing.T, path string, size uint32, seed []int) {
	change := func(o *Options) {
		o.Path, o.segmentEvents, o.Retention, o.DedupeWindow = path, size, short, 2*time.Hour
	}
	db := openTest(t, path, change)
	p := db.options.policy()
	model := map[string]*life{}
	for _, n := range seed {
		id, status := fmt.Sprint("id-", len(model)), event.Statuses[n%len(event.Statuses)]
		a := fresh(id)
		a.Payload = make([]byte, n%5000)
		accept(t, db, a)
		end(t, db, a.Event.Seq, status, nil)
		model[id] = &life{status: status, created: time.Now(), changed: time.Now()}
		time.Sleep(time.Duration(n%97) * time.Minute)
		if n%11 == 0 {
			synctest.Wait()
			_ = db.Close()
			db = openTest(t, path, change)
		}
		if n%7 == 0 {
			synctest.Wait()
			wantKept(t, db, p, model)
		}
	}
	for range 3 {
		time.Sleep(11 * time.Hour)
		synctest.Wait()
		wantKept(t, db, p, model)
	}
	_ = db.Close()
}

// wantKept compares what is left with what must be.
func wantKept(t *testing.T, db *DB, p *policy, model map[string]*life) {
	t.Helper()
	left := ids(t, db)
	for id, l := range model {
		l.table = event.Inbound
		at, ok := p.rowDue(l)
		kept, now := slices.Contains(left, id), time.Now()
		if !kept && (!ok || at.After(now)) {
			t.Errorf("%s %s is gone %s before its time", l.status, id, at.Sub(now))
		}
		if slack := p.rowGrace(l.status) + 2*maxLook; kept && ok && now.Sub(at) > slack {
			t.Errorf("%s %s is still there %s after its time", l.status, id, now.Sub(at))
		}
		if !kept {
			continue
		}
		found, err := db.Find(ctx, id)
		if err != nil || len(found) != 1 || found[0].Status != l.status {
			t.Fatalf("Find(%s) = %v, %v; want %s", id, found, err, l.status)
		}
		_, err = db.Payload(ctx, found[0].Seq)
		due, ok := p.payloadDue(l)
		if err != nil && (!errors.Is(err, event.ErrPayloadRemoved) || !ok || due.After(now)) {
			t.Errorf("payload of %s %s: %v, %s before its time", l.status, id, err, due.Sub(now))
		}
		if slack := p.payloadGrace(l.status) + 2*maxLook; err == nil && ok && now.Sub(due) > slack {
			t.Errorf("payload of %s %s is still there %s after its time", l.status, id, now.Sub(due))
		}
	}
}
