package storage

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

func markOf(name string) event.Mark {
	return event.Mark{Schedule: name, Rule: "0 0 2 * * * UTC", Seen: t0, Last: t0.Add(-time.Hour), EventID: "e-" + name}
}

func wantMarks(t *testing.T, db *DB, want ...event.Mark) {
	t.Helper()
	got, err := db.Marks(ctx)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Marks = %+v, %v; want %+v", got, err, want)
	}
}

// TestMarksAreKeptWithTheirEvents: in the same transaction, also where the event
// is there already, and neither where it is refused.
func TestMarksAreKeptWithTheirEvents(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	wantMarks(t, db)
	if err := db.Forget(ctx, "nobody"); err != nil {
		t.Error(err)
	}
	first, later, refused := markOf("a"), markOf("a"), markOf("a")
	later.Seen = t0.Add(time.Hour)
	refused.Seen = t0.Add(2 * time.Hour)
	a := newAdmission(event.Request, "run", "h")
	a.Mark = &first
	accept(t, db, a)
	wantMarks(t, db, first)
	again := newAdmission(event.Request, "run", "h")
	again.Mark = &later
	accept(t, db, again)
	if !again.Duplicate {
		t.Error("the same run is stored twice")
	}
	wantMarks(t, db, later)
	wrong := newAdmission(0, "wrong", "h")
	wrong.Mark = &refused
	if err := db.Accept(ctx, []*event.Admission{wrong}); err == nil {
		t.Error("an event of no table is accepted")
	}
	nameless := newAdmission(event.Request, "nameless", "h")
	nameless.Mark = &event.Mark{}
	if err := db.Accept(ctx, []*event.Admission{nameless}); err == nil {
		t.Error("a mark of no schedule is accepted")
	}
	if err := db.SetMark(ctx, event.Mark{}); err == nil {
		t.Error("SetMark of no schedule is accepted")
	}
	b := markOf("b")
	if err := db.SetMark(ctx, b); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openTest(t, path)
	wantMarks(t, db, later, b)
	if err := db.Forget(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	wantMarks(t, db, b)
}

// TestMarksMove through a compaction and a dump.
func TestMarksMove(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	a, b := markOf("a"), event.Mark{Schedule: "b", Rule: "* * * * * * UTC", Seen: t0}
	history(t, db, 30)
	for _, m := range []event.Mark{a, b} {
		if err := db.SetMark(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o := CommandOptions{Path: path, LockTimeout: time.Second}
	report, err := Check(ctx, o)
	if err != nil || !report.Clean() {
		t.Fatalf("Check = %+v, %v; want nothing", report, err)
	}
	if _, err := Compact(ctx, o); err != nil {
		t.Fatal(err)
	}
	var dump bytes.Buffer
	if d, err := Dump(ctx, o, &dump); err != nil || d.Damages > 0 {
		t.Fatalf("Dump = %+v, %v", d, err)
	}
	if _, err := Load(ctx, PutOptions{CommandOptions: o, Force: true}, &dump); err != nil {
		t.Fatal(err)
	}
	wantMarks(t, openTest(t, path), a, b)
}

// TestDamagedMarks are left out, found by a check, and not dumped.
func TestDamagedMarks(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	good := markOf("good")
	if err := db.SetMark(ctx, good); err != nil {
		t.Fatal(err)
	}
	if err := db.do(ctx, func(t *transaction) error {
		return t.tx.Bucket(bucketSchedules).Put([]byte("bad"), []byte("no mark"))
	}); err != nil {
		t.Fatal(err)
	}
	wantMarks(t, db, good)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o := CommandOptions{Path: path, LockTimeout: time.Second}
	if report, err := Check(ctx, o); err != nil || report.Damages != 1 || !strings.Contains(report.Problems[0], "schedule bad") {
		t.Errorf("Check = %+v, %v; want the damaged schedule", report, err)
	}
	var dump bytes.Buffer
	d, err := Dump(ctx, o, &dump)
	if err != nil || d.Damages != 1 || !strings.Contains(d.Damaged[0], "schedule bad") {
		t.Fatalf("Dump = %+v, %v; want the damaged schedule", d, err)
	}
	if _, err := Load(ctx, PutOptions{CommandOptions: o, Force: true}, &dump); err != nil {
		t.Fatal(err)
	}
	wantMarks(t, openTest(t, path), good)
}
