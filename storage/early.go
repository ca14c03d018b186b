package storage

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of what is taken early. It is the first part of a transaction that lingers.
const (
	earlyBytes  = lingerBytes / 2
	earlyEvents = 64
)

// early is what comes while a commit is made. Events that the journal may take are durable
// before that commit has ended, and answered for: they are the first of the next
// transaction, in the order in which they came.
type early struct {
	first   []*operation // brings those events into their tables
	others  []*operation // came beside them, and are to be committed
	beside  int          // what others weigh
	durable int          // the events of first…
	weight  int          // …what they weigh
	hashes  []uint64     // …and of their ids
	full    bool         // there is no room for any more
}

// moveTo adds all of it to a group, and is empty then.
func (e *early) moveTo(group []*operation) []*operation {
	group = append(append(group, e.first...), e.others...)
	*e = early{hashes: e.hashes[:0]}
	return group
}

// earlyOf returns how many operations, the first of a group, bring early events.
func earlyOf(group []*operation) (n int) {
	for n < len(group) && group[n].early {
		n++
	}
	return n
}

// commitBeside commits a transaction, and meanwhile takes what comes. Under light load one
// event of ten would otherwise wait for the end of a commit.
//
// high is how much of the file is in use then.
func (db *DB) commitBeside(t *transaction, high int64) (err error) {
	if !db.hasRoomBeside(t, high) {
		return db.commitTx(t.tx)
	}
	done := make(chan error, 1)
	go func() {
		defer close(done)
		done <- db.commitTx(t.tx)
	}()
	defer func() { err = errors.Join(err, <-done) }() // nil, when it was received before
	for len(db.early.others) < maxGroup && db.early.beside < maxGroupBytes {
		select {
		case err := <-done:
			return err
		case op := <-db.operations:
			if err := db.takeEarly(op); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasRoomBeside reports whether events may be journaled behind those of a transaction: all
// the new ones of that are in the journal, too, and there will be space for them.
func (db *DB) hasRoomBeside(t *transaction, high int64) bool {
	if t.noted == 0 || db.nextSeq != t.first+uint64(t.noted) || len(db.postponed) > 0 || db.Full() != "" {
		return false
	}
	most := &operation{weight: earlyBytes, events: earlyEvents}
	return db.secure(high, db.cost([]*operation{most})+reserve(high))
}

// takeEarly makes the events of an operation durable, with those of all that wait behind
// it. The others are for the next transaction.
func (db *DB) takeEarly(op *operation) error {
	var bring []*operation
	for op != nil {
		op.taken(time.Now())
		if db.early.admits(db, op) {
			bring = append(bring, op)
		} else {
			db.early.keep(op)
		}
		op = nil
		if len(bring)+len(db.early.others) < maxGroup && db.early.beside < maxGroupBytes {
			op = db.another(time.Time{})
		}
	}
	if len(bring) == 0 {
		return nil
	}
	record, err := db.journal.writeAhead(bring)
	if record == nil {
		db.early.full = true
		db.early.keep(bring...)
		return err
	}
	db.early.add(db.nextSeq, bring, record)
	return nil
}

// keep keeps operations for the next transaction.
func (e *early) keep(ops ...*operation) {
	for _, op := range ops {
		op.soon = e.durable == 0
		e.others, e.beside = append(e.others, op), e.beside+op.weight
	}
}

// admits reports whether an operation brings nothing but events that are new for certain
// and may be journaled, and that there is room for, and counts on that.
func (e *early) admits(db *DB, op *operation) bool {
	if e.full || !op.journaled() || e.weight+op.weight > earlyBytes || len(e.hashes)+op.events > earlyEvents {
		return false
	}
	n := len(e.hashes)
	for _, a := range op.admissions {
		hash := hashID([]byte(a.Event.ID))
		if slices.Contains(e.hashes, hash) || len(db.places(hash)) > 0 {
			e.hashes = e.hashes[:n]
			return false
		}
		e.hashes = append(e.hashes, hash)
	}
	e.weight += op.weight
	return true
}

// add answers for events that are in a record of the journal, and has them brought into
// their tables as they are there: what was handed in is the caller's again.
func (e *early) add(next uint64, bring []*operation, record []byte) {
	op := &operation{early: true, answered: true}
	first := next + uint64(e.durable)
	for _, b := range bring {
		for _, a := range b.admissions {
			a.Event.Seq = first + uint64(op.events)
			op.events++
		}
		op.weight += b.weight
		b.finish(nil)
	}
	op.apply = func(t *transaction) error {
		if t.db.nextSeq != first {
			return fmt.Errorf("event %d is next, and %d is promised", t.db.nextSeq, first)
		}
		list, err := readJournaled(record)
		if err != nil {
			return err
		}
		t.noted += len(list)
		for i := range list {
			if err := t.place(&list[i].Admission, list[i].head); err != nil {
				return err
			}
		}
		return nil
	}
	e.first, e.durable = append(e.first, op), e.durable+op.events
}
