package storage

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
)

// Bounds of one group: as many operations and bytes as share one commit.
const (
	maxGroup      = 1024
	maxGroupBytes = 8 << 20
)

// operation is work for the writer. done is closed when it is on disk, or
// never will be.
type operation struct {
	apply    func(*transaction) error
	weight   int           // bytes it is about to write
	events   int           // how many events it touches
	places   int           // and how many groups of them that share pages: [placeBytes]
	intake   bool          // it brings events from outside, which may be refused
	optional bool          // it may be refused when there is no space for it: [ErrFull]
	recalls  []string      // conversations whose working data it may change
	patience time.Duration // how long it may wait for others to share a commit with

	admissions []*event.Admission // the new events, which the journal may take…
	heads      [][]byte           // …with these heads

	early bool // it brings events from the journal into their tables: see [DB.commitBeside]

	show bool // it asks that all that is durable be seen, and for nothing else…
	soon bool // …and what was when it came is, once the commit has ended beside which it did

	divisible bool // who asks takes fewer steps at a time when refused: [event.ErrTooMuch]

	due      time.Time // until when it is patient; set when it is taken
	answered bool

	err  error
	done chan struct{}
}

// try is do for what may be refused when there is no space for it: [ErrFull].
func (db *DB) try(ctx context.Context, weight int, apply func(*transaction) error) error {
	return db.hand(ctx, &operation{apply: apply, weight: weight, optional: true})
}

// do hands an operation to the writer and waits until it is on disk.
func (db *DB) do(ctx context.Context, apply func(*transaction) error) error {
	return db.hand(ctx, &operation{apply: apply})
}

// hand is do for an operation that is filled in but for done. One that was
// handed over is finished even when ctx ends before.
func (db *DB) hand(ctx context.Context, op *operation) error {
	op.done = make(chan struct{})
	select {
	case <-db.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case db.operations <- op:
	}
	select {
	case <-op.done:
		return op.err
	case <-db.written:
	}
	select {
	case <-op.done:
		return op.err
	default:
		return ErrClosed // the writer ended without it
	}
}

// write is the writer: the only goroutine that changes the file.
func (db *DB) write() {
	defer close(db.written)
	for {
		group, ok := db.take()
		if !ok {
			return
		}
		group = db.shown(group)
		rest, err := group, db.broken()
		if err == nil && len(group) > 0 {
			rest, err = db.commit(group)
		}
		for _, op := range rest {
			op.finish(err)
		}
		clear(db.group[:cap(db.group)]) // and let go of the payloads
	}
}

// shown answers those who ask for what is seen by now, as they came while it was
// committed, and returns the others.
func (db *DB) shown(group []*operation) []*operation {
	unseen := db.unseen.Load()
	rest := group[:0]
	for _, op := range group {
		if op.show && (!unseen || op.soon) {
			op.finish(nil)
		} else {
			rest = append(rest, op)
		}
	}
	return rest
}

// finish answers an operation, once.
func (op *operation) finish(err error) {
	if !op.answered {
		op.answered, op.err = true, err
		close(op.done)
	}
}

// taken says when the writer took an operation.
func (op *operation) taken(now time.Time) { op.due = now.Add(op.patience) }

// take waits for an operation and returns it with all that wait behind it.
// Groups grow with the load: only one in which all are patient waits for more.
func (db *DB) take() (group []*operation, ok bool) {
	weight := db.early.beside // of the group
	group = db.early.moveTo(db.group[:0])
	var until time.Time // until when all of them are patient
	for i, op := range group {
		until = op.limit(until, i == 0)
	}
	var op *operation
	switch {
	case len(group) > 0:
		if len(group) < maxGroup && weight < maxGroupBytes {
			op = db.another(until)
		}
	case len(db.postponed) > 0:
		group, op = db.resume(group)
	default:
		select {
		case op = <-db.operations:
		case <-db.closing:
			select {
			case op = <-db.operations: // handed over before the store was closed
			default:
				return nil, false
			}
		}
	}
	for op != nil {
		op.taken(time.Now())
		until = op.limit(until, len(group) == 0)
		group, weight = append(group, op), weight+op.weight
		op = nil
		if len(group) < maxGroup && weight < maxGroupBytes {
			op = db.another(until)
		}
	}
	db.group = group
	return group, true
}

// limit returns until when a group is patient that an operation joins, as the first or not;
// the zero time when it is not.
func (op *operation) limit(until time.Time, first bool) time.Time {
	switch {
	case op.patience == 0:
		return time.Time{}
	case first || op.due.Before(until):
		return op.due
	}
	return until
}

// resume begins a group with what there was no space for. While there still is none
// it takes whatever else comes within a while, such as what makes space, and returns
// that. When the store is closed meanwhile they are answered; and once nothing is
// to wait any more they are after a second try, as the first one may have counted
// too few pages as free.
func (db *DB) resume(group []*operation) (_ []*operation, op *operation) {
	if db.stalls == 0 {
		return db.postponedTo(group), db.another(time.Time{})
	}
	pause := spacePause
	if db.impatient.Load() {
		if db.stalls > 1 {
			return db.turnAway(group), nil
		}
		pause = hurriedPause
	}
	select {
	case op = <-db.operations:
	case <-time.After(pause):
	case <-db.closing:
		return db.turnAway(group), nil
	}
	return db.postponedTo(group), op
}

// turnAway answers what there was no space for.
func (db *DB) turnAway(group []*operation) []*operation {
	for _, op := range db.postponed {
		op.finish(fmt.Errorf("%w: %s", ErrFull, db.Full()))
	}
	clear(db.postponed)
	db.postponed, db.stalls = db.postponed[:0], 0
	return group
}

// WaitNoMore ends the waiting for space, of what waits and of what comes: whatever
// the store has no space for is answered with [ErrFull]. What there is space for is
// stored as before. Who stops calls it, as nothing may make space any more.
func (db *DB) WaitNoMore() { db.impatient.Store(true) }

func (db *DB) postponedTo(group []*operation) []*operation {
	group = append(group, db.postponed...)
	clear(db.postponed)
	db.postponed = db.postponed[:0]
	return group
}

// another returns an operation that waits, or comes before a time; nil if none does.
func (db *DB) another(until time.Time) *operation {
	select {
	case op := <-db.operations:
		return op
	default:
	}
	if until.IsZero() {
		return nil
	}
	db.patience.Reset(time.Until(until))
	defer db.patience.Stop()
	select {
	case op := <-db.operations:
		return op
	case <-db.patience.C:
	case <-db.closing:
	}
	return nil
}

// commit applies a group in one transaction and makes it durable. It returns
// those that are to be answered with its error; those that there is no space for
// are answered.
func (db *DB) commit(group []*operation) (rest []*operation, err error) {
	started := time.Now()
	tx, rest, err := db.begun(group)
	if tx == nil {
		return rest, err
	}
	t, err := db.apply(tx, &rest)
	db.group = rest
	db.arena.reset()
	if err != nil {
		db.rollback(tx)
		return rest, db.breakdown(err)
	}
	db.committed(t)
	db.unseen.Store(db.early.durable > 0) // only now: lists look at what is shown here, too
	db.measure()
	db.observer.Commit(time.Since(started)-t.waited, len(rest))
	return rest, nil
}

// begun begins a transaction for those of a group that there is space for. There
// is none when there is for none of them: they are answered then, or wait.
func (db *DB) begun(group []*operation) (tx *bolt.Tx, rest []*operation, err error) {
	if tx, err = db.bolt.Begin(true); err != nil {
		return nil, group, db.breakdown(fmt.Errorf("begin: %w", err))
	}
	if db.options.readOnly(db.file) {
		db.locked()
	}
	full := db.Full() != ""
	n, high := earlyOf(group), tx.Size()
	for _, op := range group[:n] {
		high += op.cost()
	}
	rest = group[:n+len(db.afford(group[n:], tx, high))]
	if full && len(rest) == 0 && len(db.postponed) > 0 {
		db.stalls++
	} else {
		db.stalls = 0
	}
	if full {
		db.want()
	}
	if len(rest) == 0 {
		db.rollback(tx)
		db.measure() // readers that have ended since the last commit have let go of pages
		return nil, nil, nil
	}
	return tx, rest, nil
}

// apply applies a group in a transaction, and what it lingers for, and commits it. The
// group is then all that was in it.
func (db *DB) apply(tx *bolt.Tx, group *[]*operation) (t *transaction, err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	t = db.begin(tx)
	if err := t.applyEach(*group); err != nil {
		return nil, err
	}
	if err := db.linger(t, group); err != nil {
		return nil, err
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	used := tx.Size() // but for what the commit adds
	if err := db.commitBeside(t, used+db.cost(*group)); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if t.noted > 0 {
		db.journal.committed()
	}
	db.use(used)
	db.release(used)
	return t, nil
}

func (db *DB) commitTx(tx *bolt.Tx) (err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := db.options.beforeCommit(); err != nil {
		return err
	}
	db.extending.Lock()
	defer db.extending.Unlock()
	return tx.Commit()
}

// rollback lets go of a transaction that failed, unless bbolt has done so.
// Where a panic left bbolt unable to, its lock is held for good.
func (db *DB) rollback(tx *bolt.Tx) {
	defer func() {
		if recover() != nil {
			db.stuck.Store(true)
		}
	}()
	_ = tx.Rollback()
}

// committed shows readers what is on disk now.
func (db *DB) committed(t *transaction) {
	for s := range t.changed {
		s.publish()
	}
	db.outboxRows.Add(int64(t.published - t.acknowledged))
	if t.published > 0 {
		select {
		case db.outboxWake <- struct{}{}:
		default:
		}
	}
	if len(t.untold) > 0 {
		db.passOn(t.untold)
	}
	for _, s := range t.filled {
		db.sealing.Go(func() { db.seal(s) })
	}
}

// breakdown makes the store refuse all further work: what a failed commit left
// on disk is not known before the file is opened again.
func (db *DB) breakdown(err error) error {
	logPanic(db.log.Error(), err)
	err = fmt.Errorf("%w: %w", ErrBroken, err)
	db.failure.CompareAndSwap(nil, &err)
	close(db.brokenC)
	return err
}

// logPanic keeps the stack of a panic, which its error leaves out.
func logPanic(line *zerolog.Event, err error) {
	if p := (*panicError)(nil); errors.As(err, &p) {
		line.Interface("panic", p.value).Bytes("stack", p.stack).Msg("the store panicked")
	}
}

func (db *DB) broken() error {
	if p := db.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Broken is closed when a commit has failed. [DB.Err] says why. The process
// must end: only opening the file again tells what is on disk.
func (db *DB) Broken() <-chan struct{} { return db.brokenC }

// Err returns why the store is broken, nil when it is not.
func (db *DB) Err() error { return db.broken() }
