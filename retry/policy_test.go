package retry_test

import (
	"math"
	"testing"
	"time"

	"github.com/eventd-io/eventd/retry"
	"pgregory.net/rapid"
)

const middle = 0.5 // of the jitter: the delay itself

const century = 100 * 365 * 24 * time.Hour

func TestNext(t *testing.T) {
	exponential := retry.Policy{Backoff: retry.Exponential, Initial: time.Second, Factor: 2}
	capped := retry.Policy{Backoff: retry.Exponential, Initial: time.Second, Factor: 2, Max: 5 * time.Minute}
	linear := retry.Policy{Backoff: retry.Linear, Initial: 3 * time.Second}
	constant := retry.Policy{Backoff: retry.Constant, Initial: 7 * time.Second, Factor: 2}
	jittered := retry.Policy{Backoff: retry.Constant, Initial: 10 * time.Second, Jitter: 0.2}
	bounded := retry.Policy{Backoff: retry.Constant, Initial: time.Second, MaxAttempts: 3}
	patient := retry.Policy{Schedule: []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute}}
	hasty := retry.Policy{Schedule: patient.Schedule, MaxAttempts: 2}
	timely := retry.Policy{Backoff: retry.Constant, Initial: 10 * time.Second, MaxElapsed: time.Minute}
	const never, no = time.Duration(-1), time.Duration(0)

	for _, c := range []struct {
		name     string
		policy   retry.Policy
		attempts int
		elapsed  time.Duration
		chance   float64
		want     time.Duration // never: no further attempt
	}{
		{"exponential, after the first", exponential, 1, no, middle, time.Second},
		{"exponential, after the third", exponential, 3, no, middle, 4 * time.Second},
		{"exponential, no attempt counted", exponential, 0, no, middle, time.Second},
		{"exponential, 62 doublings", exponential, 63, no, middle, century},
		{"exponential, beyond all numbers", exponential, math.MaxInt, no, middle, century},
		{"exponential, at its bound", capped, 10, no, middle, 5 * time.Minute},
		{"exponential, bounded beyond all numbers", capped, math.MaxInt, no, middle, 5 * time.Minute},
		{"exponential, not yet at its bound", capped, 9, no, middle, 256 * time.Second},
		{"exponential is the zero value", retry.Policy{Initial: time.Second, Factor: 3}, 3, no, middle, 9 * time.Second},
		{"a factor below 1 does not shrink", retry.Policy{Initial: time.Second}, 5, no, middle, time.Second},
		{"nothing times infinity", retry.Policy{Factor: 2}, math.MaxInt, no, middle, 0},
		{"nothing times infinity, bounded", retry.Policy{Factor: 2, Max: time.Second}, math.MaxInt, no, middle, 0},
		{"linear, after the first", linear, 1, no, middle, 3 * time.Second},
		{"linear, after the fourth", linear, 4, no, middle, 12 * time.Second},
		{"linear, a hundred years", linear, 100 * 365 * 24 * 60 * 20, no, middle, century},
		{"linear, longer", linear, 100 * 365 * 24 * 60 * 25, no, middle, century},
		{"linear, beyond all numbers", linear, math.MaxInt, no, middle, century},
		{"constant", constant, 9, no, middle, 7 * time.Second},
		{"jitter, lowest", jittered, 1, no, 0, 8 * time.Second},
		{"jitter, middle", jittered, 1, no, middle, 10 * time.Second},
		{"jitter, highest", jittered, 1, no, 1, 12 * time.Second},
		{"jitter goes beyond the longest delay", retry.Policy{Backoff: retry.Constant, Initial: time.Hour, Max: 10 * time.Second, Jitter: 0.5}, 1, no, 1, 15 * time.Second},
		{"jitter of more than all", retry.Policy{Backoff: retry.Constant, Initial: time.Second, Jitter: 3}, 1, no, 0, 0},
		{"attempts left", bounded, 2, no, middle, time.Second},
		{"attempts used up", bounded, 3, no, middle, never},
		{"attempts overdrawn", bounded, 4, no, middle, never},
		{"one attempt only", retry.Policy{MaxAttempts: 1, Initial: time.Second}, 1, no, middle, never},
		{"unlimited", retry.Policy{Backoff: retry.Constant, Initial: time.Second}, 1 << 40, no, middle, time.Second},
		{"schedule, first", patient, 1, no, middle, 5 * time.Second},
		{"schedule, last", patient, 3, no, middle, 30 * time.Minute},
		{"schedule, at its end", patient, 4, no, middle, never},
		{"schedule, fewer attempts, left", hasty, 1, no, middle, 5 * time.Second},
		{"schedule, fewer attempts, used up", hasty, 2, no, middle, never},
		{"schedule, with jitter", retry.Policy{Schedule: patient.Schedule, Jitter: 0.1}, 2, no, 0, 270 * time.Second},
		{"schedule, a negative delay", retry.Policy{Schedule: []time.Duration{-time.Second}}, 1, no, middle, 0},
		{"time left to the moment", timely, 1, 50 * time.Second, middle, 10 * time.Second},
		{"time used up by the delay", timely, 1, 50*time.Second + 1, middle, never},
		{"time used up", timely, 1, time.Hour, middle, never},
		{"time of a wrong clock, late", timely, 1, math.MaxInt64, middle, never},
		{"time of a wrong clock, early", timely, 1, math.MinInt64, middle, 10 * time.Second},
	} {
		got, ok := c.policy.Next(c.attempts, c.elapsed, c.chance)
		if want := c.want != never; ok != want || ok && got != c.want {
			t.Errorf("%s: Next(%d, %s, %v) = %s, %t; want %s, %t", c.name, c.attempts, c.elapsed, c.chance, got, ok, c.want, want)
		}
	}
}

func TestDefault(t *testing.T) {
	p := retry.Default()
	if d, ok := p.Next(1, 0, middle); d != time.Second || !ok {
		t.Errorf("Next(1) = %s, %t; want 1s, true", d, ok)
	}
	if d, ok := p.Next(14, 0, middle); d != 5*time.Minute || !ok {
		t.Errorf("Next(14) = %s, %t; want 5m, true", d, ok)
	}
	if _, ok := p.Next(15, 0, middle); ok {
		t.Error("Next(15) allows a 16th attempt; want 15 altogether")
	}
}

func policies() *rapid.Generator[retry.Policy] {
	durations := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "duration"))
	})
	return rapid.Custom(func(t *rapid.T) retry.Policy {
		return retry.Policy{
			Backoff:     rapid.SampledFrom([]retry.Backoff{"", retry.Exponential, retry.Linear, retry.Constant}).Draw(t, "backoff"),
			Initial:     durations.Draw(t, "initial"),
			Factor:      rapid.Float64Range(0, 1e9).Draw(t, "factor"),
			Max:         durations.Draw(t, "max"),
			Jitter:      rapid.Float64Range(0, 1).Draw(t, "jitter"),
			MaxAttempts: rapid.IntRange(0, 1000).Draw(t, "max_attempts"),
			MaxElapsed:  durations.Draw(t, "max_elapsed"),
			Schedule:    rapid.SliceOfN(durations, 0, 4).Draw(t, "schedule"),
		}
	})
}

func TestNextIsWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		attempts := rapid.IntRange(1, math.MaxInt).Draw(t, "attempts")
		elapsed := time.Duration(rapid.Int64().Draw(t, "elapsed"))
		chance := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "chance")
		d, ok := p.Next(attempts, elapsed, chance)
		switch {
		case d < 0:
			t.Fatalf("Next = %s; want no negative delay", d)
		case d > century:
			t.Fatalf("Next = %s; want at most %s", d, century)
		case !ok:
			return
		case p.MaxAttempts != retry.Unlimited && attempts >= p.MaxAttempts:
			t.Fatalf("Next allows attempt %d of %d", attempts+1, p.MaxAttempts)
		case p.MaxElapsed > 0 && elapsed > p.MaxElapsed:
			t.Fatalf("Next allows an attempt after %s of %s", elapsed, p.MaxElapsed)
		case len(p.Schedule) == 0 && p.Max > 0 && float64(d) > float64(p.Max)*(1+p.Jitter)*1.0001:
			t.Fatalf("Next = %s; want at most %s and its jitter", d, p.Max)
		}
		if base, _ := (retry.Policy{Backoff: p.Backoff, Initial: p.Initial, Factor: p.Factor, Max: p.Max, Schedule: p.Schedule}).Next(attempts, 0, middle); base < century {
			low, high := float64(base)*(1-p.Jitter), float64(base)*(1+p.Jitter)
			if float64(d) < low-1024 || float64(d) > high+1024 {
				t.Fatalf("Next = %s; want %s within its jitter of %v", d, base, p.Jitter)
			}
		}
	})
}

func TestDelaysWithoutJitterNeverShrink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policies().Draw(t, "policy")
		p.Jitter, p.Schedule, p.MaxAttempts, p.MaxElapsed = 0, nil, 0, 0
		a := rapid.IntRange(1, math.MaxInt-1).Draw(t, "attempts")
		first, _ := p.Next(a, 0, middle)
		second, _ := p.Next(a+1, 0, middle)
		if second < first {
			t.Fatalf("Next(%d) = %s, Next(%d) = %s; want it to be no less", a, first, a+1, second)
		}
	})
}
