package storage

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// send has a request sent by its first delivery at a time.
func send(t testing.TB, db *DB, seq uint64, sent time.Time) {
	t.Helper()
	deliver(t, db, seq, event.InProgress, nil)
	deliver(t, db, seq, event.Completed, &event.Effects{Await: &event.Await{Sent: sent}})
}

func deliver(t testing.TB, db *DB, seq uint64, to event.Status, e *event.Effects) {
	t.Helper()
	u := &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
		s.Deliveries[0].Status = to
		return e, nil
	}}
	if err := errors.Join(db.Update(ctx, u), u.Err); err != nil {
		t.Fatal(err)
	}
}

// waiting returns the ids of the requests that await their response since a time.
func waiting(t testing.TB, db *DB, f event.Filter, p event.Page) string {
	t.Helper()
	var ids []string
	for p.Limit = max(p.Limit, 1); ; {
		list, next, err := db.List(ctx, f, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range list {
			ids = append(ids, rec.ID)
		}
		if p.After = next; next == 0 {
			return strings.Join(ids, " ")
		}
	}
}

func TestRequestsAwaitTheirResponse(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	at := func(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }
	if n, ids := db.Overdue("b", at(99)), waiting(t, db, event.Filter{Unanswered: at(99)}, event.Page{}); n != 0 || ids != "" {
		t.Errorf("an empty store has %d overdue, %q waiting", n, ids)
	}
	for i := range 25 { // over three segments
		a := newAdmission(event.Request, fmt.Sprint("q", i), []string{"b", "c"}[i%2])
		accept(t, db, a)
		send(t, db, a.Event.Seq, at(i))
	}
	for _, id := range []string{"q3", "q8", "q20", "unknown"} {
		accept(t, db, newAdmission(event.Response, id, "h"))
	}
	accept(t, db, newAdmission(event.Inbound, "q5", "h")) // no response
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, path)
	if b, c := db.Overdue("b", at(10)), db.Overdue("c", at(10)); b != 5 || c != 4 { // 0 2 4 6 10, 1 5 7 9
		t.Errorf("overdue: b %d, c %d; want 5, 4", b, c)
	}
	if n := db.Overdue("nobody", at(99)); n != 0 {
		t.Errorf("overdue: nobody %d; want 0", n)
	}
	const newest = "q10 q9 q7 q6 q5 q4 q2 q1 q0"
	for _, limit := range []int{1, 2, 4, 100} {
		if got := waiting(t, db, event.Filter{Unanswered: at(10)}, event.Page{Limit: limit}); got != newest {
			t.Errorf("pages of %d: %s; want %s", limit, got, newest)
		}
		if got, want := waiting(t, db, event.Filter{Unanswered: at(10)}, event.Page{Limit: limit, OldestFirst: true}), "q0 q1 q2 q4 q5 q6 q7 q9 q10"; got != want {
			t.Errorf("pages of %d, oldest first: %s; want %s", limit, got, want)
		}
	}
	if got, want := waiting(t, db, event.Filter{Unanswered: at(99), Handler: "c"}, event.Page{Limit: 3}), "q23 q21 q19 q17 q15 q13 q11 q9 q7 q5 q1"; got != want {
		t.Errorf("of one handler: %s; want %s", got, want)
	}
	if got := waiting(t, db, event.Filter{Unanswered: at(10), CorrelationID: "q7"}, event.Page{}); got != "q7" {
		t.Errorf("of one conversation: %s; want q7", got)
	}
}

// TestResponseThatIsQuicker than the news that the request was sent.
func TestResponseThatIsQuicker(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, newAdmission(event.Request, "q", "b"), newAdmission(event.Response, "q", "h"))
	send(t, db, 1, t0)
	if n := db.Overdue("b", t0); n != 0 {
		t.Errorf("%d overdue; want none", n)
	}
}

// TestRequestSentLate counts from when it was sent, and again from a redrive.
func TestRequestSentLate(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, newAdmission(event.Request, "late", "b"), newAdmission(event.Request, "prompt", "b"))
	send(t, db, 1, t0.Add(time.Hour))
	send(t, db, 2, t0.Add(time.Minute))
	overdue := func(after time.Duration, want int) {
		t.Helper()
		if n := db.Overdue("b", t0.Add(after)); n != want {
			t.Errorf("after %s: %d overdue; want %d", after, n, want)
		}
	}
	overdue(0, 0)
	overdue(time.Minute, 1)
	overdue(time.Hour-time.Microsecond, 1)
	overdue(time.Hour, 2)
	deliver(t, db, 1, event.Unprocessed, nil)
	overdue(2*time.Hour, 1)
	send(t, db, 1, t0.Add(3*time.Hour))
	overdue(2*time.Hour, 1)
	overdue(3*time.Hour, 2)
}

// TestOverdueIsCountedToALimit: a scrape costs no more, however many there are.
func TestOverdueIsCountedToALimit(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, newAdmission(event.Request, "q", "b"))
	send(t, db, 1, t0)
	more := func(change func(b *bolt.Bucket, key, line []byte) error) {
		t.Helper()
		if err := db.do(ctx, func(tx *transaction) (err error) {
			b, handler := tx.tx.Bucket(bucketAwaiting), tx.db.names.handler("b")
			line := b.Get(awaitingKey(handler, 1, 0))
			for i := range uint64(maxOverdue + 5) {
				err = errors.Join(err, change(b, awaitingKey(handler, 100+i, 0), line))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	more((*bolt.Bucket).Put)
	if n := db.Overdue("b", t0); n != maxOverdue {
		t.Errorf("%d overdue; want %d", n, maxOverdue)
	}
	if got := waiting(t, db, event.Filter{Unanswered: t0}, event.Page{Limit: 5}); got != "q" { // the others are no events
		t.Errorf("waiting: %s; want q", got)
	}
	more(func(b *bolt.Bucket, key, _ []byte) error { return b.Delete(key) })
}

func TestDroppedSegmentAwaitsNothing(t *testing.T) {
	db := openTest(t, storePath(t))
	for i := range 12 {
		a := newAdmission(event.Request, fmt.Sprint("q", i), "b")
		accept(t, db, a)
		send(t, db, a.Event.Seq, t0)
	}
	carryAll(t, db, db.segmentList()[0])
	if got := waiting(t, db, event.Filter{Unanswered: t0}, event.Page{Limit: 5}); got != "q11 q10" {
		t.Errorf("waiting: %s; want those of the other segment", got)
	}
}

func TestDamagedLineAwaitsNothing(t *testing.T) {
	db := openTest(t, storePath(t))
	accept(t, db, newAdmission(event.Request, "q", "b"), newAdmission(event.Request, "q2", "b"))
	send(t, db, 1, t0)
	send(t, db, 2, t0)
	if err := harm(db, func(tx *bolt.Tx) error {
		return flip(tx.Bucket(bucketAwaiting), awaitingKey(0, 1, 0), 6)
	}); err != nil {
		t.Fatal(err)
	}
	if n, ids := db.Overdue("b", t0), waiting(t, db, event.Filter{Unanswered: t0}, event.Page{}); n != 1 || ids != "q2" {
		t.Errorf("%d overdue, %q waiting; want the one that can be read", n, ids)
	}
	if err := harm(db, func(tx *bolt.Tx) error { return tx.Bucket(bucketAwaiting).Delete(awaitingKey(0, 1, 0)) }); err != nil {
		t.Fatal(err) // else the file is damaged, which the check at the end finds
	}
}
