package storage

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

func bytesOf(_ *event.Event, payload []byte) int { return len(payload) }

// TestDueWithinRoom: what fits is returned in order, what never fits is passed
// over, and what does not fit any more ends the list.
func TestDueWithinRoom(t *testing.T) {
	db := openTest(t, storePath(t))
	for i, size := range []int{200, 40, 101, 50, 20, 5} {
		a := newAdmission(event.Inbound, fmt.Sprint("e", i), "h")
		a.Payload = make([]byte, size)
		accept(t, db, a)
	}
	room := &event.Room{Bytes: 100, Size: bytesOf}
	list, next, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: t0, Limit: 10, Bytes: 1 << 20, Room: room})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range list {
		got = append(got, fmt.Sprint(x.Event.ID, ":", len(x.Payload)))
	}
	if fmt.Sprint(got) != "[e1:40 e3:50]" || next.IsZero() || next.After(t0) {
		t.Errorf("due = %v, next %s; want e1 and e3, and more due", got, next)
	}
	list, _, err = db.Due(ctx, event.DueQuery{Handler: "h", Now: t0, Limit: 10, Bytes: 1 << 20})
	if err != nil || len(list) != 6 {
		t.Errorf("without a room %d are due, %v; want 6", len(list), err)
	}
}

// TestDuePassesOverSoMany that are too large, and no more.
func TestDuePassesOverSoMany(t *testing.T) {
	db := openTest(t, storePath(t))
	var list []*event.Admission
	for i := range maxPassedOver + 1 {
		a := newAdmission(event.Inbound, fmt.Sprint("e", i), "h")
		a.Payload = make([]byte, 100)
		if i == maxPassedOver {
			a.Payload = a.Payload[:1]
		}
		list = append(list, a)
	}
	accept(t, db, list...)
	looked := 0
	room := &event.Room{Bytes: 10, Size: func(e *event.Event, payload []byte) int { looked++; return len(payload) }}
	got, next, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: t0, Limit: 10, Bytes: 1 << 20, Room: room})
	if err != nil || len(got) != 0 || next.IsZero() || next.After(t0) || looked != maxPassedOver {
		t.Errorf("%d due, next %s, %v after %d; want none, more due, after %d", len(got), next, err, looked, maxPassedOver)
	}
}

// TestDueReadsOnBehindSeats: what only gets its place in a line is not all there is.
func TestDueReadsOnBehindSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t))
		head := ordered("head", "k", event.Block)
		head.State.Deliveries[0].Status = event.Error
		list := []*event.Admission{head}
		for i := range 5 {
			a := ordered(fmt.Sprint("delayed-", i), "k", event.Block)
			a.State.Deliveries[0].NextAttempt = time.Now().Add(time.Minute)
			list = append(list, a)
		}
		free := newAdmission(event.Inbound, "free", "h")
		free.State.Deliveries[0].NextAttempt = time.Now().Add(2 * time.Minute)
		accept(t, db, append(list, free)...)
		time.Sleep(3 * time.Minute)
		room := &event.Room{Bytes: 1 << 20, Size: bytesOf}
		got, _, err := db.Due(ctx, event.DueQuery{Handler: "h", Now: time.Now(), Limit: 1, Bytes: 1 << 20, Room: room})
		if err != nil || len(got) != 1 || got[0].Event.ID != "free" {
			t.Errorf("Due = %+v, %v; want the one that waits for nobody", got, err)
		}
	})
}
