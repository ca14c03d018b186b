package storage

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// inConversation makes an admission of a conversation that adds a word to its working data.
func inConversation(id, correlation, word string) *event.Admission {
	a := newAdmission(event.Inbound, id, "h")
	a.Event.CorrelationID = correlation
	a.Remember = func(body []byte) ([]byte, error) { return append(bytes.Clone(body), word...), nil }
	return a
}

func wantWorking(t testing.TB, db *DB, correlation, body string, version uint64) event.Document {
	t.Helper()
	d, err := db.WorkingData(ctx, correlation)
	if err != nil || string(d.Body) != body || d.Version != version {
		t.Errorf("working data of %s = %.80q, version %d, %v; want %.80q, %d", correlation, d.Body, d.Version, err, body, version)
	}
	return d
}

func amendTo(body string) func(event.Document) ([]byte, error) {
	return func(event.Document) ([]byte, error) { return []byte(body), nil }
}

func TestWorkingDataIsStoredWithTheEvent(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	if _, err := db.WorkingData(ctx, "c"); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("of an unknown conversation: %v; want %v", err, event.ErrNotFound)
	}
	accept(t, db, inConversation("c", "c", "a"), inConversation("e2", "c", "b"), newAdmission(event.Inbound, "plain", "h"))
	wantWorking(t, db, "c", "ab", 2)
	if _, err := db.WorkingData(ctx, "plain"); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("of a conversation without: %v; want %v", err, event.ErrNotFound)
	}
	if _, err := db.WorkingData(ctx, "e2"); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("under the id of an event of another conversation: %v; want %v", err, event.ErrNotFound)
	}
	again := inConversation("e2", "c", "never")
	if accept(t, db, again); !again.Duplicate {
		t.Error("the same event again is no duplicate")
	}
	follow := inConversation("f", "c", "d")
	late := &event.Update{Seq: 3, Step: func(*event.State) (*event.Effects, error) {
		return &event.Effects{FollowUps: []*event.Admission{follow}, Remember: func([]byte) ([]byte, error) { return []byte("late"), nil }}, nil
	}}
	if err := db.Update(ctx, late); err != nil || late.Err != nil {
		t.Fatal(err, late.Err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, path)
	d := wantWorking(t, db, "c", "abd", 3)
	if d.CreatedBy != "UPSTREAM" || d.UpdatedBy != "UPSTREAM" || d.CreatedAt.IsZero() || d.UpdatedAt.Before(d.CreatedAt) || d.CorrelationID != "c" {
		t.Errorf("document = %+v; want it to say who and when", d)
	}
	wantWorking(t, db, "plain", "late", 1)
}

// TestWorkingDataStaysWithTheOldestEvent: its place is a seq, not a random key.
func TestWorkingDataStaysWithTheOldestEvent(t *testing.T) {
	db := openTest(t, storePath(t))
	for i := range 35 {
		a := newAdmission(event.Inbound, fmt.Sprint("e", i), "h")
		if i%8 == 3 {
			a = inConversation(fmt.Sprint("e", i), "long", strconv.Itoa(i))
		}
		accept(t, db, a)
	}
	wantWorking(t, db, "long", "3111927", 4)
	var keys []string
	_ = db.bolt.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketSegments).ForEachBucket(func(k []byte) error {
			if w := tx.Bucket(bucketSegments).Bucket(k).Bucket(bucketWorking); w != nil {
				return w.ForEach(func(k, _ []byte) error { keys = append(keys, fmt.Sprintf("%d", k[7])); return nil })
			}
			return nil
		})
	})
	if got := strings.Join(keys, " "); got != "4" {
		t.Errorf("documents under %s; want one, under 4", got)
	}
}

func TestAmendWorkingData(t *testing.T) {
	db := openTest(t, storePath(t))
	if _, err := db.AmendWorkingData(ctx, "c", "S", amendTo("{}")); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("of an unknown conversation: %v; want %v", err, event.ErrNotFound)
	}
	accept(t, db, newAdmission(event.Inbound, "c", "h"))
	if d, err := db.AmendWorkingData(ctx, "c", "S", amendTo("{1}")); err != nil || d.Version != 1 || d.CreatedBy != "S" {
		t.Errorf("made: %+v, %v; want version 1 by S", d, err)
	}
	if d, err := db.AmendWorkingData(ctx, "c", "T", amendTo("{2}")); err != nil || d.Version != 2 || d.CreatedBy != "S" || d.UpdatedBy != "T" {
		t.Errorf("changed: %+v, %v; want version 2, made by S, changed by T", d, err)
	}
	refuse := errors.New("no")
	d, err := db.AmendWorkingData(ctx, "c", "U", func(d event.Document) ([]byte, error) {
		if d.Version != 2 || string(d.Body) != "{2}" {
			t.Errorf("a change is given %+v", d)
		}
		return nil, refuse
	})
	if !errors.Is(err, refuse) || d.Version != 2 {
		t.Errorf("refused: version %d, %v; want 2, %v", d.Version, err, refuse)
	}
	if _, err := db.AmendWorkingData(ctx, "c", "U", amendTo(strings.Repeat("x", event.MaxDocument+1))); !errors.Is(err, event.ErrTooLarge) {
		t.Errorf("one byte too many: %v; want %v", err, event.ErrTooLarge)
	}
	wantWorking(t, db, "c", "{2}", 2)
	if _, err := db.AmendWorkingData(ctx, "c", "U", amendTo(strings.Repeat("x", event.MaxDocument))); err != nil {
		t.Errorf("as large as may be: %v", err)
	}
}

// TestNoChangeOfWorkingDataIsLost has many change the same document at once.
func TestNoChangeOfWorkingDataIsLost(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, newAdmission(event.Inbound, "c", "h"))
	const n = 50
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			_, err := db.AmendWorkingData(ctx, "c", "S", func(d event.Document) ([]byte, error) {
				count, _ := strconv.Atoi(string(d.Body))
				return strconv.AppendInt(nil, int64(count+1), 10), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantWorking(t, db, "c", strconv.Itoa(n), n)
}

// TestEventIsKeptWhereNothingCanBeRemembered: the timeline says why.
func TestEventIsKeptWhereNothingCanBeRemembered(t *testing.T) {
	db := openTest(t, storePath(t))
	large := inConversation("c", "c", strings.Repeat("x", event.MaxDocument+1))
	odd := inConversation("d", "d", "")
	odd.Remember = func([]byte) ([]byte, error) { return nil, errors.New("no such thing") }
	accept(t, db, large, odd)
	for seq, want := range map[uint64]string{1: "UNPROCESSED too_large", 2: "UNPROCESSED "} {
		rec, err := db.Get(ctx, seq)
		if err != nil || len(rec.Timeline) != 1 {
			t.Fatalf("Get(%d) = %+v, %v; want one entry", seq, rec.Timeline, err)
		}
		e := rec.Timeline[0]
		if got := e.Status.String() + " " + string(e.Reason); got != want || !strings.Contains(e.Detail, "nothing was remembered") {
			t.Errorf("event %d: %s %q; want %s", seq, got, e.Detail, want)
		}
	}
	if _, err := db.WorkingData(ctx, "c"); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("WorkingData = %v; want %v", err, event.ErrNotFound)
	}
}

func TestDamagedWorkingData(t *testing.T) {
	db, err := Open(Options{Path: storePath(t), segmentEvents: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	accept(t, db, inConversation("c", "c", "a"), inConversation("d", "d", "b"))
	if err := harm(db, func(tx *bolt.Tx) error {
		return errors.Join(flip(segmentBucket(tx, 1).Bucket(bucketWorking), key8(1), 9), flipInBlock(bucketHeads, 2)(tx))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.WorkingData(ctx, "c"); !errors.Is(err, ErrQuarantined) {
		t.Errorf("WorkingData = %v; want %v", err, ErrQuarantined)
	}
	if _, err := db.AmendWorkingData(ctx, "c", "S", amendTo("{}")); !errors.Is(err, ErrQuarantined) || db.Err() != nil {
		t.Errorf("AmendWorkingData = %v, %v; want %v", err, db.Err(), ErrQuarantined)
	}
	accept(t, db, inConversation("e", "c", "b"))
	if rec, err := db.Get(ctx, 3); err != nil || len(rec.Timeline) != 1 || !strings.Contains(rec.Timeline[0].Detail, "nothing was remembered") {
		t.Errorf("an event of the conversation: %+v, %v; want it kept with a note", rec.Timeline, err)
	}
	wantWorking(t, db, "d", "b", 1) // found though the head of its event is damaged
}

// carryAll empties a segment of its documents, a few at a time.
func carryAll(t testing.TB, db *DB, s *segment) (rounds int) {
	t.Helper()
	for more := true; more; rounds++ {
		if err := db.do(ctx, func(tx *transaction) (err error) {
			more, err = tx.release(s, 2)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return rounds
}

// TestWorkingDataGoesWithTheLastEvent: a segment that is dropped leaves the
// documents of conversations that go on.
func TestWorkingDataGoesWithTheLastEvent(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, inConversation("long", "long", "a"), inConversation("short", "short", "b"), inConversation("other", "other", "c"))
	second := newAdmission(event.Inbound, "second", "h")
	second.Event.CorrelationID = "long"
	accept(t, db, second)
	for i := range 20 {
		accept(t, db, newAdmission(event.Inbound, fmt.Sprint("e", i), "h"))
	}
	plain := newAdmission(event.Inbound, "later", "h")
	plain.Event.CorrelationID = "long"
	accept(t, db, plain, inConversation("last", "other", "d"))
	first := db.segmentList()[0]
	if n := carryAll(t, db, first); n != 2 {
		t.Errorf("carried in %d rounds; want 2", n)
	}
	wantWorking(t, db, "long", "a", 1) // as long as the segment is there, and without it
	wantWorking(t, db, "other", "cd", 2)
	if _, err := db.WorkingData(ctx, "short"); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("of a conversation that has gone: %v; want %v", err, event.ErrNotFound)
	}
	accept(t, db, inConversation("more", "long", "z"))
	wantWorking(t, db, "long", "az", 2)
	var left int
	_ = db.bolt.View(func(tx *bolt.Tx) error {
		left = countKeys(segmentBucket(tx, 1).Bucket(bucketWorking))
		return nil
	})
	if left != 0 {
		t.Errorf("%d documents are left in the segment; want none", left)
	}
}
