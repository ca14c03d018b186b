package router_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
)

// flaky fails one attempt in ten and notes what it completes.
type flaky struct {
	mu       sync.Mutex
	attempts int
	done     int
	last     map[string]int // by key: the number of the event completed last
	problems []string
	all      chan struct{}
	want     int
}

func (f *flaky) Deliver(_ context.Context, a *event.Attempt) event.Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempts++; f.attempts%10 == 0 {
		return again
	}
	var key, n int
	if _, err := fmt.Sscanf(a.Event.ID, "%d-%d", &key, &n); err != nil {
		return rejected
	}
	if k := strconv.Itoa(key); f.last != nil {
		if before, some := f.last[k]; some && n != before+1 || !some && n != 0 {
			f.problems = append(f.problems, fmt.Sprintf("%s after event %d of its key", a.Event.ID, before))
		}
		f.last[k] = n
	}
	if f.done++; f.done == f.want {
		close(f.all)
	}
	return done
}

// TestOrderedThroughput handles events of several keys, one attempt in ten of which
// fails, in order and without.
func TestOrderedThroughput(t *testing.T) {
	const keys, each = 20, 50
	free := throughput(t, keys, each, "")
	ordered := throughput(t, keys, each, "data.k")
	t.Logf("%d keys of %d events: %s without order, %s in order", keys, each, free, ordered)
}

func throughput(t *testing.T, keys, each int, orderBy string) time.Duration {
	f := &flaky{want: keys * each, all: make(chan struct{})}
	if orderBy != "" {
		f.last = map[string]int{}
	}
	h := withConcurrency(handlerTo("h", f), 64)
	h.Policy = retry.Policy{Backoff: retry.Constant, Initial: 5 * time.Millisecond, MaxAttempts: 100}
	c := only(h)
	c.Routes[0].OrderBy, c.Routes[0].OnFailure = orderBy, event.Block
	x := openRig(t, quickFolder(t)+"/a.db", c)
	began := time.Now()
	for n := range each {
		batch := make([]event.Message, 0, keys)
		for key := range keys {
			batch = append(batch, message(fmt.Sprintf("%d-%d", key, n), "A", fmt.Sprintf(`{"k":"%d","text":"of a usual size"}`, key)))
		}
		x.accept(batch...)
	}
	select {
	case <-f.all:
	case <-time.After(5 * time.Minute):
		t.Fatal("it does not come to an end")
	}
	took := time.Since(began)
	for _, p := range f.problems {
		t.Error(p)
	}
	until(t, "all is stored", func() bool { return x.store.Counts()[event.Inbound][event.Completed] == keys*each })
	if attempts := x.attempts(); attempts != f.attempts {
		t.Errorf("%d attempts on record; want %d", attempts, f.attempts)
	}
	return took.Round(time.Millisecond)
}

// attempts adds up the attempts on record.
func (x *rig) attempts() (n int) {
	page := event.Page{Limit: 1000, OldestFirst: true}
	for {
		list, next, err := x.store.List(context.Background(), event.Filter{}, page)
		if err != nil {
			x.t.Fatal(err)
		}
		for i := range list {
			n += list[i].Deliveries[0].Attempts
		}
		if next == 0 {
			return n
		}
		page.After = next
	}
}
