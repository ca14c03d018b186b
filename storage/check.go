package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// maxListed bounds the problems that a report lists; all are counted.
const maxListed = 1000

// Report is what [Check] found.
type Report struct {
	Path     string       `json:"path"`
	StoreID  string       `json:"store_id"`
	Schema   int          `json:"schema"`
	Size     int64        `json:"bytes"`
	Free     int64        `json:"bytes_free"` // inside the file, reusable
	Segments int          `json:"segments"`
	Events   int          `json:"events"`
	Counts   event.Counts `json:"counts"`
	Outbox   int          `json:"outbox"`
	// Journal is how many events a crash left in the journal. The next start brings
	// them into their tables; Events are without them.
	Journal int `json:"journal"`

	// Damages is how many Problems there are; the first 1,000 are listed.
	Damages  int      `json:"damages"`
	Problems []string `json:"problems"`
	// Quarantined are damaged records that the store knows of and hands out to
	// nobody. They are no Problems.
	Quarantined []Quarantine `json:"quarantined"`
}

// Quarantine is a damaged record that the store knows of.
type Quarantine struct {
	Seq    uint64 `json:"seq,omitempty"`       // of an event
	Outbox uint64 `json:"outbox_id,omitempty"` // or of a publication
	ID     string `json:"event_id,omitempty"`  // "" when it cannot be read
	Why    string `json:"why"`
}

// Clean reports whether nothing is wrong but what is under quarantine.
func (r *Report) Clean() bool { return r.Damages == 0 }

func (r *Report) fail(format string, args ...any) {
	if r.Damages++; r.Damages <= maxListed {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Check looks at every page, record and index of a store and changes nothing.
// Others may read the file meanwhile, and nobody writes to it.
//
// What is wrong stands in the report. An error says that the file could not be
// looked at: [ErrUnavailable], [ErrNewer], or [ErrCorrupt] when it is no store or
// so damaged that none can be made out.
func Check(ctx context.Context, o CommandOptions) (*Report, error) {
	o.complete()
	r, err := openReading(o.Path, o.LockTimeout)
	if err != nil {
		return nil, err
	}
	defer r.close()
	report := &Report{
		Path: o.Path, StoreID: r.db.id, Schema: Schema, Counts: event.Counts{},
		Problems: []string{}, Quarantined: []Quarantine{},
	}
	if err := report.pages(ctx, r.file, o.Progress); err != nil {
		return nil, err
	}
	if !report.Clean() {
		// What leads to records cannot be trusted; bbolt would follow it anywhere.
		report.fail("records and indexes were not looked at: their pages are damaged")
		return report, nil
	}
	return report, report.records(ctx, r, o.Progress)
}

// pages looks at the structure: every page has one place, in the trees or in the
// list of free pages, and holds what bbolt could have written.
func (r *Report) pages(ctx context.Context, f *os.File, p Progress) error {
	w, err := watch(ctx, f, p, "pages")
	if err != nil {
		return err
	}
	t, err := openTree(ctx, w)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Path, err)
	}
	nothing := func([][]byte, []byte, []byte) error { return nil }
	t.bucket, t.entry = func([][]byte, uint64) error { return nil }, nothing
	t.damage = func(path [][]byte, what string) error {
		r.fail("bucket %q: %s", pathName(path), what)
		return nil
	}
	if err := t.walk(); err != nil {
		return err
	}
	r.Size = w.total
	return r.accounts(t)
}

// accounts compares the pages in use with those that are free.
func (r *Report) accounts(t *tree) error {
	free, n, err := freePages(t.f, &t.meta)
	if err != nil {
		return fmt.Errorf("%w: list of free pages: %w", ErrCorrupt, err)
	}
	size := uint64(t.meta.pageSize)
	r.Free = int64(n*size) + r.Size - int64(t.meta.pages*size)
	list, err := inspectPage(t.f, &t.meta, t.meta.freelist, flagFreelist)
	if err != nil {
		return err
	}
	if t.used.hasAny(t.meta.freelist, uint64(list.overflow)+1) {
		r.fail("the list of free pages lies in pages that are in use")
	}
	t.used.addRun(t.meta.freelist, uint64(list.overflow)+1)
	lost, both := 0, 0
	for page := uint64(2); page < t.meta.pages; page++ {
		switch used := t.used.has(page); {
		case used && free.has(page):
			both++
		case !used && !free.has(page):
			lost++
		}
	}
	if both > 0 {
		r.fail("%d pages are in use and in the list of free pages", both)
	}
	if lost > 0 && r.Clean() { // else they are those below a damaged page
		r.fail("%d pages are neither in use nor free", lost)
	}
	return nil
}

// records looks at the records and at the indexes of them.
func (r *Report) records(ctx context.Context, from *reading, p Progress) (err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	c := &checker{
		Report: r, reading: from, ctx: ctx, progress: p, next: 1,
		quarantine: from.tx.Bucket(bucketQuarantine), lost: map[uint64]bool{},
		open: map[string]int{}, conversations: map[uint64]uint64{}, awaited: map[uint64]uint64{},
	}
	c.awaiting()
	for _, s := range from.db.segmentList() {
		c.total += int64(eventsOf(from.tx.Bucket(bucketSegments), s))
	}
	for _, s := range from.db.segmentList() {
		if err := c.segmentOf(s); err != nil {
			return err
		}
	}
	c.indexes()
	c.outbox()
	c.schedules()
	c.jobs()
	c.journal()
	c.listQuarantined()
	return nil
}

func (c *checker) journal() {
	l, err := inJournal(c.tx)
	if err != nil {
		c.fail("%v", err)
	}
	if l.damaged {
		c.fail("the journal is damaged: some of the last events are lost")
	}
	c.Journal = len(l.events)
}

// eventsOf returns how many events a segment says it has, 0 when it cannot.
func eventsOf(segments *bolt.Bucket, s *segment) uint32 {
	root := segments.Bucket(key8(s.first))
	if root == nil {
		return 0
	}
	info, err := decodeInfo(root.Get(keyInfo))
	if err != nil {
		return 0
	}
	return info.events
}

// checker collects what the states say the indexes must be.
type checker struct {
	*Report
	*reading
	ctx         context.Context
	progress    Progress
	told        time.Time
	done, total int64

	quarantine *bolt.Bucket
	next       uint64          // the least seq that the next segment may begin with
	lost       map[uint64]bool // events whose state cannot be read
	unread     int             // heads of the segment at hand that cannot be read
	open       map[string]int  // name of an index -> how many keys the states ask for

	conversations map[uint64]uint64 // hash of its id -> the event beside which its working data lies
	awaited       map[uint64]uint64 // hash of an id -> the request that awaits a response
}

// segmentOf checks one segment.
func (c *checker) segmentOf(s *segment) error {
	b, err := openSegment(c.tx.Bucket(bucketSegments), s)
	if err != nil {
		c.fail("segment %d: %v", s.first, err)
		return nil
	}
	info, err := decodeInfo(b.root.Get(keyInfo))
	if err != nil {
		c.fail("segment %d: info: %v", s.first, err)
		return nil
	}
	if s.first < c.next || info.events == 0 && s != c.db.lastSegment() {
		c.fail("segment %d has %d events; the one before ends with %d", s.first, info.events, c.next-1)
	}
	c.next = s.first + uint64(info.events)
	again, lost := segmentInfo{created: info.created}, len(c.lost)
	c.unread = 0
	for seq := s.first; seq < c.next; seq++ {
		if err := c.tell(); err != nil {
			return err
		}
		c.event(b, seq, &again)
	}
	if len(c.lost) == lost && again.counts != info.counts || again.events != info.events || again.last > info.last {
		c.fail("segment %d: its counts are not those of its %d events", s.first, again.events)
	}
	if n := countKeys(b.states); n > int(info.events) {
		c.fail("segment %d: %d states of %d events", s.first, n, info.events)
	}
	c.Segments++
	c.addCounts(&again)
	c.blocks(b, bucketHeads)
	c.blocks(b, bucketPayloads)
	c.ids(b)
	c.children(b)
	c.documents(b)
	c.orphans(b)
	return nil
}

func (c *checker) tell() error {
	c.done++
	if c.done%256 != 0 {
		return nil
	}
	if now := time.Now(); now.Sub(c.told) >= tellEvery {
		c.told = now
		c.progress.tell("events", c.done, c.total)
	}
	return c.ctx.Err()
}

func (c *checker) addCounts(info *segmentInfo) {
	c.Events += int(info.events)
	for _, t := range event.Tables {
		if c.Counts[t] == nil {
			c.Counts[t] = map[event.Status]int{}
		}
		for _, s := range event.Statuses {
			c.Counts[t][s] += info.of(t, s)
		}
	}
}

// event checks one event against all that is said of it elsewhere.
func (c *checker) event(b *segmentBuckets, seq uint64, info *segmentInfo) {
	info.events++
	known := c.quarantine.Get(key8(seq)) != nil
	s, err := b.state(seq, c.db.names)
	if b.gone(seq) {
		return
	}
	if err != nil {
		c.lost[seq] = true
		c.damaged(known, err)
		if _, err := b.event(seq); err != nil {
			c.unread++
		}
		return
	}
	info.count(s.table, s.Status, 1)
	info.last = max(info.last, micros(s.created))
	c.indexed(seq, s)
	derived := s.State
	if derived.Derive(); derived.Status != s.Status || derived.Reason != s.Reason {
		c.fail("event %d is %s %s; its deliveries make it %s %s", seq, s.Status, s.Reason, derived.Status, derived.Reason)
	}
	if e, err := b.event(seq); err != nil {
		c.unread++
		c.damaged(known, err)
	} else if c.answers(e); e.Table != s.table || !e.CreatedAt.Equal(s.created) {
		c.fail("event %d: head says %s %s, state %s %s", seq, e.Table, e.CreatedAt, s.table, s.created)
	}
	if _, err := readBodies(b, seq); err != nil {
		c.damaged(known, fmt.Errorf("payloads of event %d: %w", seq, err))
	}
	c.notes(b, seq, s, known)
}

func (c *checker) notes(b *segmentBuckets, seq uint64, s *state, known bool) {
	notes := b.root.Bucket(bucketNotes)
	if notes == nil {
		c.fail("segment %d: no bucket %s", b.first, bucketNotes)
		return
	}
	for n := range s.spilled {
		if _, err := readNote(notes, noteKey(seq, n), s, c.db.names); err != nil {
			c.damaged(known, fmt.Errorf("entry %d of the timeline of event %d: %w", n, seq, err))
		}
	}
	if notes.Get(noteKey(seq, s.spilled)) != nil {
		c.fail("event %d has more than %d entries beside its state", seq, s.spilled)
	}
}

// damaged reports a record that cannot be read, unless the store knows it.
func (c *checker) damaged(known bool, err error) {
	if !known {
		c.fail("%v", err)
	}
}

// listQuarantined lists what is under quarantine.
func (c *checker) listQuarantined() {
	_ = c.quarantine.ForEach(func(k, v []byte) error {
		if len(k) != 8 {
			q := Quarantine{Why: "a damaged row of the outbox, kept as it is"}
			if len(k) == len(outboxKey(0)) {
				q.Outbox = binary.BigEndian.Uint64(k[len(k)-8:])
			}
			c.Quarantined = append(c.Quarantined, q)
			return nil
		}
		q := Quarantine{Seq: binary.BigEndian.Uint64(k), Why: string(v)}
		if b, err := c.of(q.Seq); err == nil {
			if e, err := b.event(q.Seq); err == nil {
				q.ID = e.ID
			}
		}
		c.Quarantined = append(c.Quarantined, q)
		return nil
	})
}

// outbox checks that each row can be read, with the payload that it stands for.
func (c *checker) outbox() {
	_ = c.tx.Bucket(bucketOutbox).ForEach(func(k, v []byte) error {
		c.Outbox++
		if len(k) != 8 {
			c.fail("outbox: a row has no number")
			return nil
		}
		id := binary.BigEndian.Uint64(k)
		if _, err := c.publication(id, v); err != nil && !errors.Is(err, ErrQuarantined) {
			c.fail("outbox row %d: %v", id, err)
		}
		return nil
	})
}
