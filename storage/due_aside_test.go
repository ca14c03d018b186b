package storage

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestDueAsideFindsTheOtherKind behind more of the one than a look passes, from
// where the look before ended, and none before its time.
func TestDueAsideFindsTheOtherKind(t *testing.T) {
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents = segmentEvents })
	add := func(id, handler string, status event.Status, at time.Time) {
		a := newAdmission(event.Inbound, id, handler)
		a.State.Deliveries[0].Status, a.State.Deliveries[0].NextAttempt = status, at
		if status == event.Retry {
			a.State.Deliveries[0].Attempts = 1
		}
		accept(t, db, a)
	}
	var list []*event.Admission
	for i := range 2*asideRuns + 10 {
		a := newAdmission(event.Inbound, fmt.Sprint("fresh-", i), "h")
		a.State.Deliveries[0].NextAttempt = t0.Add(time.Duration(i) * time.Microsecond)
		list = append(list, a)
	}
	accept(t, db, list...)
	add("first", "h", event.Retry, t0.Add(-time.Hour)) // before the place it begins at
	for i := range 3 {
		add(fmt.Sprint("retry-", i), "h", event.Retry, t0.Add(time.Second))
	}
	add("later", "h", event.Retry, t0.Add(time.Hour))
	add("other", "i", event.Retry, t0)

	q := event.DueQuery{Handler: "h", Now: t0.Add(time.Minute), Limit: 2, Bytes: 1 << 20}
	look := func(status event.Status, after event.DuePlace) (ids []string, reached event.DuePlace) {
		t.Helper()
		found, reached, err := db.DueAside(context.Background(), q, status, after)
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			ids = append(ids, found[i].Event.ID)
		}
		return ids, reached
	}
	place, looks := event.DuePlace{At: t0}, 0
	var ids []string
	for ; len(ids) == 0 && looks < 10; looks++ {
		before := place
		if ids, place = look(event.Retry, before); place.Before(before) {
			t.Fatalf("reached %v after %v", place, before)
		}
	}
	if fmt.Sprint(ids) != "[retry-0 retry-1]" || looks != 3 {
		t.Errorf("%v after %d looks; want retry-0 and 1 after 3", ids, looks)
	}
	if ids, _ = look(event.Retry, place); fmt.Sprint(ids) != "[retry-0 retry-1]" { // they may wait still
		t.Errorf("%v from where that ended; want the same", ids)
	}
	q.Limit = 100
	if ids, place = look(event.Retry, place); fmt.Sprint(ids) != "[retry-0 retry-1 retry-2]" {
		t.Errorf("%v; want three, none of them later or of another handler", ids)
	}
	if ids, _ = look(event.Unprocessed, place); len(ids) != 0 {
		t.Errorf("%v behind all fresh ones; want none", ids)
	}
	q.Limit, q.Bytes = 100, 1
	if ids, _ = look(event.Retry, event.DuePlace{}); fmt.Sprint(ids) != "[first]" {
		t.Errorf("%v with room for one payload; want the first", ids)
	}
	q.Handler = "unknown"
	if ids, _ = look(event.Retry, event.DuePlace{}); len(ids) != 0 {
		t.Errorf("%v for an unknown handler; want none", ids)
	}
}

// TestDueAsideInTheMiddleOfARun: what was stored together is one entry of the
// index, and a place may be inside it.
func TestDueAsideInTheMiddleOfARun(t *testing.T) {
	db := openTest(t, storePath(t))
	var list []*event.Admission
	for i := range 10 {
		list = append(list, newAdmission(event.Inbound, fmt.Sprint("fresh-", i), "h"))
	}
	accept(t, db, list...)
	q := event.DueQuery{Handler: "h", Now: t0, Limit: 2, Bytes: 1 << 20}
	for seq, want := range map[uint64]string{0: "[fresh-0 fresh-1]", 1: "[fresh-1 fresh-2]", 9: "[fresh-9]", 10: "[]"} {
		found, reached, err := db.DueAside(context.Background(), q, event.Unprocessed, event.DuePlace{At: t0, Seq: seq})
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for i := range found {
			ids = append(ids, found[i].Event.ID)
		}
		if fmt.Sprint(ids) != want || !reached.At.Equal(t0) || reached.Seq != seq {
			t.Errorf("behind %d: %v, reached %v; want %s", seq, ids, reached, want)
		}
	}
	found, reached, err := db.DueAside(context.Background(), q, event.Retry, event.DuePlace{})
	if err != nil || len(found) != 0 || reached.Seq != 10 {
		t.Errorf("%d of another kind, reached %v, %v; want none, the end of the run", len(found), reached, err)
	}
}

// TestDueAsideLeavesOutABoundedNumber: a look reads so many that are to take a place
// in line, and the next one goes on behind them.
func TestDueAsideLeavesOutABoundedNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t))
		head := ordered("head", "k", event.Block)
		head.State.Deliveries[0].Status = event.Error
		list := []*event.Admission{head}
		for i := range asideLeftOut + 10 {
			a := ordered(fmt.Sprint("delayed-", i), "k", event.Block)
			a.State.Deliveries[0].NextAttempt = time.Now().Add(time.Minute)
			list = append(list, a)
		}
		free := newAdmission(event.Inbound, "free", "h")
		free.State.Deliveries[0].NextAttempt = time.Now().Add(2 * time.Minute)
		accept(t, db, append(list, free)...)
		time.Sleep(3 * time.Minute)
		q := event.DueQuery{Handler: "h", Now: time.Now(), Limit: 2, Bytes: 1 << 20}
		found, reached, err := db.DueAside(ctx, q, event.Unprocessed, event.DuePlace{})
		if err != nil || len(found) != 0 || reached.Seq != asideLeftOut+1 {
			t.Fatalf("%d events, reached %v, %v; want none, and the last that was read", len(found), reached, err)
		}
		found, reached, err = db.DueAside(ctx, q, event.Unprocessed, reached)
		if err != nil || len(found) != 1 || found[0].Event.ID != "free" || reached.Seq != asideLeftOut+11 {
			t.Errorf("%d events, reached %v, %v; want the one that waits for nobody, and the place before it", len(found), reached, err)
		}
	})
}
