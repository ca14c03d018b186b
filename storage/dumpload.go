package storage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// ErrDump says that what is to be loaded is no dump, or not a whole one.
var ErrDump = errors.New("not a whole dump")

// PutOptions say where a store is put.
type PutOptions struct {
	CommandOptions
	// Force allows for a store that is there already. It stays beside the new
	// one, under the name that is returned.
	Force bool

	segmentEvents uint32 // as in Options
}

// Loaded tells what was loaded.
type Loaded struct {
	Events int    `json:"events"`
	Outbox int    `json:"outbox"`
	Kept   string `json:"kept,omitempty"` // where the store is that was there before
}

// Load makes a store of what [Dump] wrote: what can be asked of it gets the same
// answers. It is checked before it takes its place, all of it or nothing.
// Errors: [ErrExists] without Force, [ErrDump], [ErrNewer], [ErrUnavailable].
func Load(ctx context.Context, o PutOptions, r io.Reader) (l Loaded, err error) {
	o.complete()
	release, err := vacant(o.Path, o.LockTimeout, o.Force)
	if err != nil {
		return l, err
	}
	defer release()
	part, err := makePart(o.Path, partLoad)
	if err != nil {
		return l, err
	}
	defer os.Remove(part) // not there any more when it has taken its place
	if l, err = fill(ctx, part, &o, r); err != nil {
		return l, err
	}
	l.Kept, err = putChecked(ctx, part, &o)
	return l, err
}

// putChecked puts a file in its place when nothing is wrong with it.
func putChecked(ctx context.Context, part string, o *PutOptions) (kept string, err error) {
	report, err := Check(ctx, CommandOptions{Path: part, LockTimeout: o.LockTimeout, Progress: o.Progress})
	if err != nil {
		return "", err
	}
	if !report.Clean() {
		return "", fmt.Errorf("%w: %d damages, the first: %s", ErrCorrupt, report.Damages, report.Problems[0])
	}
	return put(part, o.Path, o.Force)
}

// fill loads a dump into a new file.
func fill(ctx context.Context, part string, o *PutOptions, r io.Reader) (_ Loaded, err error) {
	if err := makeFile(part); err != nil {
		return Loaded{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	db, err := Open(Options{Path: part, LockTimeout: o.LockTimeout, segmentEvents: o.segmentEvents})
	if err != nil {
		return Loaded{}, err
	}
	x := &loader{db: db, ctx: ctx, progress: o.Progress}
	err = x.all(r)
	return x.Loaded, errors.Join(err, db.Close())
}

// loader loads one dump.
type loader struct {
	Loaded
	db       *DB
	ctx      context.Context
	progress Progress
	told     time.Time
	lines    int
	last     uint64 // seq of the last event
	begun    bool
	ended    bool
	group    []*dumpLine
	weight   int
}

// loadGroup bounds what of a dump is stored in one transaction.
const (
	loadGroup      = 1000
	loadGroupBytes = 4 << 20
)

func (x *loader) all(r io.Reader) error {
	counted := &counter{r: r}
	dec := json.NewDecoder(bufio.NewReaderSize(counted, 1<<20))
	dec.DisallowUnknownFields() // what is not understood must not get lost
	for {
		l := &dumpLine{}
		err := dec.Decode(l)
		if errors.Is(err, io.EOF) {
			break
		}
		x.lines++
		if err == nil {
			err = x.take(l)
		}
		if err != nil {
			return x.at(err)
		}
		x.tell(counted.n)
	}
	if !x.ended {
		return fmt.Errorf("%w: it has no end", ErrDump)
	}
	return nil
}

// at says on which line it went wrong. What is not our own error is the dump's.
func (x *loader) at(err error) error {
	for _, own := range []error{ErrDump, ErrNewer, ErrBroken, ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, own) {
			return fmt.Errorf("line %d: %w", x.lines, err)
		}
	}
	return fmt.Errorf("line %d: %w: %w", x.lines, ErrDump, err)
}

type counter struct {
	r io.Reader
	n int64
}

// Read implements [io.Reader].
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (x *loader) tell(done int64) {
	if now := time.Now(); now.Sub(x.told) >= tellEvery {
		x.told = now
		x.progress.tell("loading", done, 0)
	}
}

// take takes a line: the header first and the end last.
func (x *loader) take(l *dumpLine) error {
	switch {
	case x.ended:
		return fmt.Errorf("%w: there is more behind its end", ErrDump)
	case !x.begun:
		return x.begin(l.Header)
	case l.Header != nil:
		return fmt.Errorf("%w: a second header", ErrDump)
	}
	x.group = append(x.group, l)
	if x.weight += l.weight(); l.End == nil && len(x.group) < loadGroup && x.weight < loadGroupBytes {
		return nil
	}
	if err := x.flush(); err != nil {
		return err
	}
	if l.End != nil {
		return x.end(l.End)
	}
	return nil
}

func (l *dumpLine) weight() int {
	switch {
	case l.Event != nil:
		n := len(l.Event.Payload)
		if l.Event.Working != nil {
			n += len(l.Event.Working.Body)
		}
		return n
	case l.Outbox != nil && l.Outbox.Body != nil:
		return len(*l.Outbox.Body)
	case l.Entry != nil && l.Entry.Value != nil:
		return len(*l.Entry.Value)
	}
	return 0
}

func (x *loader) begin(h *dumpHeader) error {
	switch {
	case h == nil:
		return fmt.Errorf("%w: it does not begin with a header", ErrDump)
	case h.Version > DumpVersion || h.Schema > Schema:
		return fmt.Errorf("%w: a dump of version %d and schema %d, this program knows up to %d and %d", ErrNewer, h.Version, h.Schema, DumpVersion, Schema)
	case h.Version < 1:
		return fmt.Errorf("%w: version %d", ErrDump, h.Version)
	}
	x.begun = true
	return x.db.do(x.ctx, func(t *transaction) error {
		return t.tx.Bucket(bucketMeta).Put(keyStoreID, []byte(h.StoreID))
	})
}

// flush stores what was collected. What is wrong with it is found before
// anything is written: a failure in the writer would break the store.
func (x *loader) flush() error {
	group := x.group
	x.group, x.weight = nil, 0
	loads := make([]func(*transaction) error, 0, len(group))
	for _, l := range group {
		f, err := x.prepare(l)
		if err != nil {
			return err
		}
		loads = append(loads, f)
	}
	return x.db.do(x.ctx, func(t *transaction) error {
		for _, f := range loads {
			if err := f(t); err != nil {
				return err
			}
		}
		return nil
	})
}

// prepare returns what stores a line.
func (x *loader) prepare(l *dumpLine) (func(*transaction) error, error) {
	switch {
	case l.Event != nil:
		if l.Event.Seq <= x.last {
			return nil, fmt.Errorf("%w: event %d comes after event %d", ErrDump, l.Event.Seq, x.last)
		}
		x.last = l.Event.Seq
		x.Events++
		return prepareEvent(l.Event)
	case l.Outbox != nil:
		x.Outbox++
		v, err := encodePublication(l.Outbox)
		return func(t *transaction) error { t.published++; return t.outbox.Put(key8(l.Outbox.ID), v) }, err
	case l.Position != nil:
		v, err := encodePosition(l.Position.Stream.position())
		return prepareKey(bucketSources, string(l.Position.Source), v), errors.Join(err, checkKey(string(l.Position.Source)))
	case l.Paused != nil:
		return prepareKey(bucketPaused, string(l.Paused.What), []byte(l.Paused.Reason)), checkKey(string(l.Paused.What))
	case l.Entry != nil:
		return prepareEntry(l.Entry)
	case l.End != nil:
		return func(t *transaction) error { return t.outbox.SetSequence(max(t.outbox.Sequence(), l.End.NextID)) }, nil
	}
	return nil, fmt.Errorf("%w: an empty line", ErrDump)
}

func prepareKey(bucket []byte, key string, v []byte) func(*transaction) error {
	return func(t *transaction) error { return t.tx.Bucket(bucket).Put([]byte(key), v) }
}

func prepareEvent(d *dumpEvent) (func(*transaction) error, error) {
	a := &event.Admission{Event: d.event(), Payload: d.Payload, State: d.state()}
	if err := checkAdmission(a); err != nil {
		return nil, fmt.Errorf("event %s: %w", d.ID, err)
	}
	head, err := encodeHead(a.Event)
	if err != nil {
		return nil, err
	}
	return func(t *transaction) error { return t.loadEvent(a, head, d) }, nil
}

func prepareEntry(d *dumpEntry) (func(*transaction) error, error) {
	if len(d.Bucket) == 0 || among([]byte(d.Bucket[0]), spoken) {
		return nil, fmt.Errorf("%w: an entry of bucket %q", ErrDump, d.Bucket)
	}
	if among([]byte(d.Bucket[0]), forgotten) { // an earlier eventd wrote them down
		return func(*transaction) error { return nil }, nil
	}
	if !among([]byte(d.Bucket[0]), carried) {
		return nil, fmt.Errorf("%w: an entry of bucket %q, which this program does not know", ErrNewer, d.Bucket)
	}
	for _, name := range d.Bucket {
		if err := checkKey(string(name)); err != nil {
			return nil, err
		}
	}
	if d.Key != nil {
		if err := checkKey(string(*d.Key)); err != nil || d.Value == nil {
			return nil, fmt.Errorf("%w: an entry of bucket %q without key or value", ErrDump, d.Bucket)
		}
	}
	return func(t *transaction) error { return t.loadEntry(d) }, nil
}

func (t *transaction) loadEntry(d *dumpEntry) error {
	var b *bolt.Bucket
	for i, name := range d.Bucket {
		create := t.tx.CreateBucketIfNotExists
		if i > 0 {
			create = b.CreateBucketIfNotExists
		}
		var err error
		if b, err = create([]byte(name)); err != nil {
			return err
		}
	}
	if d.Key == nil {
		return b.SetSequence(d.Sequence)
	}
	return b.Put(*d.Key, *d.Value)
}

// loadEvent stores an event under the seq that it had.
func (t *transaction) loadEvent(a *event.Admission, head []byte, d *dumpEvent) error {
	seq := a.Event.Seq
	b, err := t.roomFor(seq, a.Event.CreatedAt)
	if err != nil {
		return err
	}
	t.db.nextSeq = seq + 1
	if d.Removed {
		// No block reaches an event whose payload is gone.
		err = errors.Join(t.bodies.flush(b.payloads), t.storeHead(b, seq, head, a))
	} else {
		err = t.store(b, seq, head, a)
	}
	if err != nil {
		return err
	}
	for i := range d.Sent {
		if err := t.addBodies(b, seq, d.Sent[i].Row, []event.Payload{d.Sent[i].payload()}); err != nil {
			return err
		}
	}
	for i := range d.Deliveries {
		x := &d.Deliveries[i]
		if x.AwaitingSince.IsZero() {
			continue
		}
		if err := t.putAwaited(string(x.Handler), i, awaited{seq: seq, created: a.Event.CreatedAt, sent: x.AwaitingSince.Time}); err != nil {
			return err
		}
	}
	if d.Working != nil {
		return b.putDocument(seq, d.Working.document(a.Event.CorrelationID))
	}
	return nil
}

// roomFor returns the segment that takes an event with the given seq. Events that
// are missing in between divide segments, in which there are no gaps; so does
// time, as where it passes while events come in.
func (t *transaction) roomFor(seq uint64, created time.Time) (_ *segmentBuckets, err error) {
	last := t.db.lastSegment()
	if last == nil || seq != t.db.nextSeq || last.full(created, &t.db.options) {
		return t.newSegment(seq, created)
	}
	if t.current == nil {
		t.current, err = t.segment(last)
	}
	return t.current, err
}

func (x *loader) end(e *dumpEnd) error {
	x.ended = true
	if e.Events != x.Events || e.Outbox != x.Outbox {
		return fmt.Errorf("%w: %d events and %d publications where it has %d and %d", ErrDump, x.Events, x.Outbox, e.Events, e.Outbox)
	}
	return nil
}
