package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// The journal makes new events durable before the transaction that they are part of
// is committed: by one write and one sync, where a commit takes a dozen pages in as
// many places, and two. See [DB.linger] for which events, and when.
//
// It lies in a value of the file, which bbolt does not touch once it is there, and is
// written past bbolt: a store is one file. Its records follow one another:
//
//	length u32 of what follows the checksum | crc32c u32 | epoch u64 |
//	version | count | count × (head, payload, state) | names…
//
// A commit that brings events of the journal into their tables counts up the epoch in
// the bucket meta. What is left of an older epoch is not valid, nor is what a crash cut
// short, which is the last: a record is written after the one before it is on disk. So
// one that is valid behind one that is not says that this is damaged. Each begins on a
// page of its own.
//
// While that commit is made, events of the next epoch are written already: see
// [DB.commitBeside]. An epoch has one half of the journal, the next one the other. Version 1
// has no such events, and its epochs all begin at the start of the journal and may fill it.
const (
	journalSize = 256 << 10
	// journalPage is what a record begins with: no write touches the page, and the sector,
	// of one that is answered for.
	journalPage = 4 << 10
	// journalStart is where in the value the first page of the file begins that has nothing
	// of bbolt's: before the value are the headers of page and element, and the key.
	journalStart   = journalPage - 16 - 16 - len("area")
	journalHeader  = 8
	journalStamp   = 8 // the epoch
	journalVersion = 2
)

var (
	bucketJournal = []byte("journal")
	keyArea       = []byte("area")
	keyEpoch      = []byte("journal_epoch") // in meta
)

// journal is the writer's.
type journal struct {
	file   *os.File // a handle of its own, as a commit must learn of its own failed writes
	offset int64    // in the file, of the first half
	size   int      // of a half
	epoch  uint64
	at     int    // where the next record goes in the half of the epoch…
	ahead  int    // …and in that of the next one
	record []byte // the last one; reused
}

// makeJournal makes the place of the journal in a store that has none.
func makeJournal(tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(bucketJournal)
	if err != nil || len(b.Get(keyArea)) == journalSize {
		return err
	}
	return b.Put(keyArea, make([]byte, journalSize))
}

// journalArea returns the bytes for records, which alias the file; nil when there is
// no place for any.
func journalArea(tx *bolt.Tx) []byte {
	b := tx.Bucket(bucketJournal)
	if b == nil {
		return nil
	}
	if area := b.Get(keyArea); len(area) == journalSize {
		return area[journalStart:]
	}
	return nil
}

func journalEpoch(tx *bolt.Tx) uint64 {
	if v := tx.Bucket(bucketMeta).Get(keyEpoch); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// openJournal finds the place of the journal in an open file; nil when there is none.
// It is empty: see [DB.replay].
func openJournal(b *bolt.DB) (j *journal, err error) {
	err = b.View(func(tx *bolt.Tx) error {
		area := journalArea(tx)
		if area == nil {
			return nil
		}
		f, err := os.OpenFile(b.Path(), os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("%w: open the journal: %w", ErrUnavailable, err)
		}
		// Where a value lies in the file is where it lies in the map of it.
		offset := int64(uintptr(unsafe.Pointer(&area[0])) - b.Info().Data) //nolint:gosec // no pointer is made of it
		there := make([]byte, len(area))
		if _, err := f.ReadAt(there, offset); err != nil {
			return errors.Join(fmt.Errorf("%w: read the journal: %w", ErrUnavailable, err), f.Close())
		}
		if !bytes.Equal(there, area) {
			return f.Close()
		}
		j = &journal{file: f, offset: offset, size: halfOf(area), epoch: journalEpoch(tx)}
		return nil
	})
	return j, err
}

// place returns where in the file the records are. A store may have no journal.
func (j *journal) place() span {
	if j == nil {
		return span{}
	}
	return span{j.offset, j.offset + journalSize - int64(journalStart)}
}

// close lets go of the file. A store may have no journal.
func (j *journal) close() {
	if j != nil {
		_ = j.file.Close() // all of it is synced
	}
}

// halfOf returns how many bytes of the journal an epoch has.
func halfOf(area []byte) int { return len(area) / journalPage / 2 * journalPage }

// halfAt returns where the half of an epoch begins.
func halfAt(epoch uint64, size int) int { return int(epoch%2) * size }

// write makes the new events of operations durable. It returns false when there is no
// room for them. After an error it is not known what is on disk.
func (j *journal) write(ops []*operation) (ok bool, err error) { return j.add(ops, j.epoch, &j.at) }

// writeAhead is write for events that the next commit brings into their tables and not
// the one that is being made. It returns what [readJournaled] reads; nil when there is no
// room.
func (j *journal) writeAhead(ops []*operation) (record []byte, err error) {
	if ok, err := j.add(ops, j.epoch+1, &j.ahead); !ok || err != nil {
		return nil, err
	}
	return bytes.Clone(j.record[journalHeader+journalStamp:]), nil
}

func (j *journal) add(ops []*operation, epoch uint64, at *int) (ok bool, err error) {
	j.encode(ops, epoch)
	if len(j.record) > j.size-*at {
		return false, nil
	}
	if _, err := j.file.WriteAt(j.record, j.offset+int64(halfAt(epoch, j.size)+*at)); err != nil {
		return false, fmt.Errorf("write the journal: %w", err)
	}
	if err := syncData(j.file); err != nil {
		return false, fmt.Errorf("sync the journal: %w", err)
	}
	*at += inPages(len(j.record))
	return true, nil
}

// inPages rounds up to whole pages.
func inPages(n int) int { return (n + journalPage - 1) / journalPage * journalPage }

func (j *journal) encode(ops []*operation, epoch uint64) {
	le := binary.LittleEndian
	b := j.record[:0]
	b = append(b, make([]byte, journalHeader)...)
	b = le.AppendUint64(b, epoch)
	n := 0
	for _, op := range ops {
		n += len(op.admissions)
	}
	b = appendInt(append(b, journalVersion), n)
	names := newNames() // those of the file are not there yet
	for _, op := range ops {
		for i, a := range op.admissions {
			b = appendBytes(appendBytes(b, op.heads[i]), a.Payload)
			b = appendBytes(b, encodeState(nil, &state{State: a.State, table: a.Event.Table, created: a.Event.CreatedAt}, names))
		}
	}
	for _, name := range *names.byID.Load() {
		b = appendString(b, name)
	}
	le.PutUint32(b, uint32(len(b)-journalHeader)) // bounded by lingerBytes
	le.PutUint32(b[4:], checksum(b[journalHeader:]))
	j.record = b
}

// endEpoch says in a transaction that brings the events of an epoch into their tables
// that they are there.
func endEpoch(tx *bolt.Tx, epoch uint64) error {
	return tx.Bucket(bucketMeta).Put(keyEpoch, key8(epoch+1))
}

// committed begins the next epoch after such a transaction.
func (j *journal) committed() { j.epoch, j.at, j.ahead = j.epoch+1, j.ahead, 0 }

// journaled is an event that is in the journal alone.
type journaled struct {
	head []byte
	event.Admission
}

// leftover is what a crash left in the journal.
type leftover struct {
	events  []journaled // in the order in which they came. Nothing of them aliases the file
	newest  uint64      // the epoch that the last of them may be of
	damaged bool        // there was more, which cannot be read
}

// inJournal returns what a crash left in the journal.
func inJournal(tx *bolt.Tx) (l leftover, err error) {
	area, epoch := bytes.Clone(journalArea(tx)), journalEpoch(tx)
	l.newest = epoch + 1
	if err := l.add(area, epoch); err != nil {
		return l, err
	}
	n := len(l.events)
	err = l.add(area, l.newest)
	l.damaged = l.damaged || n == 0 && len(l.events) > 0
	return l, err
}

// add adds what the journal has of an epoch.
func (l *leftover) add(area []byte, epoch uint64) error {
	next := 0 // where a record is to begin
	for at := 0; at < len(area); {
		body := journalRecord(area[at:])
		if body == nil || binary.LittleEndian.Uint64(body) != epoch {
			at += journalPage
			continue
		}
		first := next == 0 && at == halfAt(epoch, halfOf(area))
		l.damaged = l.damaged || at != next && !first
		at += inPages(journalHeader + len(body))
		next = at
		part, err := readJournaled(body[journalStamp:])
		if err != nil {
			return err
		}
		l.events = append(l.events, part...)
	}
	return nil
}

// journalRecord returns what is behind the checksum of the first record, nil when there
// is none.
func journalRecord(b []byte) []byte {
	if len(b) < journalHeader {
		return nil
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if n <= journalStamp || n > uint64(len(b)-journalHeader) {
		return nil
	}
	body := b[journalHeader : journalHeader+n]
	if checksum(body) != binary.LittleEndian.Uint32(b[4:]) {
		return nil
	}
	return body
}

// readJournaled reads the events of a record, behind its stamp. They alias it.
func readJournaled(b []byte) (list []journaled, err error) {
	if b[0] == 0 || b[0] > journalVersion {
		return nil, fmt.Errorf("%w: its journal is of version %d, this program knows %d", ErrNewer, b[0], journalVersion)
	}
	r := reader{b: b[1:]}
	var states [][]byte
	for n := r.int(); n > 0 && !r.bad; n-- {
		list = append(list, journaled{head: r.bytes(), Admission: event.Admission{Payload: r.bytes()}})
		states = append(states, r.bytes())
	}
	names := newNames()
	for len(r.b) > 0 {
		names.add(r.string())
	}
	if r.bad {
		return nil, fmt.Errorf("%w: journal: %w", ErrCorrupt, errDamaged)
	}
	for i := range list {
		s, err := decodeState(states[i], names)
		if err == nil {
			list[i].Event, err = decodeHead(0, list[i].head)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: journal: %w", ErrCorrupt, err)
		}
		list[i].State = s.State
	}
	return list, nil
}

// startJournal brings what a crash left in the journal into its tables, and opens the
// journal, which is made where there is none. Without space for it the store goes on
// without.
func (db *DB) startJournal() (err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := db.replay(); err != nil {
		return fmt.Errorf("%s: %w", db.options.Path, err)
	}
	if db.journal, err = openJournal(db.bolt); err != nil || db.journal != nil {
		return err
	}
	if err := db.bolt.Update(makeJournal); err != nil {
		if !noSpace(err) {
			return fmt.Errorf("%w: %s: make the journal: %w", ErrUnavailable, db.options.Path, err)
		}
		db.log.Warn().Err(err).Msg("the store has no journal: events wait longer for the disk")
		return nil
	}
	db.journal, err = openJournal(db.bolt)
	return err
}

// replay brings what a crash left in the journal into its tables. The writer does not
// run yet.
func (db *DB) replay() error {
	var l leftover
	if err := db.bolt.View(func(tx *bolt.Tx) (err error) {
		l, err = inJournal(tx)
		return err
	}); err != nil {
		return err
	}
	if l.damaged {
		db.log.Error().Msg("the journal is damaged: some of the events that came just before eventd ended are lost")
	}
	if len(l.events) == 0 {
		return nil
	}
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	t, err := db.bring(tx, &l)
	if err != nil {
		db.rollback(tx)
		if !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return fmt.Errorf("%d events that a crash left in the journal: %w", len(l.events), err)
	}
	t.filled = nil // Open seals whatever is full
	db.committed(t)
	db.log.Info().Int("events", len(l.events)).Msg("events that were in the journal when eventd ended are in their tables")
	return nil
}

func (db *DB) bring(tx *bolt.Tx, l *leftover) (t *transaction, err error) {
	defer recoverPanic(&err)
	t = db.begin(tx)
	for i := range l.events {
		e := l.events[i].Event
		if t.duplicateOf(e, hashID([]byte(e.ID))) != 0 {
			continue // a program that knows no journal was started in between
		}
		if err := t.place(&l.events[i].Admission, l.events[i].head); err != nil {
			return nil, err
		}
	}
	if err := endEpoch(tx, l.newest); err != nil {
		return nil, err
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	return t, db.commitTx(tx)
}
