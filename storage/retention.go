package storage

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Retention says how long an event is kept after it has ended, by the status it
// has; 0 for ever. What has not ended is always kept.
type Retention struct {
	Completed, Error, Failed time.Duration
	// Payload is how long the bytes of a COMPLETED event are kept. Those of an
	// ERROR or FAILED one stay as long as the event: a redrive needs them.
	Payload time.Duration
}

// minSegmentAge bounds how many segments a short retention makes.
const minSegmentAge = time.Second

// policy is what retention goes by.
type policy struct {
	rows    [event.Failed + 1]time.Duration // by status; 0 for ever
	payload time.Duration                   // of COMPLETED; 0 for as long as the event
	window  time.Duration                   // after its creation an event is needed to recognise duplicates
	prompt  bool                            // nothing waits for its whole segment
}

func (o *Options) policy() *policy {
	p := &policy{payload: o.Retention.Payload, window: o.DedupeWindow}
	p.rows[event.Completed], p.rows[event.Error], p.rows[event.Failed] = o.Retention.Completed, o.Retention.Error, o.Retention.Failed
	return p
}

// earlyPolicy lets every COMPLETED event go.
func earlyPolicy() *policy {
	p := &policy{prompt: true}
	p.rows[event.Completed] = 1
	return p
}

// shortest returns the shortest time after which anything goes, 0 for never.
func (p *policy) shortest() (d time.Duration) {
	for _, x := range append(p.rows[:], p.payload) {
		if x > 0 && (d == 0 || x < d) {
			d = x
		}
	}
	return d
}

// young reports whether a segment is too new for anything of it to be over its time: after
// a start nothing is known of any, and all would be looked through. Where the clock was put
// back something may go later for it, by the shortest time at most.
func (p *policy) young(i *segmentInfo, now time.Time) bool {
	created := fromMicros(i.created)
	return !created.After(now) && now.Before(created.Add(p.shortest()))
}

// segmentAge returns the age at which a segment is closed, so that whole ones
// can be dropped soon after the time of what is in them is over.
func (p *policy) segmentAge() time.Duration {
	age := segmentAge
	for _, d := range p.rows {
		if d > 0 {
			age = min(age, p.grace(max(d, p.window)))
		}
	}
	return max(age, minSegmentAge)
}

// grace is how much longer than a time an event waits for its whole segment to
// go at once.
func (p *policy) grace(d time.Duration) time.Duration {
	if p.prompt {
		return 0
	}
	return min(d/4, segmentAge)
}

// rowDue returns when an event may go; false for never as it stands.
func (p *policy) rowDue(l *life) (at time.Time, ok bool) {
	if !l.status.Final() || l.holds || p.rows[l.status] == 0 {
		return at, false
	}
	at = l.changed.Add(p.rows[l.status])
	if known := l.created.Add(p.window); known.After(at) {
		return known, true
	}
	return at, true
}

// payloadDue returns when the bytes of an event may go. They may when its own
// time is over, though the event itself is still needed to recognise duplicates.
func (p *policy) payloadDue(l *life) (at time.Time, ok bool) {
	if !l.status.Final() || l.holds {
		return at, false
	}
	d := p.rows[l.status]
	if l.status == event.Completed && p.payload > 0 && (d == 0 || p.payload < d) {
		d = p.payload
	}
	return l.changed.Add(d), d > 0
}

// rowGrace and payloadGrace return how much longer each of them waits.
func (p *policy) rowGrace(s event.Status) time.Duration {
	return p.grace(max(p.rows[s], p.window))
}

func (p *policy) payloadGrace(s event.Status) time.Duration {
	d := p.rows[s]
	if s == event.Completed && p.payload > 0 && (d == 0 || p.payload < d) {
		d = p.payload
	}
	return p.grace(d)
}

// life is what retention needs to know of a state.
type life struct {
	table            event.Table
	status           event.Status
	created, changed time.Time
	holds            bool // it ended, and keeps others of its order key waiting
}

// readLife reads the front of a state record.
func readLife(v []byte, names *names) (l life, err error) {
	if err := checkState(v); err != nil {
		return l, err
	}
	l.created = fromMicros(binary.LittleEndian.Uint64(v[stateHeader:]))
	r := reader{b: v[stateHeader+8:]}
	l.status, l.table = event.Status(r.byte()), event.Table(r.byte())
	readReason(&r)
	names.read(&r)
	l.changed = r.time(l.created)
	if l.changed.Before(l.created) {
		l.changed = l.created
	}
	if r.bad || l.status > event.Failed {
		return l, errDamaged
	}
	if l.status.DeadLetter() { // seldom
		s, err := decodeState(v, names)
		if err != nil {
			return l, err
		}
		l.holds = slices.ContainsFunc(s.Deliveries, func(d event.Delivery) bool { return d.Holds() })
	}
	return l, nil
}
