package router

import (
	"math/rand/v2"
	"testing"
	"time"
)

// attempts begin under a limiter, in a made-up time.
type attempts struct {
	l     *limiter
	now   time.Time
	began []time.Time
}

// begin lets begin what may, after the caller has taken a while to do so.
func (a *attempts) begin(wanted int, after time.Duration) {
	n := min(a.l.left(a.now), wanted)
	a.now = a.now.Add(after)
	for range n {
		a.l.spend(1, a.now)
		a.began = append(a.began, a.now)
	}
}

// most returns how many began in a span, at most.
func (a *attempts) most(span time.Duration) (most int) {
	from := 0
	for i, at := range a.began {
		for at.Sub(a.began[from]) >= span {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// TestRateInEverySecond: whatever was left out before, and however late what may
// begin does so.
func TestRateInEverySecond(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 0))
		rate := 40 + r.IntN(1000)
		a := &attempts{l: newLimiter(float64(rate), nil), now: time.Now()}
		for range 3000 {
			pause := time.Duration(r.IntN(int(2 * time.Millisecond)))
			if r.IntN(200) == 0 {
				pause = time.Duration(r.IntN(int(1500 * time.Millisecond)))
			}
			a.now = a.now.Add(pause)
			a.begin(1+r.IntN(rate), time.Duration(r.IntN(int(3*time.Millisecond))))
		}
		if n := a.most(time.Second); n > rate {
			t.Errorf("seed %d: %d began within a second; want at most %d", seed, n, rate)
		}
	}
}

// TestBacklogComesEvenly: nearly all of the rate is used, without a hole and a flood
// after it.
func TestBacklogComesEvenly(t *testing.T) {
	for _, rate := range []int{10, 40, 47, 100, 1000, 5000} {
		for phase := range 20 {
			a := &attempts{l: newLimiter(float64(rate), nil)}
			a.now = time.Now().Add(time.Duration(phase) * partTime / 20)
			began := a.now
			for a.now.Sub(began) < 10*time.Second {
				a.begin(rate, 0)
				a.now = a.now.Add(max(a.l.wait(0, a.now)+time.Microsecond, shortestWait))
			}
			a.even(t, rate)
		}
	}
}

func (a *attempts) even(t *testing.T, rate int) {
	t.Helper()
	began := a.began[0]
	if n := len(a.began); n < rate*10*98/100 {
		t.Errorf("%d/s: %d began in ten seconds", rate, n)
	}
	longest := 5*time.Second/time.Duration(4*rate) + 3*partTime
	for i, at := range a.began[1:] {
		first := at.Sub(began) < time.Second+2*partTime // what the full bucket let through is left out at its end
		if gap := at.Sub(a.began[i]); !first && gap > longest {
			t.Errorf("%d/s: none began for %s, until %s after the first; want at most %s", rate, gap, at.Sub(began), longest)
		}
	}
	if span := 10 * partTime; a.most(span) > rate/catchUp+int(span.Seconds()*float64(rate))+1 {
		t.Errorf("%d/s: %d began within %s", rate, a.most(span), span)
	}
}

// TestRateAfterAReload: what began under the rate before counts.
func TestRateAfterAReload(t *testing.T) {
	a := &attempts{l: newLimiter(100, nil), now: time.Now()}
	for began := a.now; a.now.Sub(began) < 3*time.Second; a.now = a.now.Add(time.Millisecond) {
		if a.now.Sub(began)%(300*time.Millisecond) == 0 {
			a.l = newLimiter(100, a.l)
		}
		a.begin(100, 0)
	}
	if n := a.most(time.Second); n > 100 {
		t.Errorf("%d began within a second; want at most 100", n)
	}
	if n := len(a.began); n < 200 {
		t.Errorf("%d began in three seconds", n)
	}
	if a.l = newLimiter(0, a.l); a.l != nil {
		t.Error("a limit is left")
	}
}
