package retry_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/retry"
)

// bell notes when it rang for whom.
type bell struct {
	mu    sync.Mutex
	start time.Time
	rang  map[string][]time.Duration
}

func (b *bell) ring(owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rang[owner] = append(b.rang[owner], time.Since(b.start))
}

func (b *bell) heard(owner string) []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.rang[owner])
}

// runAlarm starts an alarm in the bubble of a test. stop ends it and waits.
func runAlarm(t *testing.T) (a *retry.Alarm, b *bell, stop func()) {
	t.Helper()
	b = &bell{start: time.Now(), rang: map[string][]time.Duration{}}
	a = retry.NewAlarm(b.ring)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { a.Run(ctx) })
	synctest.Wait()
	return a, b, func() { cancel(); run.Wait() }
}

// at waits until the given time after the start and for all that it causes.
func (b *bell) at(d time.Duration) {
	time.Sleep(d - time.Since(b.start)) // in a bubble: no time passes
	synctest.Wait()
}

func TestAlarmRingsWhenDueAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, stop := runAlarm(t)
		defer stop()
		a.Set("h", b.start.Add(10*time.Second))
		a.Set("other", b.start.Add(10*time.Second-1)) // wakes it a moment before
		b.at(10*time.Second - 1)
		if got := b.heard("h"); len(got) != 0 {
			t.Fatalf("rang after %v; want not before 10s", got)
		}
		b.at(time.Hour)
		if got, want := b.heard("h"), []time.Duration{10 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("rang after %v; want %v", got, want)
		}
	})
}

func TestAlarmSoonerReplacesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, stop := runAlarm(t)
		defer stop()
		a.Set("h", b.start.Add(30*time.Second))
		a.Set("h", b.start.Add(5*time.Second))
		a.Set("h", b.start.Add(20*time.Second))
		a.Set("h", time.Time{})
		b.at(time.Hour)
		if got, want := b.heard("h"), []time.Duration{5 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("rang after %v; want %v", got, want)
		}
	})
}

func TestAlarmRingsAtOnceForThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, stop := runAlarm(t)
		defer stop()
		a.Set("h", b.start.Add(-time.Hour))
		b.at(0)
		if got, want := b.heard("h"), []time.Duration{0}; !slices.Equal(got, want) {
			t.Errorf("rang after %v; want %v", got, want)
		}
	})
}

func TestAlarmWasSetBeforeItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bell{start: time.Now(), rang: map[string][]time.Duration{}}
		a := retry.NewAlarm(b.ring)
		a.Set("soon", b.start.Add(time.Second))
		a.Set("past", b.start.Add(-time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { a.Run(ctx) })
		defer func() { cancel(); run.Wait() }()
		b.at(time.Minute)
		if soon, past := b.heard("soon"), b.heard("past"); len(soon) != 1 || soon[0] != time.Second || len(past) != 1 || past[0] != 0 {
			t.Errorf("rang after %v and %v; want [1s] and [0s]", soon, past)
		}
	})
}

// TestAlarmManyOwners also covers times beyond the longest sleep and owners that
// set their next time whenever they are rung.
func TestAlarmManyOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a *retry.Alarm
		b := &bell{start: time.Now(), rang: map[string][]time.Duration{}}
		periods := map[string]time.Duration{}
		a = retry.NewAlarm(func(owner string) {
			b.ring(owner)
			a.Set(owner, time.Now().Add(periods[owner]))
		})
		for i := range 100 {
			periods[fmt.Sprintf("h%02d", i)] = time.Duration(i+1) * 1700 * time.Millisecond
		}
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { a.Run(ctx) })
		defer func() { cancel(); run.Wait() }()
		for owner, period := range periods {
			a.Set(owner, b.start.Add(period))
		}
		b.at(10 * time.Minute)
		for _, owner := range slices.Sorted(maps.Keys(periods)) {
			var want []time.Duration
			for at := periods[owner]; at <= 10*time.Minute; at += periods[owner] {
				want = append(want, at)
			}
			if got := b.heard(owner); !slices.Equal(got, want) {
				t.Errorf("%s rang after %v; want %v", owner, got, want)
			}
		}
	})
}

func TestAlarmSetFromManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, stop := runAlarm(t)
		defer stop()
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() { a.Set("h", b.start.Add(time.Duration(50-i)*time.Second)) })
		}
		all.Wait()
		b.at(time.Hour)
		if got, want := b.heard("h"), []time.Duration{time.Second}; !slices.Equal(got, want) {
			t.Errorf("rang after %v; want the soonest, %v", got, want)
		}
	})
}

func TestAlarmEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, stop := runAlarm(t)
		a.Set("h", b.start.Add(time.Second))
		stop()
		b.at(time.Minute)
		if got := b.heard("h"); len(got) != 0 {
			t.Errorf("rang after %v; want silence after the end", got)
		}
		a.Set("h", time.Now().Add(-time.Second)) // must not block without a listener
		a.Set("h", time.Now().Add(-time.Minute))
	})
}
