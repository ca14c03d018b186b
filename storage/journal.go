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
//	version 1 | count | count × (head, payload, state) | names…
//
// A commit that brings events of the journal into their tables counts up the epoch in
// the bucket meta, which empties the journal. What is left of an older epoch is not valid,
// nor is what a crash cut short, which is the last: a record is written after the one
// before it is on disk. So one that is valid behind one that is not says that this is
// damaged. Each begins on a page of its own.
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
	journalVersion = 1
)

var (
	bucketJournal = []byte("journal")
	keyArea       = []byte("area")
	keyEpoch      = []byte("journal_epoch") // in meta
)

// journal is the writer's.
type journal struct {
	file   *os.File
	offset int64 // in the file, of the first record
	size   int   // of all that fit
	at     int   // where the next goes
	epoch  uint64
	record []byte // reused
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
func openJournal(b *bolt.DB, f *os.File) (j *journal, err error) {
	err = b.View(func(tx *bolt.Tx) error {
		area := journalArea(tx)
		if area == nil {
			return nil
		}
		// Where a value lies in the file is where it lies in the map of it.
		offset := int64(uintptr(unsafe.Pointer(&area[0])) - b.Info().Data) //nolint:gosec // no pointer is made of it
		there := make([]byte, len(area))
		if _, err := f.ReadAt(there, offset); err != nil {
			return fmt.Errorf("%w: read the journal: %w", ErrUnavailable, err)
		}
		if bytes.Equal(there, area) {
			j = &journal{file: f, offset: offset, size: len(area), epoch: journalEpoch(tx)}
		}
		return nil
	})
	return j, err
}

// write makes the new events of operations durable. It returns false when there is no
// room for them. After an error it is not known what is on disk.
func (j *journal) write(ops []*operation) (ok bool, err error) {
	j.encode(ops)
	if len(j.record) > j.size-j.at {
		return false, nil
	}
	if _, err := j.file.WriteAt(j.record, j.offset+int64(j.at)); err != nil {
		return false, fmt.Errorf("write the journal: %w", err)
	}
	if err := syncData(j.file); err != nil {
		return false, fmt.Errorf("sync the journal: %w", err)
	}
	j.at += inPages(len(j.record))
	return true, nil
}

// inPages rounds up to whole pages.
func inPages(n int) int { return (n + journalPage - 1) / journalPage * journalPage }

func (j *journal) encode(ops []*operation) {
	le := binary.LittleEndian
	b := j.record[:0]
	b = append(b, make([]byte, journalHeader)...)
	b = le.AppendUint64(b, j.epoch)
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

// commits says in a transaction that brings the events of the journal into their tables
// that they are there.
func (j *journal) commits(tx *bolt.Tx) error {
	return tx.Bucket(bucketMeta).Put(keyEpoch, key8(j.epoch+1))
}

// committed empties the journal after such a transaction.
func (j *journal) committed() { j.epoch, j.at = j.epoch+1, 0 }

// journaled is an event that is in the journal alone.
type journaled struct {
	head []byte
	event.Admission
}

// inJournal returns what a crash left in the journal, in the order in which it came.
// Nothing of it aliases the file. damaged says that there was more, which cannot be read.
func inJournal(tx *bolt.Tx) (list []journaled, damaged bool, err error) {
	area, epoch := bytes.Clone(journalArea(tx)), journalEpoch(tx)
	gap := false
	for len(area) > 0 {
		body := journalRecord(area)
		if body == nil || binary.LittleEndian.Uint64(body) != epoch {
			gap = true
			area = area[min(journalPage, len(area)):]
			continue
		}
		damaged = damaged || gap
		area = area[min(inPages(journalHeader+len(body)), len(area)):]
		part, err := readJournaled(body[journalStamp:])
		if err != nil {
			return list, damaged, err
		}
		list = append(list, part...)
	}
	return list, damaged, nil
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

func readJournaled(b []byte) (list []journaled, err error) {
	if b[0] != journalVersion {
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
	if db.journal, err = openJournal(db.bolt, db.file); err != nil || db.journal != nil {
		return err
	}
	if err := db.bolt.Update(makeJournal); err != nil {
		if !noSpace(err) {
			return fmt.Errorf("%w: %s: make the journal: %w", ErrUnavailable, db.options.Path, err)
		}
		db.log.Warn().Err(err).Msg("the store has no journal: events wait longer for the disk")
		return nil
	}
	db.journal, err = openJournal(db.bolt, db.file)
	return err
}

// replay brings what a crash left in the journal into its tables. The writer does not
// run yet.
func (db *DB) replay() error {
	var list []journaled
	damaged := false
	if err := db.bolt.View(func(tx *bolt.Tx) (err error) {
		list, damaged, err = inJournal(tx)
		return err
	}); err != nil {
		return err
	}
	if damaged {
		db.log.Error().Msg("the journal is damaged: some of the events that came just before eventd ended are lost")
	}
	if len(list) == 0 {
		return nil
	}
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	t, err := db.bring(tx, list)
	if err != nil {
		db.rollback(tx)
		if !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return fmt.Errorf("%d events that a crash left in the journal: %w", len(list), err)
	}
	t.filled = nil // Open seals whatever is full
	db.committed(t)
	db.log.Info().Int("events", len(list)).Msg("events that were in the journal when eventd ended are in their tables")
	return nil
}

func (db *DB) bring(tx *bolt.Tx, list []journaled) (t *transaction, err error) {
	defer recoverPanic(&err)
	t = db.begin(tx)
	for i := range list {
		e := list[i].Event
		if t.duplicateOf(e, hashID([]byte(e.ID))) != 0 {
			continue // a program that knows no journal was started in between
		}
		if err := t.place(&list[i].Admission, list[i].head); err != nil {
			return nil, err
		}
	}
	if err := (&journal{epoch: journalEpoch(tx)}).commits(tx); err != nil {
		return nil, err
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	return t, db.commitTx(tx)
}
