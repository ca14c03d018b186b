package storage

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

var updateSchema = flag.String("update", "", "write a fixture of the schema at hand under this `name`, such as schema1-2, with its dump")

// TestEverySchema opens a store of each kind there has been. testdata/schemaN….db.gz
// is a file that the program wrote when N was its schema, and the .jsonl beside it the
// dump of it; a new one is made whenever a store has something that the others have
// not, and none is ever written anew. What is in it is what it was, all of it can be
// read, and what is open in it can be ended.
func TestEverySchema(t *testing.T) {
	if *updateSchema != "" {
		writeSchema(t, *updateSchema)
	}
	names, err := filepath.Glob("testdata/schema*.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= Schema; n++ {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(filepath.Base(name), fmt.Sprint("schema", n)) }) {
			t.Errorf("no store of schema %d", n)
		}
	}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".db.gz")
		t.Run(name, func(t *testing.T) { openFixture(t, name) })
	}
}

func openFixture(t *testing.T, name string) {
	path := storePath(t)
	if err := os.WriteFile(path, readFixture(t, name), 0o600); err != nil {
		t.Fatal(err)
	}
	db := openTest(t, path) // which checks it at the end
	if rec, err := db.Find(ctx, "id-07"); err != nil || len(rec) != 1 || rec[0].Seq != 8 {
		t.Errorf("Find(id-07) = %+v, %v; want event 8", rec, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/" + name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if got := dumpOfFile(t, path); got != string(want) {
		t.Errorf("%s is now\n%s\nwant\n%s", name, got, want)
	}
	db = openTest(t, path)
	readEverything(t, db)
	accept(t, db, newAdmission(event.Inbound, "after", "h"))
	endAll(t, db)
}

// readEverything reads all there is of each event.
func readEverything(t *testing.T, db *DB) {
	t.Helper()
	list := events(t, db)
	if len(list) < 25 {
		t.Errorf("%d events; want 25 or more", len(list))
	}
	for _, e := range list {
		rec, err := db.Get(ctx, e.Seq)
		if err != nil || rec.ID != e.ID || rec.Reason == event.Quarantined {
			t.Errorf("Get(%d) = %s %s, %v", e.Seq, rec.ID, rec.Reason, err)
		}
		if found, err := db.Find(ctx, e.ID); err != nil || !slices.ContainsFunc(found, func(r event.Record) bool { return r.Seq == e.Seq }) {
			t.Errorf("Find(%s) = %+v, %v; want event %d among them", e.ID, found, err, e.Seq)
		}
		if _, err := db.Payload(ctx, e.Seq); err != nil && !errors.Is(err, event.ErrPayloadRemoved) {
			t.Errorf("Payload(%d): %v", e.Seq, err)
		}
		if _, err := db.WorkingData(ctx, e.CorrelationID); err != nil && !errors.Is(err, event.ErrNotFound) {
			t.Errorf("WorkingData(%s): %v", e.CorrelationID, err)
		}
	}
}

// endAll ends each delivery that is open, and publishes what is in the outbox.
func endAll(t *testing.T, db *DB) {
	t.Helper()
	for _, to := range []event.Status{event.InProgress, event.Completed} {
		for _, e := range events(t, db) {
			u := &event.Update{Seq: e.Seq, Step: func(s *event.State) (*event.Effects, error) {
				for i := range s.Deliveries {
					if d := &s.Deliveries[i]; d.Status != to && event.CanStep(d.Status, to) && !d.Status.Final() {
						d.Status, d.NextAttempt = to, time.Time{}
					}
				}
				return nil, nil
			}}
			if err := errors.Join(db.Update(ctx, u), u.Err); err != nil {
				t.Errorf("step of event %d: %v", e.Seq, err)
			}
		}
	}
	rows, err := db.Outbox(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := db.Published(ctx, []uint64{row.ID}); err != nil {
			t.Error(err)
		}
	}
	for _, table := range event.Tables {
		for _, status := range []event.Status{event.Unprocessed, event.InProgress, event.Retry} {
			if n := db.Counts()[table][status]; n != 0 {
				t.Errorf("%d events in %s are %s still", n, table, status)
			}
		}
	}
	if info, err := db.Info(ctx); err != nil || info.Outbox != 0 || info.Quarantined != 0 {
		t.Errorf("Info = %+v, %v; want nothing in the outbox", info, err)
	}
}

func readFixture(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeSchema makes a fixture as this program writes it.
func writeSchema(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat("testdata/" + name + ".db.gz"); err == nil {
		t.Fatalf("%s is there: it stays as it was written", name)
	}
	path := storePath(t)
	db := openTest(t, path)
	var list []*event.Admission
	for i := range 25 { // two sealed segments and an open one
		a := newAdmission(event.Inbound, fmt.Sprintf("id-%02d", i), "h", "h2")
		a.Outbox = []event.Publication{{Subject: "s"}, {Subject: "s", Body: []byte("own")}}
		list = append(list, a)
	}
	accept(t, db, list...)
	for seq := uint64(1); seq <= 25; seq += 6 {
		u := &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
			s.Deliveries[0].Status, s.Deliveries[0].Attempts = event.InProgress, 1
			s.Deliveries[1].Status, s.Deliveries[1].Reason = event.Error, event.HTTPStatus(404)
			s.Timeline = append(s.Timeline, event.Entry{At: t0, Status: event.Error, Detail: strings.Repeat("d", inlineDetail+1)})
			return &event.Effects{Sent: []event.Payload{{Topic: "T", Body: []byte("sent"), CreatedAt: t0}, {Topic: "T2", CreatedAt: t0}}}, nil
		}}
		if err := db.Update(ctx, u); err != nil || u.Err != nil {
			t.Fatal(err, u.Err)
		}
	}
	awaitSealed(t, db)
	a := newAdmission(event.Response, "full", "h", "h2")
	a.Event.MessageType, a.Event.TargetService, a.Event.Topic, a.Event.CausationID = "RS_Ä", "T", "TOPIC", "cause"
	a.Event.Hops, a.Event.DeliverAt, a.Event.Expires, a.Event.Source = 3, t0.AddDate(0, 0, 1), t0.AddDate(1, 0, 0), "upstream"
	a.Event.Attributes, a.Event.Headers = map[string]string{"subject": "\xff"}, map[string]string{"Traceparent": "00"}
	a.Event.Position = event.Position{Stream: "S", Sequence: 9, Stored: t0.Add(7)}
	a.Payload = []byte{0, 0xff, 1}
	parked := newAdmission(event.Request, "parked")
	parked.State.Status, parked.State.Reason = event.Error, event.NoRoute
	accept(t, db, a, parked, newAdmission(event.Request, "id-07-again", "h"))
	if err := db.SavePosition(ctx, "upstream", event.Position{Stream: "S", Sequence: 9, Stored: t0.Add(7)}); err != nil {
		t.Fatal(err)
	}
	if err := db.SetPaused(ctx, "handler", "h2", "gone"); err != nil {
		t.Fatal(err)
	}
	if err := db.Published(ctx, []uint64{1, 2, 50}); err != nil {
		t.Fatal(err)
	}
	writeBeside(t, db)
	accept(t, db, newBegun("journaled", "h", "h2"))
	path = crashed(t, db) // where that is in the journal alone
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	writeFixture(t, name, path)
}

// writeFixture keeps a store and its dump.
func writeFixture(t *testing.T, name, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dump := dumpOfFile(t, path)
	for part, content := range map[string][]byte{"db.gz": z.Bytes(), "jsonl": []byte(dump)} {
		if err := os.WriteFile(filepath.Join("testdata", name+"."+part), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// writeBeside writes what came after the first fixture: working data, a request
// that awaits its response, a payload that was edited, redrives, and an event and a
// payload that are gone.
func writeBeside(t *testing.T, db *DB) {
	t.Helper()
	var list []*event.Admission
	for i := range 12 {
		a := newAdmission(event.Request, fmt.Sprint("late-", i), "h")
		a.Event.CorrelationID = "late"
		list = append(list, a)
	}
	list[0].Remember = func([]byte) ([]byte, error) { return []byte(`{"amount":7}`), nil }
	accept(t, db, list...)
	first := list[0].Event.Seq
	send(t, db, first, t0.Add(time.Minute))
	take(t, db, first+1, event.InProgress, nil)
	take(t, db, first+1, event.Error, &event.Effects{Payload: &event.Payload{Body: []byte("edited"), CreatedAt: t0}})
	for seq := first + 2; seq < first+5; seq++ {
		end(t, db, seq, event.Completed, nil)
	}
	j := wholeRedrive()
	if err := db.AddRedrive(ctx, &j); err != nil {
		t.Fatal(err)
	}
	s := db.segmentOf(first + 2)
	if err := db.do(ctx, func(x *transaction) error {
		b, err := x.segment(s)
		if err != nil {
			return err
		}
		gone := func(seq uint64) bool { return seq == first+2 }
		return errors.Join(
			x.removeRow(b, first+2), thinBlocks(b.heads, first+2, first+3, gone), thinBlocks(b.payloads, first+2, first+4, func(seq uint64) bool { return seq < first+4 }),
		)
	}); err != nil {
		t.Fatal(err)
	}
}
