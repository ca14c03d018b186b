package schedule

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // images without a system have no time zones

	"github.com/adhocore/gronx"
)

// Rule says at which times a schedule runs. It is made by [NewRule].
type Rule struct {
	cron  string
	zone  *time.Location
	clock bool // it names hours of the wall clock, rather than intervals
}

// String returns the rule as text: two with the same text have the same runs.
func (r Rule) String() string { return r.cron + " " + r.zone.String() }

// ErrTimezone says that a time zone is not known. Other errors of [NewRule] are
// about cron.
var ErrTimezone = errors.New("not a time zone such as UTC or Europe/Zurich")

// NewRule reads cron, of five fields or six with seconds first, in the wall clock
// of a time zone. A cron that never comes is refused.
func NewRule(cron, timezone string) (Rule, error) {
	zone, err := time.LoadLocation(timezone)
	if err != nil || timezone == "" || timezone == "Local" {
		return Rule{}, fmt.Errorf("%q is %w", timezone, ErrTimezone)
	}
	fields, err := gronx.Segments(cron)
	if err != nil || len(fields) != len(fieldForms) {
		return Rule{}, fmt.Errorf("%q is not a cron of five fields, or six with seconds first: minute, hour, day of the month, month, day of the week", cron)
	}
	for i, f := range fieldForms {
		if err := f.check(fields[i]); err != nil {
			return Rule{}, fmt.Errorf("%q: %w", cron, err)
		}
	}
	r := Rule{cron: strings.Join(fields, " "), zone: zone, clock: !strings.HasPrefix(fields[2], "*")}
	if r.Next(time.Now()).IsZero() {
		return Rule{}, fmt.Errorf("%q never comes", cron)
	}
	return r, nil
}

// fieldForm is what a field of cron may be. The library finds a part that is out
// of range only when it comes to look at it.
type fieldForm struct {
	name        string
	least, most int
	special     *regexp.Regexp // what there is besides numbers; nil for nothing
}

var fieldForms = []fieldForm{
	{"second", 0, 59, nil},
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, regexp.MustCompile(`^(L|([1-9]|[12][0-9]|3[01])W)$`)},
	{"month", 1, 12, nil},
	{"day of the week", 0, 7, regexp.MustCompile(`^[0-7](L|#[1-5])$`)},
}

var cronPart = regexp.MustCompile(`^(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?$`)

// check returns what is wrong with a field, names being numbers already.
func (f *fieldForm) check(field string) error {
	for part := range strings.SplitSeq(field, ",") {
		if f.special != nil && f.special.MatchString(part) {
			continue
		}
		if m := cronPart.FindStringSubmatch(part); m == nil || !f.inRange(m[1], m[2], m[3]) {
			return fmt.Errorf("%q is not a %s: *, %d to %d, ranges and steps of them", part, f.name, f.least, f.most)
		}
	}
	return nil
}

func (f *fieldForm) inRange(from, to, step string) bool {
	number := func(text string, otherwise int) int {
		if text == "" {
			return otherwise
		}
		n, _ := strconv.Atoi(text) // one or two digits
		return n
	}
	first := number(from, f.least)
	last, by := number(to, first), number(step, 1)
	return first >= f.least && last <= f.most && first <= last && by >= 1 && by <= f.most
}

// maxSpans bounds the search for a run: so many changes of the clocks ahead.
const maxSpans = 100

// Next returns the first run after a time, to the second; zero when there is none
// within decades.
//
// The wall clock is cut into spans in which its offset stays the same. Where the
// rule names hours, what a jump of the clock skips comes when it has jumped, and
// what comes twice comes the first time; else each wall time counts that there is.
func (r Rule) Next(after time.Time) time.Time {
	t := after.In(r.zone).Truncate(time.Second)
	wall := r.resumed(t)
	var next, searched time.Time // next is the first there is after searched
	for range maxSpans {
		if !next.After(wall) || wall.Before(searched) {
			searched = wall
			if next = r.onWall(wall); next.IsZero() {
				return next
			}
		}
		_, offset := t.Zone()
		_, end := t.ZoneBounds()
		at := next.Add(-seconds(offset))
		if end.IsZero() || at.Before(end) {
			return at.UTC()
		}
		_, later := end.Zone()
		jumped := end.UTC().Add(seconds(max(offset, later)))
		if r.clock && next.Before(jumped) { // the clock skips it
			return end.UTC()
		}
		t, wall = end, r.begin(end, offset, later)
	}
	return time.Time{}
}

// onWall returns what cron gives after a wall time; zero for nothing. The library
// may answer with the time itself when it has looked long enough.
func (r Rule) onWall(wall time.Time) time.Time {
	next, err := gronx.NextTickAfter(r.cron, wall, false)
	if err != nil || !next.After(wall) {
		return time.Time{}
	}
	return next
}

// resumed returns from which wall time on, exclusively, to look for runs after t.
func (r Rule) resumed(t time.Time) time.Time {
	_, offset := t.Zone()
	wall := t.UTC().Add(seconds(offset))
	start, _ := t.ZoneBounds()
	if !r.clock || start.IsZero() {
		return wall
	}
	_, before := start.Add(-time.Second).Zone()
	if begin := r.begin(start, before, offset); begin.After(wall) {
		return begin
	}
	return wall
}

// begin returns from which wall time on, exclusively, a span has runs.
func (r Rule) begin(start time.Time, before, offset int) time.Time {
	if r.clock {
		offset = max(before, offset) // what was there already does not come again
	}
	return start.UTC().Add(seconds(offset) - time.Second)
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// Last returns the last run after a time and not after another; zero for none.
// It looks back further and further until there is one.
func (r Rule) Last(after, until time.Time) time.Time {
	until = until.Truncate(time.Second)
	for reach := time.Second; after.Before(until); reach *= 4 {
		from := until.Add(-reach)
		if from.Before(after) {
			from = after
		}
		if run := r.Next(from); !run.IsZero() && !run.After(until) {
			return r.within(run, until)
		}
		if from.Equal(after) {
			break
		}
	}
	return time.Time{}
}

// within returns the last run from one on and not after a time. It halves what is
// between the two.
func (r Rule) within(last, until time.Time) time.Time {
	for none := until; none.Sub(last) > time.Second; { // none: after this there is none
		middle := last.Add(none.Sub(last) / 2).Truncate(time.Second)
		if run := r.Next(middle); run.IsZero() || run.After(until) {
			none = middle
		} else {
			last = run
		}
	}
	if run := r.Next(last); !run.IsZero() && !run.After(until) {
		return run
	}
	return last
}
