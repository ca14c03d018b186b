package storage

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// wholeRedrive has a value in each field that is stored.
func wholeRedrive() event.Redrive {
	return event.Redrive{
		Filter: event.Filter{
			Table: event.Response, Status: event.Failed, MessageType: "T", Handler: "h", Route: "r", Reason: event.Poison,
			SourceService: "S", CorrelationID: "c", Since: t0, Until: t0.Add(time.Hour), DeadLetters: true,
		},
		Order: event.RedriveOrder{Handler: "h2", Detail: "why", By: "bob"}, Rate: 2.5,
		Position: 7, Done: 1, Skipped: 2, Failed: 3,
	}
}

func TestRedrivesAreKept(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	if list, err := db.Redrives(ctx); err != nil || len(list) != 0 {
		t.Fatalf("Redrives of a store without = %v, %v; want none", list, err)
	}
	if _, err := db.Redrive(ctx, 1); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("Redrive(1) of a store without: %v; want ErrNotFound", err)
	}
	history(t, db, 30)
	j := wholeRedrive()
	if err := db.AddRedrive(ctx, &j); err != nil {
		t.Fatal(err)
	}
	if j.ID != 1 || j.State != event.RedriveRunning || j.Last != 30 || time.Since(j.Created) > time.Minute {
		t.Errorf("AddRedrive filled in %+v; want the first, RUNNING, up to event 30, now", j)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, path)
	got, err := db.Redrive(ctx, 1)
	if err != nil || !reflect.DeepEqual(*got, j) {
		t.Errorf("Redrive(1) = %+v, %v; want %+v", got, err, j)
	}
	list, err := db.Redrives(ctx)
	if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], j) {
		t.Errorf("Redrives = %+v, %v; want that one", list, err)
	}
}

// TestAdvanceRedrive takes steps with the progress, or neither.
func TestAdvanceRedrive(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, newAdmission(event.Inbound, "a", "h"), newAdmission(event.Inbound, "b", "h"))
	j := event.Redrive{}
	if err := db.AddRedrive(ctx, &j); err != nil {
		t.Fatal(err)
	}
	begin := func(seq uint64) *event.Update {
		return &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status = event.InProgress
			return nil, nil
		}}
	}
	one, missing := begin(1), begin(99)
	err := db.AdvanceRedrive(ctx, j.ID, func(x *event.Redrive) {
		if one.Err == nil && errors.Is(missing.Err, event.ErrNotFound) {
			x.Done, x.Failed, x.Position = 1, 1, 1
		}
		x.State = event.RedriveCompleted
	}, one, missing)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.Redrive(ctx, j.ID); err != nil || got.Done != 1 || got.Failed != 1 || got.Position != 1 || got.Ended.IsZero() {
		t.Errorf("Redrive = %+v, %v; want what became of the steps, and ended", got, err)
	}
	two := begin(2)
	err = db.AdvanceRedrive(ctx, j.ID, func(x *event.Redrive) { x.Done = 100 }, two)
	if rec, _ := db.Get(ctx, 2); !errors.Is(err, event.ErrConflict) || rec.Status != event.Unprocessed {
		t.Errorf("AdvanceRedrive of an ended one: %v, event %s; want ErrConflict and no step", err, rec.Status)
	}
	if err := db.AdvanceRedrive(ctx, 99, func(*event.Redrive) {}, two); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("AdvanceRedrive of none: %v; want ErrNotFound", err)
	}
	if rec, _ := db.Get(ctx, 1); rec.Status != event.InProgress {
		t.Errorf("event 1 is %s; want IN_PROGRESS", rec.Status)
	}
}

// TestEndedRedrivesAreForgotten keeps a hundred, and all that run.
func TestEndedRedrivesAreForgotten(t *testing.T) {
	db := openTest(t, storePath(t))
	running := event.Redrive{Filter: event.Filter{Handler: "other"}}
	if err := db.AddRedrive(ctx, &running); err != nil {
		t.Fatal(err)
	}
	for range keptRedrives + 20 {
		j := event.Redrive{Filter: event.Filter{Handler: "h"}}
		if err := db.AddRedrive(ctx, &j); err != nil {
			t.Fatal(err)
		}
		again := event.Redrive{Order: event.RedriveOrder{Handler: "h"}}
		if err := db.AddRedrive(ctx, &again); !errors.Is(err, event.ErrConflict) {
			t.Fatalf("a second one for h: %v; want ErrConflict", err)
		}
		if err := db.AdvanceRedrive(ctx, j.ID, func(x *event.Redrive) { x.State = event.RedriveCancelled }); err != nil {
			t.Fatal(err)
		}
	}
	list, err := db.Redrives(ctx)
	if err != nil || len(list) != keptRedrives+1 || list[0].ID != running.ID || list[1].ID != 22 {
		t.Fatalf("%d redrives, %v; want the one that runs and the last %d", len(list), err, keptRedrives)
	}
}

func TestDamagedRedrive(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	for i := range 2 {
		if err := db.AddRedrive(ctx, &event.Redrive{Filter: event.Filter{Handler: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	err := db.do(ctx, func(t *transaction) error {
		b := t.tx.Bucket(bucketRedrives)
		v := append([]byte{}, b.Get(key8(1))...)
		v[len(v)-1] ^= 1
		return b.Put(key8(1), v)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Redrive(ctx, 1); !errors.Is(err, ErrQuarantined) {
		t.Errorf("Redrive(1): %v; want ErrQuarantined", err)
	}
	if list, err := db.Redrives(ctx); err != nil || len(list) != 1 || list[0].ID != 2 {
		t.Errorf("Redrives = %+v, %v; want the sound one", list, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(ctx, CommandOptions{Path: path}); err != nil || r.Damages != 1 || r.Problems[0] != "redrive 1: damaged record" {
		t.Errorf("Check = %+v, %v; want the damaged redrive", r, err)
	}
	editStore(t, path, func(tx *bolt.Tx) error { return tx.Bucket(bucketRedrives).Delete(key8(1)) })
}
