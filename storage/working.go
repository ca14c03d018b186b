package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// bucketWorking is made in a segment with its first document.
var bucketWorking = []byte("working")

// documentWeight is how many bytes an event is taken to write that remembers
// something: documents are seldom larger.
const documentWeight = 64 << 10

// plenty is how much space on the disk makes it needless to look how large the
// documents are that a commit changes.
const plenty = 64 << 20

// weighDocuments counts what the documents weigh that a group may change, in place
// of what they are taken to: each is written anew, with what is added to it. Where
// there is plenty of space it does not look.
func (db *DB) weighDocuments(group []*operation, tx *bolt.Tx) {
	n := 0
	for _, op := range group {
		n += len(op.recalls)
	}
	if n == 0 {
		return
	}
	if free, ok := freeSpace(filepath.Dir(db.options.Path)); ok && free > plenty+int64(n)*2*event.MaxDocument {
		return
	}
	defer func() { _ = recover() }() // a damaged page: who changes the document meets it, too
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	t, seen := db.begin(tx), map[string]bool{}
	for _, op := range group {
		if len(op.recalls) > 0 {
			op.weight = 2 * (op.weight - documentWeight*len(op.recalls)) // what comes may become part of them
		}
		for _, id := range op.recalls {
			if seen[id] {
				continue
			}
			seen[id] = true
			if _, d, err := locate(t, id, t.correlated(id)); err == nil {
				op.weight += len(d.Body)
			}
		}
		op.recalls = nil // they are in its weight
	}
}

// document is the record of a [event.Document]: sealed CBOR. It lies in a segment
// under the seq of an event of its conversation: the oldest there was when it was
// made, or when the segment it lay in was dropped.
// Numbers of fields are stored: never reuse one.
type document struct {
	CorrelationID string `cbor:"1,keyasint"`
	Version       uint64 `cbor:"2,keyasint"`
	CreatedBy     string `cbor:"3,keyasint,omitempty"`
	CreatedAt     uint64 `cbor:"4,keyasint"` // microseconds
	UpdatedBy     string `cbor:"5,keyasint,omitempty"`
	UpdatedAt     uint64 `cbor:"6,keyasint"` // microseconds
	Body          []byte `cbor:"7,keyasint"`
}

func encodeDocument(d *event.Document) ([]byte, error) {
	b, err := cbor.Marshal(document{
		CorrelationID: d.CorrelationID, Version: d.Version, Body: d.Body,
		CreatedBy: d.CreatedBy, CreatedAt: micros(d.CreatedAt), UpdatedBy: d.UpdatedBy, UpdatedAt: micros(d.UpdatedAt),
	})
	return sealed(b), err
}

// decodeDocument returns what encodeDocument was given. The body is a copy.
func decodeDocument(v []byte) (d event.Document, err error) {
	if v, err = unsealed(v); err != nil {
		return d, err
	}
	var r document
	if err := lenient.Unmarshal(v, &r); err != nil {
		return d, errDamaged
	}
	return event.Document{
		CorrelationID: r.CorrelationID, Version: r.Version, Body: r.Body,
		CreatedBy: r.CreatedBy, CreatedAt: fromMicros(r.CreatedAt), UpdatedBy: r.UpdatedBy, UpdatedAt: fromMicros(r.UpdatedAt),
	}, nil
}

// document returns what lies under a seq, if anything does.
func (b *segmentBuckets) document(seq uint64) (d event.Document, found bool, err error) {
	defer recoverDamage(&err)
	w := b.root.Bucket(bucketWorking)
	if w == nil {
		return d, false, nil
	}
	v := w.Get(key8(seq))
	if v == nil {
		return d, false, nil
	}
	d, err = decodeDocument(v)
	return d, err == nil, err
}

func (b *segmentBuckets) putDocument(seq uint64, d *event.Document) error {
	v, err := encodeDocument(d)
	if err != nil {
		return err
	}
	w, err := b.root.CreateBucketIfNotExists(bucketWorking)
	if err != nil {
		return err
	}
	return w.Put(key8(seq), v)
}

// documentPlace is an event of a conversation, with its segment.
type documentPlace struct {
	*segmentBuckets
	seq uint64
}

// resident is where events are read: a transaction or a snapshot.
type resident interface {
	of(seq uint64) (*segmentBuckets, error)
	event(b *segmentBuckets, seq uint64) (*event.Event, error)
}

// locate returns the document of a conversation and its place; of one that has
// none a document of version 0 and the place for it, its oldest event. seqs are
// the events that may belong to the conversation, oldest first.
// [event.ErrNotFound]: none does.
func locate(r resident, id string, seqs []uint64) (home documentPlace, d event.Document, err error) {
	for _, seq := range seqs {
		b, err := r.of(seq)
		if err != nil {
			continue // not committed yet, or damaged
		}
		// A document says itself whose it is: the head of its event need not be
		// read, and may be damaged.
		d, found, err := b.document(seq)
		if found && d.CorrelationID == id {
			return documentPlace{b, seq}, d, nil
		}
		if home.segmentBuckets != nil && err == nil {
			continue
		}
		if e, unread := r.event(b, seq); unread != nil || e.CorrelationID != id {
			continue
		}
		if err != nil {
			return home, d, fmt.Errorf("working data of %q: %w: %w", id, ErrQuarantined, err)
		}
		home = documentPlace{b, seq}
	}
	if home.segmentBuckets == nil {
		return home, d, fmt.Errorf("conversation %q: %w", id, event.ErrNotFound)
	}
	return home, event.Document{CorrelationID: id}, nil
}

// located reads heads in a snapshot without minding the state.
type located struct{ *snapshot }

func (located) event(b *segmentBuckets, seq uint64) (*event.Event, error) { return b.event(seq) }

// WorkingData returns the working data of a conversation. [event.ErrNotFound]:
// it has none, or no event belongs to it. [ErrQuarantined]: it is damaged.
func (db *DB) WorkingData(ctx context.Context, correlationID string) (d event.Document, err error) {
	hashes := correlationHashes(correlationID)
	err = db.viewPlaces(ctx, hashes[:], func(r *snapshot, places [][]place) error {
		seqs := append(r.seqs(places[0], hashes[0]), r.seqs(places[1], hashes[1])...)
		slices.Sort(seqs)
		if _, d, err = locate(located{r}, correlationID, slices.Compact(seqs)); err == nil && d.Version == 0 {
			err = fmt.Errorf("working data of %q: %w", correlationID, event.ErrNotFound)
		}
		return err
	})
	return d, err
}

// correlationHashes returns under which hashes the events of a conversation are
// found: those that name it, and the one whose id it is.
func correlationHashes(id string) [2]uint64 {
	return [2]uint64{hashCorrelation([]byte(id)), hashID([]byte(id))}
}

// AmendWorkingData changes the working data of a conversation, in the
// transaction in which change is given what is there: of version 0 where there
// is nothing yet. Errors: [event.ErrNotFound] when no event belongs to the
// conversation, [event.ErrTooLarge], what change returned, and those of
// [DB.Accept]: [ErrFull] when the disk has no room for a document.
func (db *DB) AmendWorkingData(ctx context.Context, correlationID, by string, change func(event.Document) ([]byte, error)) (d event.Document, err error) {
	var refused error
	err = db.try(ctx, event.MaxDocument, func(t *transaction) error {
		d, refused, err = t.amend(correlationID, by, change)
		return err
	})
	return d, errors.Join(err, refused)
}

// amend changes a document. refused says why it is left as it is; err fails the
// transaction.
func (t *transaction) amend(id, by string, change func(event.Document) ([]byte, error)) (d event.Document, refused, err error) {
	p, d, refused := locate(t, id, t.correlated(id))
	if refused != nil {
		return d, refused, nil
	}
	body, refused := change(d)
	if refused == nil && len(body) > event.MaxDocument {
		refused = fmt.Errorf("working data of %d bytes, at most %d: %w", len(body), event.MaxDocument, event.ErrTooLarge)
	}
	if refused != nil {
		return d, refused, nil
	}
	now := t.now.Truncate(time.Microsecond)
	if d.Version == 0 {
		d.CreatedBy, d.CreatedAt = by, now
	}
	d.Version, d.UpdatedBy, d.UpdatedAt, d.Body = d.Version+1, by, now, body
	return d, nil, p.putDocument(p.seq, &d)
}

// correlated returns where the events of a conversation may be found, oldest
// first, those of this transaction included.
func (t *transaction) correlated(id string) (seqs []uint64) {
	for _, hash := range correlationHashes(id) {
		for _, p := range t.db.places(hash) {
			if b, err := t.segment(p.segment); err == nil {
				seqs = t.db.lookup(b, p.open, hash, seqs)
			}
		}
	}
	slices.Sort(seqs)
	return slices.Compact(seqs)
}

// remember changes the working data of an event's conversation. Where that
// cannot be done the event's timeline says so.
func (t *transaction) remember(e *event.Event, s *event.State, change event.Amend) error {
	if change == nil {
		return nil
	}
	_, refused, err := t.amend(e.CorrelationID, e.CreatedBy, func(d event.Document) ([]byte, error) { return change(d.Body) })
	if err != nil || refused == nil {
		return err
	}
	s.Derive()
	note := event.Entry{At: t.now.Truncate(time.Microsecond), Status: s.Status, Detail: "nothing was remembered: " + refused.Error()}
	if errors.Is(refused, event.ErrTooLarge) {
		note.Reason = event.TooLarge
	}
	s.Timeline = append(s.Timeline, note)
	return nil
}

// rememberLate is remember for an event that is stored already.
func (t *transaction) rememberLate(b *segmentBuckets, seq uint64, s *event.State, change event.Amend) error {
	if change == nil {
		return nil
	}
	e, err := t.event(b, seq)
	if err != nil {
		return nil //nolint:nilerr // its head is damaged, which is shown where it is read
	}
	return t.remember(e, s, change)
}

// release takes out of a segment that is about to be dropped what is to stay, and
// what stands elsewhere for it out of there. It looks at no more than limit
// documents, or [maxCarriedBytes], and says whether there are more: the segment may be dropped once
// there are none.
func (t *transaction) release(s *segment, limit int) (more bool, err error) {
	if err := t.dropAwaiting(s.first, s.first+uint64(s.info.events)); err != nil {
		return false, err
	}
	return t.carryDocuments(s, limit)
}

// carried returns how many bytes of documents release takes out of a segment in
// one transaction.
func (r *snapshot) carried(s *segment) (size int, err error) {
	b, err := r.segment(s)
	if err != nil {
		return 0, err
	}
	w := b.root.Bucket(bucketWorking)
	if w == nil {
		return 0, nil
	}
	c := w.Cursor()
	for k, v := c.First(); k != nil && (size == 0 || size+len(v) <= maxCarriedBytes); k, v = c.Next() {
		size += len(v)
	}
	return size, nil
}

// carryDocuments takes the documents of a segment that is about to be dropped to
// the oldest event of their conversation in another one. Those whose last events
// go with the segment go too.
func (t *transaction) carryDocuments(s *segment, limit int) (more bool, err error) {
	b, err := t.segment(s)
	if err != nil {
		return false, err
	}
	w := b.root.Bucket(bucketWorking)
	if w == nil {
		return false, nil
	}
	c := w.Cursor()
	size := 0
	for k, v := c.First(); k != nil; k, v = c.First() {
		if size += len(v); limit == 0 || size > maxCarriedBytes && size > len(v) {
			return true, nil
		}
		limit--
		here := func(seq uint64) bool { return t.db.segmentOf(seq) == s }
		if err := t.carry(binary.BigEndian.Uint64(k), v, here); err != nil {
			return false, err
		}
		if err := w.Delete(slices.Clone(k)); err != nil {
			return false, err
		}
	}
	return false, nil
}

// carryDocument takes the document of an event that is about to be removed to the
// oldest other event of its conversation.
func (t *transaction) carryDocument(b *segmentBuckets, seq uint64) error {
	w := b.root.Bucket(bucketWorking)
	if w == nil {
		return nil
	}
	v := slices.Clone(w.Get(key8(seq)))
	if v == nil {
		return nil
	}
	return errors.Join(w.Delete(key8(seq)), t.carry(seq, v, func(other uint64) bool { return other == seq }))
}

// exists reports whether there is such an event still.
func (t *transaction) exists(seq uint64) bool {
	b, err := t.of(seq)
	return err == nil && b.has(seq)
}

// carry takes one document to another event, if it is still asked for. going says
// which events cannot take it.
func (t *transaction) carry(seq uint64, v []byte, going func(seq uint64) bool) error {
	d, err := decodeDocument(v)
	if err != nil {
		t.db.log.Error().Uint64("seq", seq).Msg("working data is damaged and goes with its segment")
		return nil
	}
	elsewhere := slices.DeleteFunc(t.correlated(d.CorrelationID), func(seq uint64) bool {
		return going(seq) || !t.exists(seq)
	})
	p, _, err := locate(t, d.CorrelationID, elsewhere)
	if errors.Is(err, event.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.putDocument(p.seq, &d)
}
