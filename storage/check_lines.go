package storage

import (
	"bytes"

	"github.com/eventd-io/eventd/event"
)

// inLine looks for an ordered delivery where it must have a place in its line,
// and reports whether it waits there for its turn. One that is not due yet, or
// waits for its retry while others go on, has none before its time comes.
func (c *checker) inLine(seq uint64, n int, d *event.Delivery) bool {
	id, ok := c.db.names.number(d.Handler)
	if !d.Ordered() || !ok {
		return false
	}
	b := lines{c.tx.Bucket(bucketLines)}
	l := line{handler: id, hash: lineHash(d.OrderKey)}
	if b.Bucket == nil || b.Get(l.placeKey(spot{seq, n})) == nil {
		if d.Holds() && d.Status != event.Unprocessed {
			c.fail("event %d has no place in the line of its order_by", seq)
		}
		return false
	}
	if !d.Holds() && d.Status != event.Retry {
		return false // the place belongs to nobody
	}
	want := stander{spot: spot{seq, n}, status: d.Status, at: dueMicros(d.NextAttempt)}
	c.wanted(bucketLines, true, bytes.Equal(b.Get(l.placeKey(want.spot)), want.value()), seq)
	turn, ok := b.turn(&l)
	return ok && turn != want.spot
}

// lines looks for places that belong to no event, and sees that it is somebody's
// turn in each line, and rightly so.
func (c *checker) lines() {
	b := lines{c.tx.Bucket(bucketLines)}
	if b.Bucket == nil {
		return
	}
	places, turns, marks := 0, 0, 0
	_ = b.ForEach(func(k, v []byte) error {
		l, ok := readLine(k)
		x, place := readStander(k, v)
		switch {
		case !ok:
			c.fail("the index lines has a key that is none")
		case place && !c.lost[x.seq]:
			places++
		case k[0] == lineTurn:
			turns++
			marks += c.turn(b, &l)
		case k[0] == lineBlocked || k[0] == lineRetries:
			marks--
		}
		return nil
	})
	if orphans := places - c.open[string(bucketLines)]; orphans != 0 {
		c.fail("the index lines has %d places that belong to no event", orphans)
	}
	if n := c.linesOf(b); n != turns {
		c.fail("it is somebody's turn in %d lines, of %d", turns, n)
	}
	if marks != 0 {
		c.fail("the index lines lists other lines as waiting than those that do")
	}
}

// turn checks whose turn it is in a line, and returns how often the line is to be
// listed as waiting.
func (c *checker) turn(b lines, l *line) int {
	p, _ := b.turn(l)
	x, ok := b.stander(l, p)
	first, _ := b.first(l)
	switch {
	case !ok:
		c.fail("it is the turn of event %d, which is not in line", p.seq)
	case x.status != event.InProgress && x.spot != first.spot && !c.lost[first.seq]:
		c.fail("it is the turn of event %d; event %d came before", p.seq, first.seq)
	case x.status.DeadLetter() || x.status == event.Retry:
		return 1
	}
	return 0
}

// linesOf counts the lines that somebody stands in.
func (c *checker) linesOf(b lines) (n int) {
	cursor := b.Cursor()
	k, _ := cursor.Seek([]byte{linePlace})
	for len(k) == linePlaceSize && k[0] == linePlace {
		n++
		after := append(bytes.Clone(k[:lineKeySize]), bytes.Repeat([]byte{0xff}, placeSize)...)
		if k, _ = cursor.Seek(after); bytes.Equal(k, after) {
			k, _ = cursor.Next()
		}
	}
	return n
}
