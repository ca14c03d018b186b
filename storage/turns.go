package storage

import (
	"fmt"
	"slices"

	"github.com/eventd-io/eventd/event"
)

// outOfTurn reports a step that begins an attempt while another of the same line
// is in flight: it was its turn when the step was planned, and is not any more.
func (t *transaction) outOfTurn(seq uint64, old, now []event.Delivery) error {
	for i := range now {
		d := &now[i]
		if !d.Ordered() || d.Status != event.InProgress || i < len(old) && old[i].Status == event.InProgress {
			continue
		}
		l := t.db.names.line(d)
		b := lines{t.tx.Bucket(bucketLines)}
		if p, ok := b.inFlight(&l); ok && p != (spot{seq, i}) {
			return fmt.Errorf("event %d with the same order_by is in flight: %w", p.seq, event.ErrConflict)
		}
	}
	return nil
}

// turn is one that has come, and who is due by it.
type turn struct {
	handler uint32
	stander
}

// tell takes the steps that follow from the turns that have come with an update,
// and says who else is due.
func (t *transaction) tell(u *event.Update) error {
	u.Turns = nil
	turns := t.turns
	t.turns = nil
	for i := range turns {
		x := &turns[i]
		name, ok := t.db.names.name(x.handler)
		if !ok {
			continue
		}
		taken, err := t.follow(u, x, name)
		if err != nil {
			return err
		}
		if !taken && !slices.Contains(u.Turns, name) {
			u.Turns = append(u.Turns, name)
		}
	}
	return nil
}

// leaveUntold notes who is due by turns that have come with no update.
func (t *transaction) leaveUntold() {
	for i := range t.turns {
		if name, ok := t.db.names.name(t.turns[i].handler); ok && !slices.Contains(t.untold, name) {
			t.untold = append(t.untold, name)
		}
	}
	t.turns = nil
}

// passOn tells who listens of handlers that something is due for. The writer calls it.
func (db *DB) passOn(handlers []string) {
	select {
	case before := <-db.turnsCome:
		for _, name := range before {
			if !slices.Contains(handlers, name) {
				handlers = append(handlers, name)
			}
		}
	default:
	}
	db.turnsCome <- handlers // there is room: only the writer sends
}

// TurnsCome receives the handlers for which an event has come due that waited for its
// turn, where that is not by an [event.Update]: who was before it is damaged.
func (db *DB) TurnsCome() <-chan []string { return db.turnsCome }

// follow takes the step that an update has for whose turn it is now, if it has one.
func (t *transaction) follow(u *event.Update, x *turn, handler string) (taken bool, err error) {
	if u.Then == nil || u.Err != nil {
		return false, nil
	}
	d, err := t.dueOf(x, handler)
	if err != nil {
		return false, nil // it is met again where what is due is read
	}
	next := u.Then(&d)
	if next == nil {
		return false, nil
	}
	err = t.update(next)
	return next.Err == nil, err
}

// dueOf reads who is due by a turn.
func (t *transaction) dueOf(x *turn, handler string) (item event.Due, err error) {
	defer recoverDamage(&err)
	b, s, err := t.stateOf(x.seq)
	if err != nil {
		return item, err
	}
	d := dueEntry{handler: x.handler, at: x.at, seq: x.seq, delivery: x.delivery}
	if !d.standsFor(s, handler) || t.fresh(x.seq) {
		return item, errAbsent
	}
	e, err := t.event(b, x.seq)
	if err != nil {
		return item, err
	}
	p, err := b.outgoing(x.seq, s.PayloadRow)
	return event.Due{Event: e, Payload: append([]byte{}, p...), Index: x.delivery, Delivery: s.Deliveries[x.delivery]}, err
}

// fresh reports whether an event came with this transaction: its payload is not in
// the bucket yet.
func (t *transaction) fresh(seq uint64) bool {
	return len(t.bodies.records) > 0 && seq >= t.bodies.first
}

// seat gives a delivery its place whose time has come, if it is still in the
// schedule.
func (t *transaction) seat(d dueEntry, handler string) error {
	_, s, err := t.stateOf(d.seq)
	if err != nil || !t.scheduled(d) || !d.standsFor(s, handler) {
		return nil // it has moved; or is damaged, and is met again
	}
	x, p := &s.Deliveries[d.delivery], spot{d.seq, d.delivery}
	bucket, err := t.tx.CreateBucketIfNotExists(bucketLines)
	if err != nil {
		return err
	}
	b, l := lines{bucket}, t.db.names.line(x)
	if err := t.waitInLine(d, x.Status); err != nil {
		return err
	}
	own := stander{spot: p, status: x.Status, at: d.at}
	if err := b.Put(l.placeKey(p), own.value()); err != nil {
		return err
	}
	return t.turn(b, &l, p)
}

// giveUpTurns takes an event out of the lines where it is its turn, though its
// state does not say which. It is damaged, so there are seldom any.
func (t *transaction) giveUpTurns(seq uint64) error {
	bucket := t.tx.Bucket(bucketLines)
	if bucket == nil {
		return nil
	}
	var of []line
	c := bucket.Cursor()
	for k, v := c.Seek([]byte{lineTurn}); len(k) == lineKeySize && k[0] == lineTurn; k, v = c.Next() {
		if p, ok := readSpot(v); ok && p.seq == seq {
			l, _ := readLine(k)
			of = append(of, l)
		}
	}
	b := lines{bucket}
	for i := range of {
		l := &of[i]
		p, _ := b.turn(l)
		if x, ok := b.stander(l, p); ok && x.waits() {
			if name, ok := t.db.names.name(l.handler); ok {
				if err := t.unschedule(name, x.due(l.handler)); err != nil {
					return err
				}
			}
		}
		if err := b.Delete(l.placeKey(p)); err != nil {
			return err
		}
		if err := t.turn(b, l, p); err != nil {
			return err
		}
	}
	return nil
}

// takesSeat reports whether a delivery that is due is ordered and it is not its
// turn: it has become due without a place in its line.
func (r *snapshot) takesSeat(d dueEntry, x *event.Delivery) bool {
	if !x.Ordered() || d.at > dueMicros(r.db.now()) {
		return false
	}
	l := line{handler: d.handler, hash: lineHash(x.OrderKey)}
	p, ok := lines{r.tx.Bucket(bucketLines)}.turn(&l)
	return !ok || p != spot{d.seq, d.delivery}
}
