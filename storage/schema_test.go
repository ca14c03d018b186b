package storage

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/event"
)

var updateSchema = flag.Bool("update", false, "write the fixture of the schema at hand anew, with its dump")

// TestEverySchema opens a store of each schema there has been. What is in it is
// what it was: testdata/schemaN.db.gz is a file that the program wrote when N was
// its schema, and schemaN.jsonl the dump of it.
func TestEverySchema(t *testing.T) {
	if *updateSchema {
		writeSchema(t)
	}
	for n := 1; n <= Schema; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			path := storePath(t)
			if err := os.WriteFile(path, readFixture(t, n), 0o600); err != nil {
				t.Fatal(err)
			}
			db := openTest(t, path) // which checks it at the end
			if rec, err := db.Find(ctx, "id-07"); err != nil || len(rec) != 1 || rec[0].Seq != 8 {
				t.Errorf("Find(id-07) = %+v, %v; want event 8", rec, err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(fmt.Sprintf("testdata/schema%d.jsonl", n))
			if err != nil {
				t.Fatal(err)
			}
			if got := dumpOfFile(t, path); got != string(want) {
				t.Errorf("a store of schema %d is now\n%s\nwant\n%s", n, got, want)
			}
			db = openTest(t, path)
			accept(t, db, newAdmission(event.Inbound, "after", "h"))
		})
	}
}

func readFixture(t *testing.T, n int) []byte {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("testdata/schema%d.db.gz", n))
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

// writeSchema makes the fixture of the schema that this program writes.
func writeSchema(t *testing.T) {
	t.Helper()
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
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
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
	for name, content := range map[string][]byte{"db.gz": z.Bytes(), "jsonl": []byte(dump)} {
		if err := os.WriteFile(filepath.Join("testdata", fmt.Sprintf("schema%d.%s", Schema, name)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
