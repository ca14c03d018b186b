package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

func TestTimesAreKeptToTheMicrosecond(t *testing.T) {
	for _, base := range []time.Time{t0, time.Unix(0, 0).UTC(), time.Date(1950, 1, 1, 0, 0, 0, 1000, time.UTC)} {
		for _, at := range []time.Time{
			{}, base, base.Add(time.Microsecond), base.Add(-time.Microsecond), base.Add(1500), base.Add(-1500), base.Add(-1),
			time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC),
			base.AddDate(300, 0, 0),
		} {
			r := reader{b: appendTime(nil, at, base)}
			want := at
			if !at.IsZero() {
				want = fromMicros(micros(at))
			}
			if got := r.time(base); !got.Equal(want) || got.IsZero() != at.IsZero() || r.bad || len(r.b) > 0 {
				t.Errorf("%s after %s is read as %s; want %s", at, base, got, want)
			}
			if got, want := dueMicros(want), dueMicros(at); got != want {
				t.Errorf("due key of %s says %d after it was read; want %d", at, got, want)
			}
		}
	}
}

func TestDueKeysAreInOrder(t *testing.T) {
	var last []byte
	for _, at := range []time.Time{{}, time.Unix(0, 1000), t0, t0.Add(time.Microsecond), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for _, seq := range []uint64{1, 256, 1 << 40} {
			for _, n := range []int{0, 1, 300} {
				k := dueKey(7, at, seq, n)
				if bytes.Compare(last, k) >= 0 {
					t.Errorf("key of %s, %d, %d is not behind the one before it", at, seq, n)
				}
				d, ok := splitDueKey(k)
				if want := (dueEntry{handler: 7, at: dueMicros(at), seq: seq, delivery: n}); !ok || d != want {
					t.Errorf("split key = %+v, %t; want %+v", d, ok, want)
				}
				last = k
			}
		}
	}
	if early := dueMicros(time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC)); early != 0 {
		t.Errorf("1901 is due at %d; want at once", early)
	}
}

func TestReasons(t *testing.T) {
	all := slices.Concat(reasons[:], []event.Reason{
		event.HTTPStatus(100), event.HTTPStatus(503), event.HTTPStatus(999), "http_5", "http_99", "http_1000", "http_+503", "http_0503", "http_x", "something else", "\xff",
	})
	for _, r := range all {
		b := reader{b: appendReason(nil, r)}
		if got := readReason(&b); got != r || b.bad || len(b.b) > 0 {
			t.Errorf("reason %q is read as %q", r, got)
		}
	}
	if len(reasons) > otherReason {
		t.Errorf("%d reasons; the numbers from %d on mean something else", len(reasons), otherReason)
	}
}

func TestNames(t *testing.T) {
	n := newNames()
	long := strings.Repeat("n", 256)
	for _, name := range []string{"", "h", "h", "ü", long, "\x00", "h2"} {
		r := reader{b: n.append(nil, name)}
		if got := n.read(&r); got != name || r.bad || len(r.b) > 0 {
			t.Errorf("name %q is read as %q", name, got)
		}
	}
	if _, ok := n.number(long); ok {
		t.Error("a name of 256 bytes got a number; want it written out")
	}
	if id := n.handler(long); len(n.append(nil, long)) > 2 {
		t.Errorf("handler of 256 bytes with number %d is written out", id)
	}
	for i := range maxNames {
		n.append(nil, strings.Repeat("x", i%200)+string(rune('a'+i%26))+string(rune('a'+i/200)))
	}
	if got := len(*n.byID.Load()); got > maxNames {
		t.Errorf("%d names have numbers; want at most %d", got, maxNames)
	}
	unknown := reader{b: binary.AppendUvarint(nil, uint64(maxNames)+2)}
	if got := n.read(&unknown); got != "" || !unknown.bad {
		t.Errorf("unknown number is read as %q, bad %t; want bad", got, unknown.bad)
	}
}

// fullState has every field set; its names have numbers in the names returned.
func fullState() (*state, *names) {
	s := &state{table: event.Response, created: t0, spilled: 3, State: event.State{
		Status: event.Retry, Reason: event.HTTPStatus(503), UpdatedBy: "SERVICE_A", UpdatedAt: t0.Add(time.Second),
		Deliveries: []event.Delivery{
			{Handler: "a", Route: "r", Status: event.Retry, Reason: event.HTTPStatus(503), Attempts: 300, Uncharged: 2, Interruptions: 1, Generation: 4, FirstAttempt: t0, NextAttempt: t0.Add(time.Hour)},
			{Handler: "b", Route: "", Status: event.Completed},
		},
		Timeline: []event.Entry{
			{At: t0, Status: event.InProgress, Attempt: 1, Handler: "a"},
			{At: t0.Add(time.Second), Status: event.Retry, Attempt: 1, Handler: "a", Reason: event.HTTPStatus(503), Detail: "no", Code: 503, Duration: time.Second},
		},
	}}
	n := newNames()
	encodeState(nil, s, n)
	return s, n
}

func TestStateIsReadAsWritten(t *testing.T) {
	full, names := fullState()
	for _, s := range []*state{full, {table: event.Inbound, created: t0, State: event.State{Status: event.Unprocessed}}} {
		b := encodeState(nil, s, names)
		got, err := decodeState(b, names)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("state = %+v, %v; want %+v", got, err, s)
		}
		if status, err := stateStatus(b); status != s.Status || err != nil {
			t.Errorf("stateStatus = %s, %v; want %s", status, err, s.Status)
		}
	}
}

// TestStateDoesNotGrow holds the layout to its word: through a life without
// faults the record keeps its size, and is rewritten in place.
func TestStateDoesNotGrow(t *testing.T) {
	names := newNames()
	names.append(nil, "service-a")
	s := &state{table: event.Inbound, created: t0, State: event.State{
		Status: event.Unprocessed, UpdatedBy: "UPSTREAM_A1", UpdatedAt: t0,
		Deliveries: []event.Delivery{{Handler: "service-a", Route: "start", Status: event.Unprocessed, NextAttempt: t0}},
	}}
	for _, step := range []func(){
		func() {},
		func() {
			s.Status, s.UpdatedBy = event.InProgress, "SERVICE_A"
			s.Deliveries[0] = event.Delivery{Handler: "service-a", Route: "start", Status: event.InProgress, Attempts: 1, FirstAttempt: t0.Add(time.Second)}
			s.Timeline = append(s.Timeline, event.Entry{At: t0.Add(time.Second), Status: event.InProgress, Attempt: 1, Handler: "service-a"})
		},
		func() {
			s.Status, s.UpdatedAt, s.Deliveries[0].Status = event.Completed, t0.Add(2*time.Second), event.Completed
			s.Timeline = append(s.Timeline, event.Entry{At: t0.Add(2 * time.Second), Status: event.Completed, Attempt: 1, Handler: "service-a", Code: 200, Duration: time.Second})
		},
	} {
		step()
		if n := len(encodeState(nil, s, names)); n != stateSize {
			t.Errorf("state %s has %d bytes; want %d", s.Status, n, stateSize)
		}
	}
}

func fullEvent() *event.Event {
	return &event.Event{
		Seq: 9, Table: event.Request, ID: "id", MessageType: "T", SourceService: "S", TargetService: "X", Topic: "TOPIC",
		CorrelationID: "corr", CausationID: "cause", CreatedBy: "BY", CreatedAt: t0, ContentType: "text/plain", Hops: 3,
		DeliverAt: t0.Add(time.Minute), Expires: t0.Add(time.Hour), Attributes: map[string]string{"a": "\xff\xfe"},
		Literals: []string{"n"}, Headers: map[string]string{"H": "v"}, Source: "src",
		Position: event.Position{Stream: "ST", Sequence: 4, Stored: time.Unix(1, 23).UTC()},
	}
}

func TestHeadIsReadAsWritten(t *testing.T) {
	many := fullEvent()
	many.Headers = map[string]string{}
	for i := range 200_000 { // more than cbor takes by itself
		many.Headers[string(binary.AppendUvarint(nil, uint64(i)))] = ""
	}
	own := fullEvent()
	own.CorrelationID = own.ID
	unstored := fullEvent()
	unstored.Position.Stored = time.Time{}
	old := fullEvent()
	old.CreatedAt = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, e := range map[string]*event.Event{
		"full": fullEvent(), "bare": {Seq: 9, Table: event.Inbound, CreatedAt: t0}, "many headers": many,
		"own correlation": own, "position without time": unstored, "before 1970": old,
	} {
		b, err := encodeHead(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeHead(9, b)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: head = %+v, %v; want %+v", name, got, err, e)
		}
		id, correlation, _, err := headIDs(b)
		if string(id) != e.ID || err != nil || correlation != nil && string(correlation) != e.CorrelationID {
			t.Errorf("%s: headIDs = %s, %s, %v; want %s, %s", name, id, correlation, err, e.ID, e.CorrelationID)
		}
	}
}

func TestBlockIsReadAsWritten(t *testing.T) {
	var b block
	records := [][]byte{[]byte("first"), {}, nil, bytes.Repeat([]byte{7}, 70_000), []byte("last")}
	for i, r := range records {
		b.add(100+uint64(i), r)
	}
	v := b.encode()
	for i, want := range records {
		got, err := blockRecord(v, uint64(i))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("record %d has %d bytes, %v; want %d", i, len(got), err, len(want))
		}
		if waiting, ok := b.record(100 + uint64(i)); !ok || !bytes.Equal(waiting, want) {
			t.Errorf("record %d waits: %t; want it to", 100+i, ok)
		}
	}
	for _, seq := range []uint64{0, 99, 105} {
		if _, ok := b.record(seq); ok {
			t.Errorf("record %d waits; want it not to", seq)
		}
	}
	if _, err := blockRecord(v, uint64(len(records))); !errors.Is(err, errDamaged) {
		t.Errorf("record behind the last: %v; want %v", err, errDamaged)
	}
	if b.fits(0) {
		t.Error("a block of 70,000 bytes takes more")
	}
}

func TestInfoIsReadAsWritten(t *testing.T) {
	i := segmentInfo{events: 1 << 16, created: micros(t0), last: micros(t0) + 5}
	for table := range i.counts {
		for status := range i.counts[table] {
			i.counts[table][status] = uint32(100*table + status)
		}
	}
	if got, err := decodeInfo(i.encode()); err != nil || got != i {
		t.Errorf("info = %+v, %v; want %+v", got, err, i)
	}
}

// TestEveryFlippedByteIsNoticed damages each byte of each kind of record in turn.
func TestEveryFlippedByteIsNoticed(t *testing.T) {
	s, names := fullState()
	head, err := encodeHead(fullEvent())
	if err != nil {
		t.Fatal(err)
	}
	var blk block
	for range 3 {
		blk.add(1, head)
	}
	body, err := encodeBody(&event.Payload{Topic: "T", Body: []byte("body"), CreatedAt: t0}, 0)
	if err != nil {
		t.Fatal(err)
	}
	index, _, err := seal([]idEntry{{1, 1}, {2, 2}, {3, 3}})
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]func([]byte) error{
		"state":  func(b []byte) error { _, err := decodeState(b, names); return err },
		"status": func(b []byte) error { _, err := stateStatus(b); return err },
		"block": func(b []byte) (err error) {
			for i := range uint64(3) {
				_, e := blockRecord(b, i)
				err = errors.Join(err, e)
			}
			if n, e := blockCount(b); n != 3 {
				err = errors.Join(err, e, errDamaged)
			}
			return err
		},
		"body":   func(b []byte) error { _, err := decodeBody(b, nil); return err },
		"info":   func(b []byte) error { _, err := decodeInfo(b); return err },
		"filter": func(b []byte) error { _, err := loadFilter(b); return err },
	}
	info := segmentInfo{events: 3, created: 4, last: 5}
	for name, record := range map[string][]byte{
		"state": encodeState(nil, s, names), "status": encodeState(nil, s, names), "block": blk.encode(), "body": body,
		"info": info.encode(), "filter": index.filter,
	} {
		if err := read[name](record); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range record {
			for bit := range 8 {
				record[i] ^= 1 << bit
				if err := read[name](record); !errors.Is(err, errDamaged) {
					t.Errorf("%s with bit %d of byte %d of %d flipped: %v; want %v", name, bit, i, len(record), err, errDamaged)
				}
				record[i] ^= 1 << bit
			}
		}
		for n := range len(record) {
			if err := read[name](record[:n]); err == nil {
				t.Errorf("%s cut off at byte %d of %d is read", name, n, len(record))
			}
		}
	}
}

// withChecksum gives bytes from a fuzzer a version and checksum, so that they
// come past them and reach the decoder.
func withChecksum(version byte, rest []byte) []byte {
	b := append([]byte{version, 0, 0, 0, 0}, rest...)
	binary.LittleEndian.PutUint32(b[1:], checksum(rest))
	return b
}

// FuzzDecodeState reads any bytes: without a panic, and what is read is read
// the same again after it was written.
func FuzzDecodeState(f *testing.F) {
	s, names := fullState()
	f.Add(encodeState(nil, s, names)[stateHeader:])
	f.Add(bytes.Repeat([]byte{0xff}, stateSize))
	f.Add(append(make([]byte, 10), bytes.Repeat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 8)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := decodeState(b, names); err != nil && !errors.Is(err, errDamaged) {
			t.Errorf("decodeState: %v; want %v", err, errDamaged)
		}
		got, err := decodeState(withChecksum(stateVersion, b), names)
		if err != nil {
			return
		}
		again, err := decodeState(encodeState(nil, got, names), names)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("state = %+v, %v; want %+v", again, err, got)
		}
	})
}

// FuzzDecodeHead does the same for heads, which are in no block here.
func FuzzDecodeHead(f *testing.F) {
	head, err := encodeHead(fullEvent())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add([]byte{headVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeHead(1, b)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("decodeHead: %v; want %v", err, errDamaged)
			}
			return
		}
		again, err := encodeHead(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeHead(1, again)
		if err != nil || !sameEvent(got, e) {
			t.Errorf("head = %+v, %v; want %+v", got, err, e)
		}
	})
}

func sameEvent(a, b *event.Event) bool {
	x, y := *a, *b
	same := maps.Equal(x.Attributes, y.Attributes) && maps.Equal(x.Headers, y.Headers)
	x.Attributes, x.Headers, y.Attributes, y.Headers = nil, nil, nil, nil
	return same && reflect.DeepEqual(x, y)
}

// FuzzBlock reads any bytes as a block: without a panic, and no record of it
// lies outside of it.
func FuzzBlock(f *testing.F) {
	var b block
	b.add(1, []byte("one"))
	b.add(2, []byte("two"))
	f.Add(b.encode(), uint64(1))
	f.Add([]byte{blockVersion, 0xff, 0xff, 0xff, 0xff}, uint64(1<<63))
	f.Fuzz(func(t *testing.T, v []byte, i uint64) {
		n, err := blockCount(v)
		if err != nil {
			n = 0
		}
		var again block
		for k := range min(n, 1000) {
			if r, err := blockRecord(v, k); err == nil {
				again.add(uint64(len(again.records))+1, r)
			}
		}
		if r, err := blockRecord(v, i); err == nil && (i >= n || len(r) > len(v)) {
			t.Errorf("record %d of %d has %d bytes of %d", i, n, len(r), len(v))
		}
		w := again.encode()
		for k, want := range again.records {
			if got, err := blockRecord(w, uint64(k)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("record %d = %x, %v; want %x", k, got, err, want)
			}
		}
	})
}

func dueKey(handler uint32, at time.Time, seq uint64, delivery int) []byte {
	return dueEntry{handler: handler, at: dueMicros(at), seq: seq, delivery: delivery}.key()
}

// TestExtrasOfANewerEventdAreKept: what belongs to a tag that this one does not know
// neither makes the event a damaged one nor is lost with a step.
func TestExtrasOfANewerEventdAreKept(t *testing.T) {
	for _, orderKey := range []string{"", "k"} {
		s, names := fullState()
		s.Deliveries[0].OrderKey, s.PayloadRow = orderKey, 2
		s.newer = appendString(append(appendString([]byte{200}, "more"), 7), "")
		b := encodeState(nil, s, names)
		got, err := decodeState(b, names)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("state = %+v, %v; want %+v", got, err, s)
		}
		got.Deliveries[0].Attempts++
		if again, err := decodeState(encodeState(nil, got, names), names); err != nil || string(again.newer) != string(s.newer) {
			t.Errorf("after a step it has %q, %v; want %q", again.newer, err, s.newer)
		}
		if _, rest, err := decodeStateRest(b, names); err != nil || !strings.HasPrefix(string(rest), string(s.newer)) {
			t.Errorf("a dump is told of %q, %v; want %q", rest, err, s.newer)
		}
	}
	s, names := fullState()
	s.newer = []byte{200, 100, 1} // which is cut short
	if _, err := decodeState(encodeState(nil, s, names), names); !errors.Is(err, errDamaged) {
		t.Errorf("an extra without an end: %v; want %v", err, errDamaged)
	}
}
