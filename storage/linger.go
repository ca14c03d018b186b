package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

const (
	// lingerTime is how long a transaction stays open for others.
	lingerTime = 5 * time.Millisecond
	// lingerBytes bounds what the operations of one weigh. More is as quick without the
	// journal.
	lingerBytes = 64 << 10
)

// linger makes the new events of a transaction durable through the journal, and keeps
// the transaction open for what comes soon, and that for more. So under light load an
// event waits for one short write, and several share the commit that nobody waits for.
//
// It does so for events whose attempts have begun with them: nobody looks for those in
// the store before their outcomes come. What else is in the transaction must be patient.
// Whatever is not, a reader among them, ends the lingering: see [DB.show].
//
// group is what the transaction consists of, and grows.
func (db *DB) linger(t *transaction, group *[]*operation) error {
	until := time.Now().Add(lingerTime)
	for round := *group; db.lingers(t, round, &until); {
		if ok, err := db.noteDown(t, round); !ok || err != nil {
			return err
		}
		if round = db.arrivals(t, until, maxGroup-len(*group)); len(round) == 0 {
			return nil
		}
		all := append(*group, round...)
		if hasRecalls(round) || !db.roomy(t.tx.Size(), &holes{db: db}, all) {
			db.postponed = append(db.postponed, round...)
			return nil
		}
		*group = all
		if err := t.applyEach(round); err != nil {
			return err
		}
	}
	return nil
}

func hasRecalls(group []*operation) bool {
	return slices.ContainsFunc(group, func(op *operation) bool { return len(op.recalls) > 0 })
}

// lingers reports whether a transaction that a part was added to may stay open, and no
// longer than until.
func (db *DB) lingers(t *transaction, part []*operation, until *time.Time) bool {
	if db.journal == nil || len(db.postponed) > 0 || db.Full() != "" {
		return false
	}
	for _, op := range part {
		t.weight += op.weight
		switch {
		case op.early, op.journaled():
		case op.patience == 0:
			return false
		case op.due.Before(*until):
			*until = op.due
		}
	}
	return t.weight <= lingerBytes
}

// journaled reports whether an operation is done once its events, all of them new, are in
// the journal.
func (op *operation) journaled() bool {
	return len(op.admissions) > 0 && !slices.ContainsFunc(op.admissions, func(a *event.Admission) bool {
		return a.Duplicate || !begun(&a.State) || len(a.Outbox) > 0 || a.Remember != nil || a.Mark != nil
	})
}

// begun reports whether an attempt of each delivery has begun.
func begun(s *event.State) bool {
	return len(s.Deliveries) > 0 && !slices.ContainsFunc(s.Deliveries, func(d event.Delivery) bool {
		return d.Status != event.InProgress
	})
}

// noteDown puts the new events of a part of a transaction into the journal and answers
// for them. It returns false when the transaction is to be committed instead: as there
// is no room, or as it has other new events, which would be missing before them.
func (db *DB) noteDown(t *transaction, part []*operation) (ok bool, err error) {
	var bring []*operation
	n := 0
	for _, op := range part {
		if op.journaled() {
			bring = append(bring, op)
			n += len(op.admissions)
		}
	}
	if db.nextSeq != t.first+uint64(t.noted+n) { // not negative
		return false, nil
	}
	if n == 0 {
		return true, nil
	}
	if ok, err := db.journal.write(bring); !ok || err != nil {
		return false, err
	}
	t.noted += n
	db.unseen.Store(true)
	for _, op := range bring {
		op.finish(nil)
	}
	return true, nil
}

// arrivals returns what comes before a time, with all that waits behind it; so many at
// most, and no more once they are heavy.
func (db *DB) arrivals(t *transaction, until time.Time, most int) (list []*operation) {
	if most <= 0 {
		return nil
	}
	began := time.Now()
	op := db.another(until)
	t.waited += time.Since(began)
	for weight := 0; op != nil; {
		op.taken(time.Now())
		weight += op.weight
		list, op = append(list, op), nil
		if len(list) < most && weight <= lingerBytes {
			op = db.another(time.Time{})
		}
	}
	return list
}

// showPatience bounds how long a reader waits for a disk that hangs.
const showPatience = time.Second

var errHangs = fmt.Errorf("%w: the disk has not answered for %s", event.ErrUnavailable, showPatience)

// show has what is durable be seen by transactions that begin from now on. When it does
// not within [showPatience] that is an [event.ErrUnavailable]: what is not seen is not
// said to be absent.
func (db *DB) show(ctx context.Context) error {
	if !db.unseen.Load() {
		return nil
	}
	patience := time.NewTimer(showPatience)
	defer patience.Stop()
	op := &operation{show: true, apply: func(*transaction) error { return nil }, done: make(chan struct{})}
	select {
	case db.operations <- op:
	case <-db.written:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return errHangs
	}
	select {
	case <-op.done:
		return op.err
	case <-db.written: // it commits before it ends
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return errHangs
	}
}
