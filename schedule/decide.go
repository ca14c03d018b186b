package schedule

import (
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Missed says what becomes of runs that nobody came to in time.
type Missed string

// The policies for missed runs.
const (
	Skip Missed = "skip" // they are not made
	Once Missed = "once" // one is made for all of them
	All  Missed = "all"  // each is made, the latest [maxRuns]
)

const (
	// grace is how late a run may be made before it counts as missed.
	grace = time.Minute
	// maxRuns is how many runs are made at a time.
	maxRuns = 100
	// farAhead is how far a mark may be ahead of the clock: more than that, the
	// clock was wrong when it was made.
	farAhead = 24 * time.Hour
)

// decision is what a schedule has to do now.
type decision struct {
	runs    []time.Time // to be made, the oldest first
	seen    time.Time   // up to which all is decided then
	skipped time.Time   // the first run that is not made; zero for none
}

// decide says which runs after the mark are to be made now.
func decide(r Rule, missed Missed, seen, now time.Time) (d decision) {
	now = now.Truncate(time.Second)
	first := r.Next(seen)
	if first.IsZero() || first.After(now) {
		return decision{seen: seen}
	}
	late := now.Add(-grace)
	from := seen
	if first.Before(late) {
		switch missed {
		case Skip:
			from, d.skipped = late.Add(-time.Second), first
		case Once:
			last := r.Last(seen, now)
			d = decision{runs: []time.Time{last}}
			if !last.Equal(first) {
				d.skipped = first
			}
			d.seen = last
			return d
		}
	}
	d.runs, d.seen = latest(r, from, now), from
	if n := len(d.runs); n > 0 {
		d.seen = d.runs[n-1]
		if missed == All && !d.runs[0].Equal(first) {
			d.skipped = first
		}
	}
	return d
}

// latest returns the last runs after a time and not after another, oldest first:
// at most [maxRuns].
func latest(r Rule, after, until time.Time) (runs []time.Time) {
	for len(runs) < maxRuns {
		last := r.Last(after, until)
		if last.IsZero() {
			break
		}
		runs = append(runs, last)
		until = last.Add(-time.Second)
	}
	slices.Reverse(runs)
	return runs
}

// begin returns where a schedule is that the store knows nothing of, or something
// of another rule, or of a clock that was wrong. It returns false when it goes on
// as it was.
func begin(name string, r Rule, known *event.Mark, now time.Time) (event.Mark, bool) {
	m := event.Mark{Schedule: name, Rule: r.String(), Seen: now.Truncate(time.Second)}
	if known == nil {
		return m, true
	}
	m.Last, m.EventID = known.Last, known.EventID
	return m, known.Rule != m.Rule || known.Seen.After(now.Add(farAhead))
}
