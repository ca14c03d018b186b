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
