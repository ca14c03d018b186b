package storage

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// talk stores an event of a conversation now, which remembers a word, and takes
// it to a status.
func talk(t testing.TB, db *DB, id, word string, status event.Status) {
	t.Helper()
	a := fresh(id)
	a.Event.CorrelationID = "c"
	if word != "" {
		a.Remember = inConversation(id, "c", word).Remember
	}
	accept(t, db, a)
	end(t, db, a.Event.Seq, status, nil)
}

// TestWorkingDataOutlastsItsFirstEvent: retention takes events one by one and in
// whole segments, and the document goes with the last of its conversation.
func TestWorkingDataOutlastsItsFirstEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(short, time.Minute))
		talk(t, db, "first", "a", event.Completed) // gone after 4 h, alone: its segment has a dead letter
		talk(t, db, "second", "b", event.Error)    // gone after 12 h
		for i := range 20 {
			a := fresh(fmt.Sprint("other", i))
			accept(t, db, a)
			end(t, db, a.Event.Seq, event.Completed, nil)
		}
		talk(t, db, "third", "c", event.Failed) // gone after 40 h
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		if left := fmt.Sprint(ids(t, db)); left != "[second third]" {
			t.Fatalf("after 8 hours there are %s", left)
		}
		wantWorking(t, db, "c", "abc", 3)
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if left := fmt.Sprint(ids(t, db)); left != "[third]" {
			t.Fatalf("after 20 hours there are %s", left)
		}
		wantWorking(t, db, "c", "abc", 3)
		if _, err := db.AmendWorkingData(ctx, "c", "S", amendTo("{}")); err != nil {
			t.Errorf("it cannot be changed any more: %v", err)
		}
		time.Sleep(40 * time.Hour)
		synctest.Wait()
		if _, err := db.WorkingData(ctx, "c"); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("without events it is still there: %v", err)
		}
	})
}

// TestWhatRetentionLeavesIsMoved by a dump: gaps stay gaps, and a payload that
// was removed is said to be.
func TestWhatRetentionLeavesIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path, keeping(short, time.Minute))
		talk(t, db, "gone", "", event.Completed)
		time.Sleep(3 * time.Hour)
		talk(t, db, "stripped", "", event.Completed)
		talk(t, db, "kept", "", event.Error)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if left := fmt.Sprint(ids(t, db)); left != "[stripped kept]" {
			t.Fatalf("there are %s", left)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		text := dumpOfFile(t, path)
		to := storePath(t)
		if _, err := Load(ctx, putOptions(to), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if again := dumpOfFile(t, to); again != text {
			t.Errorf("the dump of what was loaded is\n%s\nwant\n%s", again, text)
		}
		moved := openTest(t, to)
		if left := fmt.Sprint(ids(t, moved)); left != "[stripped kept]" {
			t.Errorf("moved there are %s", left)
		}
		for seq, want := range map[uint64]error{2: event.ErrPayloadRemoved, 3: nil} {
			if _, err := moved.Payload(ctx, seq); !errors.Is(err, want) {
				t.Errorf("payload of event %d: %v; want %v", seq, err, want)
			}
		}
	})
}

// TestDumpOfWorkingData moves a conversation, and what awaits its response, to
// another store in which handlers have other numbers.
func TestDumpOfWorkingData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path, keeping(short, time.Minute))
		gone := fresh("gone")
		gone.State.Deliveries[0].Handler = "first"
		accept(t, db, gone)
		end(t, db, gone.Event.Seq, event.Completed, nil)
		time.Sleep(3 * time.Hour)
		talk(t, db, "one", "a", event.Error)
		ask := newAdmission(event.Request, "ask", "second")
		ask.Event.CreatedAt, ask.State.UpdatedAt, ask.State.Deliveries[0].NextAttempt = time.Now(), time.Now(), time.Now()
		accept(t, db, ask)
		end(t, db, ask.Event.Seq, event.Completed, &event.Effects{Await: &event.Await{Delivery: 0, Sent: time.Now()}})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if left := fmt.Sprint(ids(t, db)); left != "[one ask]" {
			t.Fatalf("there are %s; want the first handler to have no event", left)
		}
		before, err := db.WorkingData(ctx, "c")
		if err != nil || db.Overdue("second", time.Now()) != 1 {
			t.Fatalf("WorkingData: %v; %d overdue", err, db.Overdue("second", time.Now()))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		to := storePath(t)
		if _, err := Load(ctx, putOptions(to), strings.NewReader(dumpOfFile(t, path))); err != nil {
			t.Fatal(err)
		}
		db = openTest(t, to)
		if after, err := db.WorkingData(ctx, "c"); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the document is %v, %v; want %v", after, err, before)
		}
		if n := db.Overdue("second", time.Now()); n != 1 {
			t.Errorf("%d overdue; want 1", n)
		}
	})
}

// TestWorkingDataStaysWithWhatIsToBePublished: an event whose publication is still
// to be sent keeps its document, and its neighbours do not wait for it.
func TestWorkingDataStaysWithWhatIsToBePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openTest(t, storePath(t), keeping(short, time.Minute))
		a := fresh("first")
		a.Event.CorrelationID, a.Remember = "c", inConversation("first", "c", "a").Remember
		accept(t, db, a)
		end(t, db, a.Event.Seq, event.Completed, &event.Effects{Outbox: []event.Publication{{Subject: "s", Body: []byte("x")}}})
		for i := range 40 {
			b := fresh(fmt.Sprint("other", i))
			accept(t, db, b)
			end(t, db, b.Event.Seq, event.Completed, nil)
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		if left := fmt.Sprint(ids(t, db)); left != "[first]" {
			t.Errorf("there are %s; want the first alone", left)
		}
		wantWorking(t, db, "c", "a", 1)
	})
}

// TestReviveWhatCameInTheSameCommit: a payload that is not written yet is not one
// that retention took.
func TestReviveWhatCameInTheSameCommit(t *testing.T) {
	db := openTest(t, storePath(t))
	parent := fresh("parent")
	accept(t, db, parent)
	ended := fresh("ended")
	ended.State.Deliveries[0].Status, ended.State.Deliveries[0].NextAttempt = event.Error, time.Time{}
	ended.State.Derive()
	first := &event.Update{Seq: parent.Event.Seq, Step: func(*event.State) (*event.Effects, error) {
		return &event.Effects{FollowUps: []*event.Admission{ended}}, nil
	}}
	second := &event.Update{Seq: parent.Event.Seq + 1, Step: func(s *event.State) (*event.Effects, error) {
		s.Deliveries[0].Status, s.Deliveries[0].NextAttempt = event.Unprocessed, time.Now()
		return nil, nil
	}}
	if err := errors.Join(db.Update(ctx, first, second), first.Err, second.Err); err != nil {
		t.Error(err)
	}
}
