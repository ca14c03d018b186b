package storage

import (
	"fmt"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestRetentionPassesDamageOver: a segment that cannot be read does not take the
// store down when its time is over, nor keep the others.
func TestRetentionPassesDamageOver(t *testing.T) {
	for _, bucket := range [][]byte{bucketHeads, bucketPayloads, bucketStates, bucketIDs} {
		for name, kept := range map[string]event.Status{"whole": event.Completed, "thinned": event.Failed} {
			t.Run(string(bucket)+" "+name, func(t *testing.T) { retainDamaged(t, bucket, kept) })
		}
	}
}

// retainDamaged lets the COMPLETED events of damaged segments go, with one of
// each segment in another status.
func retainDamaged(t *testing.T, bucket []byte, other event.Status) {
	path := storePath(t)
	o := Options{Path: path, segmentEvents: treeSegment, Retention: Retention{Completed: time.Hour}}
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range treeEvents + 1 {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		if a.State.Deliveries[0].Status = event.Completed; i%treeSegment == 3 {
			a.State.Deliveries[0].Status = other
		}
		accept(t, db, a)
	}
	awaitSealed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	zeroTree(t, path, bucket)
	if db, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	k := &keeper{db: db, next: map[uint64]time.Time{}, damaged: map[uint64]bool{}}
	if err := k.look(earlyPolicy()); err != nil || db.Err() != nil {
		t.Fatalf("retention over damage: %v; the store: %v", err, db.Err())
	}
	for i := treeSegment; i < treeEvents; i++ { // those of sound segments
		found, err := db.Find(ctx, fmt.Sprint("id-", i))
		if want := i%treeSegment == 3 && other != event.Completed; err != nil || (len(found) == 1) != want {
			t.Errorf("Find of event %d: %d found, %v; want it there: %t", i, len(found), err, want)
		}
	}
	accept(t, db, newAdmission(event.Inbound, "next", "h"))
}
