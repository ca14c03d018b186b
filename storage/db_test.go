package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// storePath returns the path of a store in a folder of the test's, in memory
// where there is one: most tests ask what is written, not how quickly a disk is.
func storePath(t testing.TB) string {
	t.Helper()
	shared := memoryFolder()
	if shared == "" {
		return filepath.Join(t.TempDir(), "eventd.db")
	}
	dir, err := os.MkdirTemp(shared, "eventd-test-")
	if err != nil {
		return filepath.Join(t.TempDir(), "eventd.db")
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "eventd.db")
}

// openTest opens a store in a folder of the test's and checks the whole file
// when the test ends.
func openTest(t testing.TB, path string, change ...func(*Options)) *DB {
	t.Helper()
	o := Options{Path: path, segmentEvents: 10, queryTime: time.Hour}
	for _, c := range change {
		c(&o)
	}
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("close: %v", err)
		}
		problems, err := inconsistencies(path, o.Retention != Retention{} || o.MaxSize > 0)
		if err != nil || len(problems) > 0 {
			t.Errorf("check: %v, %q", err, problems)
		}
	})
	return db
}

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)

func newAdmission(table event.Table, id string, handlers ...string) *event.Admission {
	e := &event.Event{
		Table: table, ID: id, MessageType: "RQ_A_INIT", SourceService: "UPSTREAM",
		CorrelationID: id, CreatedBy: "UPSTREAM", CreatedAt: t0, ContentType: "application/json",
	}
	a := &event.Admission{Event: e, Payload: []byte(`{"id":"` + id + `"}`)}
	a.State = event.State{UpdatedBy: "UPSTREAM", UpdatedAt: t0}
	for _, h := range handlers {
		a.State.Deliveries = append(a.State.Deliveries, event.Delivery{
			Handler: h, Route: "r", Status: event.Unprocessed, NextAttempt: t0,
		})
	}
	return a
}

func accept(t testing.TB, db *DB, list ...*event.Admission) {
	t.Helper()
	if err := db.Accept(context.Background(), list); err != nil {
		t.Fatal(err)
	}
}

func TestAcceptedEventIsFoundAfterReopening(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	var list []*event.Admission
	for i := range 35 {
		list = append(list, newAdmission(event.Inbound, fmt.Sprintf("id-%02d", i), "h"))
	}
	accept(t, db, list...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, path)
	for i, a := range list {
		found, err := db.Find(context.Background(), a.Event.ID)
		if err != nil || len(found) != 1 {
			t.Fatalf("Find(%s) = %d rows, %v; want one", a.Event.ID, len(found), err)
		}
		if got := found[0]; got.Seq != uint64(i+1) || got.Status != event.Unprocessed || !got.CreatedAt.Equal(t0) {
			t.Errorf("Find(%s) = seq %d %s %s; want %d UNPROCESSED %s", a.Event.ID, got.Seq, got.Status, got.CreatedAt, i+1, t0)
		}
		rows, err := db.Payloads(context.Background(), found[0].Seq)
		if err != nil || len(rows) != 1 || string(rows[0].Body) != string(a.Payload) {
			t.Errorf("Payloads(%d) = %v, %v; want %s", found[0].Seq, rows, err, a.Payload)
		}
	}
	if n := db.Counts()[event.Inbound][event.Unprocessed]; n != 35 {
		t.Errorf("count of inbound UNPROCESSED = %d; want 35", n)
	}
	if u, r := db.Waiting("h"); u != 35 || r != 0 {
		t.Errorf("Waiting = %d, %d; want 35, 0", u, r)
	}
}

func benchmarkLife(b *testing.B, group int) {
	db := openTest(b, filepath.Join(b.TempDir(), "eventd.db"), func(o *Options) { o.segmentEvents = segmentEvents })
	ctx := context.Background()
	payload := make([]byte, 1024)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += group {
		list := make([]*event.Admission, group)
		for i := range list {
			a := newAdmission(event.Inbound, fmt.Sprintf("0191-%032x", n+i), "h")
			a.Payload = payload
			a.State.Deliveries[0].Status = event.InProgress
			a.State.Deliveries[0].Attempts = 1
			a.State.Timeline = []event.Entry{{At: t0, Status: event.InProgress, Attempt: 1, Handler: "h"}}
			list[i] = a
		}
		accept(b, db, list...)
		updates := make([]*event.Update, group)
		for i := range updates {
			updates[i] = &event.Update{Seq: list[i].Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
				s.Deliveries[0].Status = event.Completed
				s.Timeline = append(s.Timeline, event.Entry{At: t0.Add(time.Second), Status: event.Completed, Attempt: 1, Handler: "h", Code: 200, Duration: time.Millisecond})
				return nil, nil
			}}
		}
		if err := db.Update(ctx, updates...); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	info, _ := db.Info(ctx)
	b.ReportMetric(float64(info.Size-info.Free)/float64(b.N), "fileB/event")
}

func BenchmarkLife(b *testing.B) {
	for _, group := range []int{1, 10, 100, 500} {
		b.Run(fmt.Sprint(group), func(b *testing.B) { benchmarkLife(b, group) })
	}
}
