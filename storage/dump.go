package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// Dumped tells what a dump holds.
type Dumped struct {
	Events int `json:"events"`
	Outbox int `json:"outbox"`
	// Damages is how many records could not be read; the first 1,000 are listed.
	Damages int      `json:"damages"`
	Damaged []string `json:"damaged"`
}

func (d *Dumped) lose(format string, args ...any) {
	if d.Damages++; d.Damages <= maxListed {
		d.Damaged = append(d.Damaged, fmt.Sprintf(format, args...))
	}
}

// Dump writes a store that no process writes to as JSON lines: each event with
// its state, timeline and payloads, then the outbox and the rest. [Load] makes a
// store of it, in this version and in later ones.
//
// Of a damaged event goes what can be read, as ERROR `quarantined`: nothing of it
// is handed out before a person has looked at it. What is missing is listed.
// Errors are those of [Check], of w, and of ctx.
func Dump(ctx context.Context, o CommandOptions, w io.Writer) (d Dumped, err error) {
	o.complete()
	r, err := openReading(o.Path, o.LockTimeout)
	if err != nil {
		return d, err
	}
	defer r.close()
	pages := &Report{Path: o.Path}
	if err := pages.pages(ctx, r.file, o.Progress); err != nil {
		return d, err
	}
	if !pages.Clean() { // bbolt would follow them anywhere
		return d, fmt.Errorf("%w: %s: %s (save what can be read: eventd store salvage)", ErrCorrupt, o.Path, pages.Problems[0])
	}
	return r.dump(ctx, o.Progress, w, time.Now().UTC())
}

func (r *reading) dump(ctx context.Context, p Progress, w io.Writer, now time.Time) (_ Dumped, err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	x := &dumper{reading: r, ctx: ctx, progress: p, out: w, Dumped: Dumped{Damaged: []string{}}, left: map[uint64]bool{}}
	for _, s := range r.db.segmentList() {
		x.total += int64(eventsOf(r.tx.Bucket(bucketSegments), s))
	}
	err = x.line(&dumpLine{Header: &dumpHeader{Version: DumpVersion, Schema: Schema, StoreID: r.db.id, At: now}})
	for _, part := range []func() error{x.events, x.journal, x.outbox, x.positions, x.paused, x.others, x.end} {
		if err == nil {
			err = part()
		}
	}
	return x.Dumped, err
}

// dumper writes one dump.
type dumper struct {
	*reading
	Dumped
	ctx         context.Context
	progress    Progress
	told        time.Time
	done, total int64
	out         io.Writer
	behind      uint64          // the seq behind the last event of the last segment
	left        map[uint64]bool // events that are left out, or without payload
}

// marshal writes JSON without escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (x *dumper) line(l *dumpLine) error {
	b, err := marshal(l)
	if err != nil {
		return err
	}
	_, err = x.out.Write(append(b, '\n'))
	return err
}

func (x *dumper) tell() error {
	x.done++
	if now := time.Now(); x.done%256 == 0 && now.Sub(x.told) >= tellEvery {
		x.told = now
		x.progress.tell("events", x.done, x.total)
	}
	return x.ctx.Err()
}

func (x *dumper) events() error {
	list := x.db.segmentList()
	for i, s := range list {
		b, err := openSegment(x.tx.Bucket(bucketSegments), s)
		if err != nil {
			x.lose("segment %d: %v", s.first, err)
			x.behind = s.first + segmentEvents
			continue
		}
		last := x.lastOf(b)
		if i+1 < len(list) {
			last = min(last, list[i+1].first)
		}
		x.behind = last
		if err := x.segment(b, last); err != nil {
			return err
		}
	}
	return nil
}

// journal writes what a crash left in the journal as the events that they are.
func (x *dumper) journal() error {
	l, err := inJournal(x.tx)
	if err != nil {
		x.lose("%v; what is in it is left out", err)
	}
	if l.damaged {
		x.lose("the journal is damaged: some of the last events are lost")
	}
	for i := range l.events {
		a := &l.events[i]
		a.Event.Seq = max(x.behind, 1) + uint64(i)
		a.State.Derive()
		if err := x.line(&dumpLine{Event: dumpOf(a.Event, &a.State, a.Payload)}); err != nil {
			return err
		}
		x.Events++
	}
	return nil
}

func (x *dumper) segment(b *segmentBuckets, last uint64) error {
	x.newerParts(b)
	for seq := b.first; seq < last; seq++ {
		if err := x.tell(); err != nil {
			return err
		}
		e := x.event(b, seq)
		if e == nil {
			x.left[seq] = true
			continue
		}
		if err := x.line(&dumpLine{Event: e}); err != nil {
			return err
		}
		x.Events++
	}
	return nil
}

// lastOf returns the seq behind the last event of a segment: as its info says, or
// where that is damaged as far as there are heads or states.
func (x *dumper) lastOf(b *segmentBuckets) uint64 {
	if info, err := decodeInfo(b.root.Get(keyInfo)); err == nil {
		return b.first + uint64(info.events)
	}
	x.lose("segment %d: its counts are damaged and counted anew", b.first)
	last := b.first + uint64(recount(b.states, b.first).events)
	if k, v := b.heads.Cursor().Last(); len(k) == 8 {
		if n, err := blockCount(v); err == nil {
			last = max(last, binary.BigEndian.Uint64(k)+n)
		}
	}
	return min(last, b.first+segmentEvents) // keys have no checksum
}

// event returns a whole event as far as it can be read; nil when not even its
// head can: then nobody knows what it is.
func (x *dumper) event(b *segmentBuckets, seq uint64) *dumpEvent {
	if b.gone(seq) {
		return nil
	}
	e, err := b.event(seq)
	if err != nil {
		x.lose("event %d: %v; it is left out", seq, err)
		if _, found, _ := b.document(seq); found {
			x.lose("event %d: working data stands beside it, and is left out", seq)
		}
		return nil
	}
	body, bodyErr := b.payload(seq)
	s, err := b.state(seq, x.db.names)
	switch {
	case err != nil:
		x.lose("event %d (%s): %v; it stands as ERROR quarantined", seq, e.ID, err)
		s = &state{State: event.State{UpdatedAt: e.CreatedAt, UpdatedBy: e.CreatedBy}}
		s.damage(err)
	case s.spilled > 0:
		x.notes(b, seq, s)
	}
	removed := errors.Is(bodyErr, errRemoved)
	if bodyErr != nil && !removed {
		x.lose("event %d (%s): payload: %v; it stands without it, as ERROR quarantined where it was not final", seq, e.ID, bodyErr)
		s.withhold(bodyErr)
		x.left[seq] = true
	}
	x.newerEvent(b, seq, &s.State)
	d := dumpOf(e, &s.State, body)
	d.Removed, d.Sent = removed, x.sent(b, seq, e.ID)
	x.awaiting(d)
	doc, found, err := b.document(seq)
	switch {
	case err != nil:
		x.lose("event %d (%s): working data: %v; it is left out", seq, e.ID, err)
	case found:
		d.Working = dumpDocumentOf(&doc)
	}
	return d
}

// awaiting notes which deliveries of an event await their response.
func (x *dumper) awaiting(d *dumpEvent) {
	bucket := x.tx.Bucket(bucketAwaiting)
	for i := range d.Deliveries {
		handler, known := x.db.names.number(string(d.Deliveries[i].Handler))
		if bucket == nil || !known {
			continue
		}
		k := awaitingKey(handler, d.Seq, i)
		v := bucket.Get(k)
		if v == nil {
			continue
		}
		a, ok := readAwaited(handler, k, v)
		if !ok || a.sent.Equal(never) {
			x.lose("event %d (%s): since when it awaits a response is damaged, and left out", d.Seq, d.ID)
			continue
		}
		d.Deliveries[i].AwaitingSince = instant{a.sent}
	}
}

func (x *dumper) notes(b *segmentBuckets, seq uint64, s *state) {
	readNotes(b.root, seq, s, x.db.names)
	for i := range s.Timeline[:s.spilled] {
		if t := &s.Timeline[i]; t.At.IsZero() && t.Reason == event.Quarantined {
			x.lose("event %d: entry %d of its timeline is damaged", seq, i)
			t.At = s.created
		}
	}
}

// withhold keeps an event without payload from being handed out.
func (s *state) withhold(why error) {
	for i := range s.Deliveries {
		if d := &s.Deliveries[i]; !d.Status.Final() {
			d.Status, d.Reason, d.NextAttempt = event.Error, event.Quarantined, time.Time{}
		}
	}
	s.Timeline = append(s.Timeline, event.Entry{
		At: s.UpdatedAt, Status: event.Error, Reason: event.Quarantined, Detail: "payload: " + why.Error(),
	})
	s.Derive()
}

// sent returns the payload rows beyond the first.
func (x *dumper) sent(b *segmentBuckets, seq uint64, id string) (list []dumpPayload) {
	bodies := b.root.Bucket(bucketBodies)
	if bodies == nil {
		return nil
	}
	c := bodies.Cursor()
	for k, v := c.Seek(noteKey(seq, 0)); len(k) == 12 && binary.BigEndian.Uint64(k) == seq; k, v = c.Next() {
		p, err := decodeRow(v)
		if err != nil {
			x.lose("event %d (%s): payload row %d: %v; it is left out", seq, id, binary.BigEndian.Uint32(k[8:])+1, err)
			continue
		}
		x.sealedFields(v, &body{}, "event %d (%s): payload row %d", seq, id, binary.BigEndian.Uint32(k[8:])+1)
		list = append(list, p)
	}
	return list
}

func (x *dumper) outbox() error {
	return x.tx.Bucket(bucketOutbox).ForEach(func(k, v []byte) error {
		if len(k) != 8 {
			x.lose("outbox: a row has no number")
			return nil
		}
		id := binary.BigEndian.Uint64(k)
		p, own, of, err := decodePublication(v)
		if err == nil && own {
			err = x.ownBody(id, v, p.EventSeq)
		}
		if err != nil {
			x.lose("outbox row %d: %v; it is left out", id, err)
			return nil
		}
		x.sealedFields(v, &publication{}, "outbox row %d", id)
		row := &dumpPublication{ID: id, Seq: p.EventSeq, Subject: text(p.Subject), Header: p.Header, Row: of}
		if !own {
			body := dumpBody(p.Body)
			row.Body = &body
		}
		x.Outbox++
		return x.line(&dumpLine{Outbox: row})
	})
}

// ownBody reports whether the payload that an outbox row stands for is in the dump.
func (x *dumper) ownBody(id uint64, row []byte, seq uint64) error {
	if x.left[seq] {
		return fmt.Errorf("the payload of event %d is damaged", seq)
	}
	_, err := x.publication(id, row)
	return err
}

func (x *dumper) positions() error {
	return x.tx.Bucket(bucketSources).ForEach(func(k, v []byte) error {
		p, err := decodePosition(v)
		if err != nil {
			x.lose("position of source %s: %v; it is left out", k, err)
			return nil
		}
		x.sealedFields(v, &position{}, "position of source %s", k)
		return x.line(&dumpLine{Position: &dumpPosition{Source: text(k), Stream: dumpStreamOf(p)}})
	})
}

func (x *dumper) paused() error {
	return x.tx.Bucket(bucketPaused).ForEach(func(k, v []byte) error {
		return x.line(&dumpLine{Paused: &dumpPaused{What: text(k), Reason: text(v)}})
	})
}

// spoken are the buckets that a dump has words for, or that are made anew.
var spoken = [][]byte{
	bucketNames, bucketSources, bucketPaused, bucketDue, bucketInflight, bucketParked,
	bucketOutbox, bucketQuarantine, bucketSegments, bucketAwaiting, bucketLines,
}

// others writes what is in the buckets that a dump takes as they are.
func (x *dumper) others() error {
	return x.tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		switch {
		case among(name, carried):
			return x.other([]text{text(name)}, b)
		case !among(name, spoken, forgotten):
			x.newerBucket(name, b)
		}
		return nil
	})
}

func (x *dumper) other(path []text, b *bolt.Bucket) error {
	if err := x.line(&dumpLine{Entry: &dumpEntry{Bucket: path, Sequence: b.Sequence()}}); err != nil {
		return err
	}
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return x.other(append(path[:len(path):len(path)], text(k)), b.Bucket(k))
		}
		if len(path) == 1 && path[0] == text(bucketMeta) && ownMeta(k) {
			return nil
		}
		if len(path) == 1 && path[0] == text(bucketSchedules) {
			if _, err := decodeMark(k, v); err != nil {
				x.lose("schedule %s: %v; it begins anew", k, err)
				return nil
			}
		}
		key, value := dumpBody(k), dumpBody(v)
		return x.line(&dumpLine{Entry: &dumpEntry{Bucket: path, Key: &key, Value: &value}})
	})
}

// ownMeta reports whether a key of the bucket meta is of the header.
func ownMeta(k []byte) bool {
	return bytes.Equal(k, keyApplication) || bytes.Equal(k, keySchema) || bytes.Equal(k, keyStoreID) || bytes.Equal(k, keyEpoch)
}

func (x *dumper) end() error {
	return x.line(&dumpLine{End: &dumpEnd{
		Events: x.Events, Outbox: x.Outbox, NextID: x.tx.Bucket(bucketOutbox).Sequence(), Damaged: x.Damages,
	}})
}
