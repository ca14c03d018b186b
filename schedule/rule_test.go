package schedule

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adhocore/gronx"
)

func rule(t *testing.T, cron, timezone string) Rule {
	t.Helper()
	r, err := NewRule(cron, timezone)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// runs returns the runs after a time, in the time zone of the rule.
func runs(r Rule, after time.Time, n int) (list []string) {
	for range n {
		after = r.Next(after)
		list = append(list, after.In(r.zone).Format("2006-01-02T15:04:05-07:00"))
	}
	return list
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name, cron, timezone, after string
		want                        []string
	}{
		{"every night", "0 2 * * *", "UTC", "2026-01-31T01:59:59Z",
			[]string{"2026-01-31T02:00:00+00:00", "2026-02-01T02:00:00+00:00"}},
		{"strictly after", "0 2 * * *", "UTC", "2026-01-31T02:00:00Z", []string{"2026-02-01T02:00:00+00:00"}},
		{"within the second", "0 2 * * *", "UTC", "2026-01-31T02:00:00.9Z", []string{"2026-02-01T02:00:00+00:00"}},
		{"every ten seconds", "*/10 * * * * *", "UTC", "2026-01-31T23:59:41Z",
			[]string{"2026-01-31T23:59:50+00:00", "2026-02-01T00:00:00+00:00"}},
		{"a tag", "@monthly", "UTC", "2026-01-31T23:59:41Z", []string{"2026-02-01T00:00:00+00:00"}},
		{"in another zone", "30 8 * * MON-FRI", "Asia/Tokyo", "2026-01-30T00:00:00Z",
			[]string{"2026-02-02T08:30:00+09:00", "2026-02-03T08:30:00+09:00"}},
		{"one of two days is enough", "0 0 13 * FRI", "UTC", "2026-02-01T00:00:00Z",
			[]string{"2026-02-06T00:00:00+00:00", "2026-02-13T00:00:00+00:00", "2026-02-20T00:00:00+00:00"}},
		{"the last day", "0 6 L * *", "UTC", "2026-01-31T06:00:00Z", []string{"2026-02-28T06:00:00+00:00", "2026-03-31T06:00:00+00:00"}},
		{"the second Friday", "0 6 * * 5#2", "UTC", "2026-01-31T06:00:00Z", []string{"2026-02-13T06:00:00+00:00", "2026-03-13T06:00:00+00:00"}},
		{"leap days", "0 0 29 2 *", "UTC", "2026-01-31T06:00:00Z", []string{"2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"}},
		{"a 31st after a short month", "0 0 31 * *", "UTC", "2026-04-01T00:00:00Z", []string{"2026-05-31T00:00:00+00:00", "2026-07-31T00:00:00+00:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := runs(rule(t, c.cron, c.timezone), at(t, c.after), len(c.want))
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("%s in %s after %s = %v; want %v", c.cron, c.timezone, c.after, got, c.want)
			}
		})
	}
}

// TestNextWhereClocksChange: in Zurich 02:00 becomes 03:00 on 2026-03-29, and
// 03:00 becomes 02:00 on 2026-10-25; on Lord Howe Island it is half an hour.
func TestNextWhereClocksChange(t *testing.T) {
	for _, c := range []struct {
		name, cron, timezone, after string
		want                        []string
	}{
		{"a skipped time is made up", "30 2 * * *", "Europe/Zurich", "2026-03-28T00:00:00Z",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"skipped times are made up once", "*/15 2,3 * * *", "Europe/Zurich", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00", "2026-03-29T03:30:00+02:00"}},
		{"the first time that is there again", "0 3 * * *", "Europe/Zurich", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"}},
		{"a doubled time counts once", "30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"also after a start in between", "30 2 * * *", "Europe/Zurich", "2026-10-25T01:10:00Z",
			[]string{"2026-10-26T02:30:00+01:00"}},
		{"what comes after both", "30 2,3 * * *", "Europe/Zurich", "2026-10-25T01:10:00Z",
			[]string{"2026-10-25T03:30:00+01:00"}},
		{"intervals go on through a skipped hour", "*/30 * * * *", "Europe/Zurich", "2026-03-29T00:20:00Z",
			[]string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"}},
		{"intervals go on through a doubled hour", "*/30 * * * *", "Europe/Zurich", "2026-10-25T00:20:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"half an hour skipped", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"half an hour doubled", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z",
			[]string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"a whole day skipped", "0 12 * * *", "Pacific/Apia", "2011-12-28T23:00:00Z",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := runs(rule(t, c.cron, c.timezone), at(t, c.after), len(c.want))
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("%s in %s after %s = %v; want %v", c.cron, c.timezone, c.after, got, c.want)
			}
		})
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	for cron, want := range map[string]string{
		"":                   "not a cron of five fields",
		"* * * *":            "not a cron of five fields",
		"* * * * * * 2026":   "not a cron of five fields",
		"0 0 1 1 * 2026":     "not a cron of five fields",
		"@never":             "not a cron of five fields",
		"60 * * * *":         `"60" is not a minute`,
		"* 24 * * *":         `"24" is not a hour`,
		"* * 0 * *":          `"0" is not a day of the month`,
		"* * * 13 *":         `"13" is not a month`,
		"* * * * 8":          `"8" is not a day of the week`,
		"5-1 * * * *":        `"5-1" is not a minute`,
		"*/0 * * * *":        `"*/0" is not a minute`,
		"*/90 * * * *":       `"*/90" is not a minute`,
		"0,,5 * * * *":       `"" is not a minute`,
		"0,foo * * * *":      `"FOO" is not a minute`,
		"L * * * *":          `"L" is not a minute`,
		"0 0 30 2 *":         "never comes",
		"0 0 32W * *":        `"32W" is not a day of the month`,
		"0 0 * * MONDAY":     `"1DAY" is not a day of the week`,
		"61 0 0 * * *":       `"61" is not a second`,
		"999999999 * * * *":  `"999999999" is not a minute`,
		"0 0 * * 5#6":        `"5#6" is not a day of the week`,
		"1,2-3/1,4- * * * *": `"4-" is not a minute`,
	} {
		if _, err := NewRule(cron, "UTC"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewRule(%q) = %v; want %q in it", cron, err, want)
		}
	}
	for _, zone := range []string{"", "Local", "Mars/Olympus", "../etc/passwd", "europe zurich"} {
		if _, err := NewRule("* * * * *", zone); !errors.Is(err, ErrTimezone) {
			t.Errorf("NewRule in %q = %v; want ErrTimezone", zone, err)
		}
	}
}

// randomCron draws a cron whose runs are not too far apart.
func randomCron(r *rand.Rand) string {
	field := func(least, most int) string {
		n := func() int { return least + r.IntN(most-least+1) }
		switch r.IntN(5) {
		case 0:
			return strconv.Itoa(n())
		case 1:
			return strconv.Itoa(n()) + "," + strconv.Itoa(n())
		case 2:
			a, b := n(), n()
			return strconv.Itoa(min(a, b)) + "-" + strconv.Itoa(max(a, b))
		case 3:
			return "*/" + strconv.Itoa(1+r.IntN(most/2))
		default:
			return "*"
		}
	}
	day, weekday := "*", "*"
	if r.IntN(3) == 0 {
		day = field(1, 31)
	}
	if r.IntN(3) == 0 {
		weekday = field(0, 7)
	}
	return strings.Join([]string{field(0, 59), field(0, 23), day, "*", weekday}, " ")
}

// TestNextSkipsNothing compares with looking at each minute.
func TestNextSkipsNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		cron := randomCron(r)
		start := time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), 0, 0, time.UTC)
		next := rule(t, cron, "UTC").Next(start)
		g := gronx.New()
		for at := start.Add(time.Minute); ; at = at.Add(time.Minute) {
			due, err := g.IsDue(cron, at)
			if err != nil {
				t.Fatal(err)
			}
			if due || at.After(next) || at.Sub(start) > 10*24*time.Hour {
				if due != at.Equal(next) && at.Sub(start) < 10*24*time.Hour {
					t.Errorf("%q after %s = %s; due is %s", cron, start, next, at)
				}
				break
			}
		}
	}
}

// TestLast compares the search by halves with going through all runs.
func TestLast(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		cron, zone := randomCron(r), []string{"UTC", "Europe/Zurich", "America/New_York"}[r.IntN(3)]
		x := rule(t, cron, zone)
		after := time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), 0, time.UTC)
		until := after.Add(time.Duration(r.IntN(3*24*60)) * time.Minute)
		var want time.Time
		for at := x.Next(after); !at.IsZero() && !at.After(until); at = x.Next(at) {
			want = at
		}
		if got := x.Last(after, until); !got.Equal(want) {
			t.Errorf("%q in %s: Last(%s, %s) = %s; want %s", cron, zone, after, until, got, want)
		}
	}
}

// TestNextIsTheSameUntilItComes: whenever one asks before a run, also around
// changes of the clock, it is the next one.
func TestNextIsTheSameUntilItComes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	zones := []string{"Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Sao_Paulo", "Pacific/Apia"}
	for range 200 {
		cron, zone := randomCron(r), zones[r.IntN(len(zones))]
		x := rule(t, cron, zone)
		after := time.Date(2008+r.IntN(30), time.Month(1+r.IntN(12)), 1, 0, 0, 0, 0, time.UTC)
		if _, end := after.In(x.zone).ZoneBounds(); !end.IsZero() {
			after = end.Add(time.Duration(r.IntN(6*3600)-4*3600) * time.Second)
		}
		next := x.Next(after)
		if !next.After(after) {
			t.Errorf("%q in %s: Next(%s) = %s; want a later time", cron, zone, after, next)
			continue
		}
		for _, at := range []time.Time{next.Add(-time.Second), after.Add(time.Duration(r.Int64N(int64(next.Sub(after)))))} {
			if got := x.Next(at); !got.Equal(next) {
				t.Errorf("%q in %s: Next(%s) = %s, but Next(%s) = %s", cron, zone, after, next, at, got)
			}
		}
	}
}

// TestRuleThatComesNoMore ends where the search does.
func TestRuleThatComesNoMore(t *testing.T) {
	r := rule(t, "0 0 29 2 *", "Europe/Zurich")
	for _, after := range []string{"2096-02-28T23:00:00Z", "2096-03-01T00:00:00Z"} { // the next would be in 2104
		if next := r.Next(at(t, after)); !next.IsZero() {
			t.Errorf("Next(%s) = %s; want none", after, next)
		}
	}
	if last, want := r.Last(at(t, "2090-01-01T00:00:00Z"), at(t, "2103-01-01T00:00:00Z")), at(t, "2096-02-28T23:00:00Z"); !last.Equal(want) {
		t.Errorf("Last = %s; want %s", last, want)
	}
}

// FuzzRule: a rule that is taken has runs, each later than the one before.
func FuzzRule(f *testing.F) {
	for _, seed := range []string{"0 2 * * *", "*/5 1-3 L,15W JAN-MAR 5#2,6L", "@hourly", "1,2 3 4 5 6 7", "60 * * * *", "* * * * * 2026"} {
		f.Add(seed, "Europe/Zurich", int64(1774746000))
	}
	f.Fuzz(func(t *testing.T, cron, zone string, unix int64) {
		r, err := NewRule(cron, zone)
		if err != nil {
			return
		}
		at := time.Unix(unix%(1<<32), 0)
		for range 5 {
			next := r.Next(at)
			if next.IsZero() {
				return // beyond what the search looks at
			}
			if !next.After(at) || next.Nanosecond() != 0 {
				t.Fatalf("%q in %q: Next(%s) = %s", cron, zone, at, next)
			}
			at = next
		}
	})
}
