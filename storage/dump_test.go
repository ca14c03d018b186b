package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// dumpOfFile returns the dump of a closed store, with a header of t0.
func dumpOfFile(t testing.TB, path string) string {
	t.Helper()
	r, err := openReading(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var out bytes.Buffer
	d, err := r.dump(ctx, nil, &out, t0)
	if err != nil || d.Damages > 0 {
		t.Fatalf("dump: %v, %q", err, d.Damaged)
	}
	return out.String()
}

func putOptions(path string) PutOptions {
	return PutOptions{CommandOptions: CommandOptions{Path: path, LockTimeout: time.Second}, segmentEvents: 10}
}

// TestLoadOfADumpIsTheModel moves a store through a dump again and again while
// random operations go on, and compares all that can be asked of it.
func TestLoadOfADumpIsTheModel(t *testing.T) {
	dir := filepath.Dir(storePath(t))
	rapid.Check(t, func(t *rapid.T) {
		run, err := os.MkdirTemp(dir, "run-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(run)
		m := &machine{model: newModel(time.Hour), clock: t0, options: Options{
			Path: filepath.Join(run, "eventd.db"), DedupeWindow: time.Hour,
			segmentEvents: uint32(rapid.IntRange(1, 12).Draw(t, "segment")),
		}}
		m.open(t)
		defer func() { _ = m.db.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"accept": m.accept, "update": m.update, "update2": m.update, "ack": m.acknowledge, "settings": m.settings,
			"move": m.move,
		})
		m.move(t)
		m.checkSchedule(t)
		m.checkEvents(t)
		m.accept(t) // and it goes on as it did
		m.checkEvents(t)
	})
}

// move dumps the store and loads it again in its own place.
func (m *machine) move(t *rapid.T) {
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	o := CommandOptions{Path: m.options.Path, LockTimeout: time.Second}
	var first, second bytes.Buffer
	if d, err := Dump(ctx, o, &first); err != nil || d.Damages > 0 {
		t.Fatalf("dump: %v, %q", err, d.Damaged)
	}
	l, err := Load(ctx, PutOptions{CommandOptions: o, Force: true, segmentEvents: m.options.segmentEvents}, bytes.NewReader(first.Bytes()))
	if err != nil || l.Events != len(m.events) || l.Outbox != len(m.outbox) {
		t.Fatalf("load: %+v, %v; want %d events and %d publications", l, err, len(m.events), len(m.outbox))
	}
	if d, err := Dump(ctx, o, &second); err != nil || d.Damages > 0 {
		t.Fatalf("dump: %v, %q", err, d.Damaged)
	}
	if a, b := withoutHeader(first.String()), withoutHeader(second.String()); a != b {
		t.Fatalf("dumped again it is\n%s\nwant\n%s", b, a)
	}
	for _, e := range m.events { // which part of a timeline is rewritten begins anew
		e.inline = 0
		e.spill()
	}
	m.open(t)
}

func withoutHeader(dump string) string {
	_, rest, _ := strings.Cut(dump, "\n")
	return rest
}

// TestDumpHasEveryField: a field that is added to an event, and that a dump does
// not know, would be lost on the way.
func TestDumpHasEveryField(t *testing.T) {
	var e event.Event
	var s event.State
	var p event.Payload
	n := 0
	for _, v := range []any{&e, &s, &p} {
		fillValue(t, reflect.ValueOf(v).Elem(), &n)
	}
	d := dumpOf(&e, &s, []byte("body"))
	b, err := marshal(&dumpLine{Event: d})
	if err != nil {
		t.Fatal(err)
	}
	var l dumpLine
	if err := json.Unmarshal(b, &l); err != nil {
		t.Fatal(err)
	}
	if got := l.Event.event(); !reflect.DeepEqual(*got, e) {
		t.Errorf("event = %+v; want %+v", *got, e)
	}
	if got := l.Event.state(); !reflect.DeepEqual(got, s) {
		t.Errorf("state = %+v; want %+v", got, s)
	}
	row, err := encodeBody(&p, 0)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := decodeRow(row)
	if err != nil {
		t.Fatal(err)
	}
	want := p
	want.EventID = "" // is that of its event
	if got := sent.payload(); !reflect.DeepEqual(got, want) {
		t.Errorf("payload row = %+v; want %+v", got, want)
	}
}

// fillValue gives every field a value of its own that is not zero.
func fillValue(t *testing.T, v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(t0.Add(time.Duration(*n) * time.Second)))
	case v.Type() == reflect.TypeFor[event.Table]():
		v.Set(reflect.ValueOf(event.Response))
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.Set(reflect.ValueOf(time.Duration(*n) * time.Microsecond))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fillValue(t, v.Field(i), n)
		}
	case v.Kind() == reflect.String:
		v.SetString(strings.Repeat("\xfe", 1+*n%7) + string(rune('a'+*n%26)))
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes([]byte{1, 0xff})
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillValue(t, v.Index(0), n)
		fillValue(t, v.Index(1), n)
	case v.Kind() == reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"k": "v", "\xff": "\x00\xff"}))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*n))
	case v.CanUint():
		v.SetUint(uint64(*n % 250))
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

// TestLoadKeepsWhatIsCarried: what the format has no words for, in buckets of which
// it is known that they hold in any file.
func TestLoadKeepsWhatIsCarried(t *testing.T) {
	path := fillStore(t)
	editStore(t, path, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		n, err := b.CreateBucket([]byte{0, 0xff})
		if err != nil {
			return err
		}
		return errors.Join(n.SetSequence(7), n.Put([]byte("k"), []byte{0xff, 0}), n.Put([]byte("empty"), []byte{}), b.Put([]byte("more"), []byte("meta")))
	})
	want := dumpOfFile(t, path)
	to := filepath.Join(filepath.Dir(storePath(t)), "below", "eventd.db")
	if _, err := Load(ctx, putOptions(to), strings.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if got := dumpOfFile(t, to); got != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
	for _, part := range []string{`"sequence":7`, `{"base64":"/wA="}`, `"value":"meta"`, `"key":"empty","value":""`} {
		if !strings.Contains(want, part) {
			t.Errorf("the dump lacks %s", part)
		}
	}
}

// TestDumpOfANewerStore: what a newer eventd wrote without raising the schema is left
// out, and each time the dump says so. The rest can be loaded.
func TestDumpOfANewerStore(t *testing.T) {
	more := func(v []byte) []byte { // puts key 99 into the map of a record of CBOR
		v[0]++ // of a map with less than 23 keys
		return append(v, 0x18, 99, 1)
	}
	resealed := func(b *bolt.Bucket, k []byte) error {
		v, err := unsealed(b.Get(k))
		if err != nil {
			return err
		}
		return b.Put(k, sealed(more(bytes.Clone(v))))
	}
	for _, c := range []struct {
		name, words string
		change      func(tx *bolt.Tx) error
	}{
		{"bucket", `bucket "extra" with 1 entries is of a newer eventd`, func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("extra"))
			return errors.Join(err, b.Put([]byte("k"), []byte("v")))
		}},
		{"bucket in a segment", `segment 11: "extra" is of a newer eventd`, func(tx *bolt.Tx) error {
			_, err := segmentBucket(tx, 11).CreateBucket([]byte("extra"))
			return err
		}},
		{"publication", "outbox row 3: it has fields of a newer eventd", func(tx *bolt.Tx) error { return resealed(tx.Bucket(bucketOutbox), key8(3)) }},
		{"payload row", "event 13 (id-12): payload row 1: it has fields", func(tx *bolt.Tx) error {
			return resealed(segmentBucket(tx, 11).Bucket(bucketBodies), noteKey(13, 0))
		}},
		{"event", "event 35: it has fields", func(tx *bolt.Tx) error {
			b := segmentBucket(tx, 31).Bucket(bucketHeads)
			h, err := blockRecord(b.Get(key8(31)), 4)
			if err != nil {
				return err
			}
			_, _, rest, err := headIDs(h)
			if err != nil {
				return err
			}
			x := block{}
			x.add(35, append(bytes.Clone(h[:len(h)-len(rest)]), more(bytes.Clone(rest))...))
			out, _, _, err := blockWithout(b.Get(key8(31)), func(i uint64) bool { return i == 4 })
			return errors.Join(err, b.Put(key8(31), out), b.Put(key8(35), x.encode()))
		}},
		{"state", "event 12: its state has fields", func(tx *bolt.Tx) error {
			b := segmentBucket(tx, 11).Bucket(bucketStates)
			v := bytes.Clone(b.Get(key8(12)))
			v[len(v)-1] = 1
			binary.LittleEndian.PutUint32(v[1:], checksum(v[stateHeader:]))
			return b.Put(key8(12), v)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fillStore(t)
			editStore(t, path, c.change)
			var out bytes.Buffer
			d, err := Dump(ctx, CommandOptions{Path: path}, &out)
			if err != nil || d.Damages != 1 || !strings.Contains(d.Damaged[0], c.words) {
				t.Fatalf("Dump = %+v, %v; want %q", d, err, c.words)
			}
			l, err := Load(ctx, putOptions(storePath(t)), &out)
			if err != nil || l.Events != 35 || l.Outbox != 70 {
				t.Errorf("Load = %+v, %v; want 35 events and 70 publications", l, err)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	whole := dumpOfFile(t, fillStore(t))
	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	last := len(lines) - 1
	for _, c := range []struct {
		name, dump string
		want       error
		words      string
	}{
		{"nothing", "", ErrDump, "no end"},
		{"text", "a diary", ErrDump, "line 1:"},
		{"half a line", whole[:len(whole)/2], ErrDump, "line "},
		{"no end", strings.Join(lines[:last], ""), ErrDump, "no end"},
		{"no header", strings.Join(lines[1:], ""), ErrDump, "line 1: not a whole dump: it does not begin with a header"},
		{"two of them", whole + whole, ErrDump, "more behind its end"},
		{"an event is missing", lines[0] + strings.Join(lines[2:], ""), ErrDump, "34 events"},
		{"an event twice", lines[0] + lines[1] + lines[1], ErrDump, ""},
		{"a publication is missing", strings.Join(append(append([]string{}, lines[:40]...), lines[41:]...), ""), ErrDump, "69 publications where"},
		{"a field it does not know", strings.Replace(whole, `"seq":`, `"sequel":1,"seq":`, 1), ErrDump, "line 2: not a whole dump: json: unknown field"},
		{"a status that is none", strings.Replace(whole, `"status":"ERROR"`, `"status":99`, 3), ErrDump, "status"},
		{"a key that is none", strings.Join(lines[:last], "") + `{"entry":{"bucket":["meta"],"key":"","value":""}}` + "\n" + lines[last], ErrDump, "without key"},
		{"an entry of a bucket it does not know", strings.Join(lines[:last], "") + `{"entry":{"bucket":["x"],"key":"a","value":""}}` + "\n" + lines[last], ErrNewer, "which this program does not know"},
		{"an entry of a bucket it makes", strings.Join(lines[:last], "") + `{"entry":{"bucket":["due"],"key":"a","value":""}}` + "\n" + lines[last], ErrDump, "an entry of bucket"},
		{"a later version", strings.Replace(whole, `"version":1`, `"version":2`, 1), ErrNewer, "version 2"},
		{"a later schema", strings.Replace(whole, `"schema":1`, `"schema":99`, 1), ErrNewer, "schema 99"},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := storePath(t)
			_, err := Load(ctx, putOptions(to), strings.NewReader(c.dump))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Load: %v; want %v with %q", err, c.want, c.words)
			}
			wantAlone(t, to)
		})
	}
}

// wantAlone fails the test when there is anything in the folder of a path but
// the files named.
func wantAlone(t *testing.T, path string, want ...string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Name())
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("the folder holds %q; want %q", names, want)
	}
}

func TestLoadWhereAStoreIs(t *testing.T) {
	dump := dumpOfFile(t, fillStore(t))
	path := fillStore(t)
	before := digest(t, path)
	if _, err := Load(ctx, putOptions(path), strings.NewReader(dump)); !errors.Is(err, ErrExists) {
		t.Errorf("Load: %v; want %v", err, ErrExists)
	}
	o := putOptions(path)
	o.Force = true
	if _, err := Load(ctx, o, strings.NewReader("no dump")); !errors.Is(err, ErrDump) || digest(t, path) != before {
		t.Errorf("Load: %v; want %v and the store as it was", err, ErrDump)
	}
	l, err := Load(ctx, o, strings.NewReader(dump))
	if err != nil || digest(t, l.Kept) != before {
		t.Fatalf("Load = %+v, %v; want the store before beside it", l, err)
	}
	wantAlone(t, path, "eventd.db", filepath.Base(l.Kept))
	if got := dumpOfFile(t, path); got != dump {
		t.Error("the store is not what was loaded")
	}
}
