package storage

import (
	"fmt"
	"testing"

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
