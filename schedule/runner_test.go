package schedule

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept is a store and the way into it, in memory.
type kept struct {
	mu     sync.Mutex
	marks  map[string]event.Mark
	events []event.Message
	err    error // of every call
	lost   error // of the next call of Accept, which stores all the same
	reads  int
	slow   time.Duration // that the next call of Accept takes
}

func newKept() *kept { return &kept{marks: map[string]event.Mark{}} }

func (k *kept) Marks(context.Context) ([]event.Mark, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	return slices.Collect(maps.Values(k.marks)), k.err
}

func (k *kept) SetMark(_ context.Context, m event.Mark) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.marks[m.Schedule] = m
	}
	return k.err
}

func (k *kept) Forget(_ context.Context, names ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range names {
		delete(k.marks, name)
	}
	return k.err
}

func (k *kept) Accept(_ context.Context, messages []event.Message) ([]event.Receipt, error) {
	k.mu.Lock()
	slow := k.slow
	k.slow = 0
	k.mu.Unlock()
	time.Sleep(slow)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return nil, k.err
	}
	for _, m := range messages {
		k.events = append(k.events, m)
		k.marks[m.Mark.Schedule] = *m.Mark
	}
	err := k.lost
	k.lost = nil
	return nil, err
}

// with lets a test look into the store, or change it.
func (k *kept) with(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func (k *kept) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// made returns the times of the events of a schedule, as scheduled.
func (k *kept) made(name string) (list []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.events {
		if m.Source == SourceOf(name) {
			list = append(list, m.Attributes["time"])
		}
	}
	return list
}

func (k *kept) expect(t *testing.T, name string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := k.made(name); !slices.Equal(got, want) {
		t.Errorf("events of %s = %v; want %v", name, got, want)
	}
}

func scheduled(t *testing.T, name, cron string, missed Missed) Schedule {
	t.Helper()
	return Schedule{
		Name: name, Cron: cron, Timezone: "UTC", Rule: rule(t, cron, "UTC"), Missed: missed,
		Event: event.Message{Event: event.Event{Table: event.Request, MessageType: "RQ_A"}, Payload: []byte("{}")},
	}
}

// runner runs until the returned function is called.
func runner(t *testing.T, k *kept, list ...Schedule) (r *Runner, stop func()) {
	t.Helper()
	r = NewRunner(k, k, zerolog.Nop())
	r.Set(list)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	synctest.Wait()
	return r, func() { cancel(); <-done }
}

// The clock of these tests begins at midnight of 2000-01-01.

func TestRunsAtTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		r, stop := runner(t, k, scheduled(t, "hourly", "0 * * * *", Once), scheduled(t, "half", "30 * * * *", Once))
		defer stop()
		k.expect(t, "hourly")
		if got := r.Infos()[0]; !got.Next.Equal(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC)) || !got.Last.IsZero() {
			t.Errorf("info = %+v; want the next at 01:00 and no last", got)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		k.expect(t, "hourly")
		time.Sleep(time.Nanosecond)
		k.expect(t, "hourly", "2000-01-01T01:00:00Z")
		time.Sleep(time.Hour)
		k.expect(t, "hourly", "2000-01-01T01:00:00Z", "2000-01-01T02:00:00Z")
		k.expect(t, "half", "2000-01-01T00:30:00Z", "2000-01-01T01:30:00Z")
		info := r.Infos()[0]
		if last := k.events[len(k.events)-1]; !info.Last.Equal(time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)) || info.LastEventID != last.ID {
			t.Errorf("info = %+v; want the last at 02:00, event %s", info, last.ID)
		}
		if k.reads != 1 {
			t.Errorf("the store was read %d times; want once", k.reads)
		}
	})
}

func TestAfterARestart(t *testing.T) {
	for missed, want := range map[Missed][]string{
		Skip: {"2000-01-01T01:00:00Z"},
		Once: {"2000-01-01T01:00:00Z", "2000-01-01T04:00:00Z"},
		All:  {"2000-01-01T01:00:00Z", "2000-01-01T02:00:00Z", "2000-01-01T03:00:00Z", "2000-01-01T04:00:00Z"},
	} {
		t.Run(string(missed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, s := newKept(), scheduled(t, "s", "0 * * * *", missed)
				_, stop := runner(t, k, s)
				time.Sleep(90 * time.Minute)
				stop()
				time.Sleep(3 * time.Hour)
				_, stop = runner(t, k, s)
				k.expect(t, "s", want...)
				stop()
				_, stop = runner(t, k, s)
				defer stop()
				k.expect(t, "s", want...)
				time.Sleep(30 * time.Minute)
				k.expect(t, "s", append(want, "2000-01-01T05:00:00Z")...)
			})
		})
	}
}

// TestTheSameRunIsTheSameEvent: whoever makes it, and whenever.
func TestTheSameRunIsTheSameEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newKept(), newKept()
		_, stopA := runner(t, a, scheduled(t, "s", "0 * * * *", Once), scheduled(t, "other", "0 * * * *", Once))
		_, stopB := runner(t, b, scheduled(t, "s", "0 * * * *", Once))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		stopA()
		stopB()
		ids := func(k *kept) (list []string) {
			for _, m := range k.events {
				if m.Source == "schedules/s" {
					list = append(list, m.ID)
				}
			}
			return list
		}
		if got, want := ids(a), ids(b); len(got) != 2 || !slices.Equal(got, want) {
			t.Errorf("ids of two stores = %v and %v; want the same two", got, want)
		}
		if len(a.events) != 4 || a.events[0].ID == a.events[1].ID || a.events[0].ID == a.events[2].ID {
			t.Errorf("events = %+v; want four with an id each", a.events)
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		r, stop := runner(t, k, scheduled(t, "goes", "10 * * * *", All), scheduled(t, "stays", "20 * * * *", All))
		defer stop()
		time.Sleep(15 * time.Minute)
		r.Set([]Schedule{scheduled(t, "comes", "*/5 * * * *", All), scheduled(t, "stays", "20 * * * *", Skip)})
		synctest.Wait()
		k.with(func() {
			if _, there := k.marks["goes"]; there {
				t.Error("the schedule that is gone is not forgotten")
			}
		})
		time.Sleep(10 * time.Minute)
		k.expect(t, "comes", "2000-01-01T00:20:00Z", "2000-01-01T00:25:00Z")
		k.expect(t, "stays", "2000-01-01T00:20:00Z")
		// Another cron makes nothing up of what it would have done before.
		r.Set([]Schedule{scheduled(t, "stays", "*/2 * * * *", All), scheduled(t, "goes", "10 * * * *", All)})
		time.Sleep(time.Minute)
		k.expect(t, "stays", "2000-01-01T00:20:00Z", "2000-01-01T00:26:00Z")
		k.expect(t, "goes", "2000-01-01T00:10:00Z")
		r.Set(nil)
		synctest.Wait()
		k.with(func() {
			if len(k.marks) != 0 || len(r.Infos()) != 0 {
				t.Errorf("marks = %v, infos = %v; want none", k.marks, r.Infos())
			}
		})
	})
}

// TestAStoreThatFails is tried again, and what was missed meanwhile is made up.
func TestAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		k.fail(event.ErrUnavailable)
		r, stop := runner(t, k, scheduled(t, "s", "*/10 * * * *", Once))
		defer stop()
		time.Sleep(9 * time.Minute)
		k.fail(nil)
		time.Sleep(time.Minute)
		k.expect(t, "s", "2000-01-01T00:10:00Z")
		k.fail(errors.New("the store is full"))
		time.Sleep(25 * time.Minute)
		k.expect(t, "s", "2000-01-01T00:10:00Z")
		if why := r.Infos()[0].Problem; why != "the store is full" {
			t.Errorf("problem = %q", why)
		}
		k.fail(nil)
		time.Sleep(again)
		k.expect(t, "s", "2000-01-01T00:10:00Z", "2000-01-01T00:30:00Z")
		if why := r.Infos()[0].Problem; why != "" {
			t.Errorf("problem = %q; want none", why)
		}
	})
}

// TestAnAnswerThatIsLost: what is not known to be stored is looked up before it is
// made again.
func TestAnAnswerThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		_, stop := runner(t, k, scheduled(t, "s", "*/10 * * * *", Once))
		defer stop()
		k.with(func() { k.lost = errors.New("nobody knows") })
		time.Sleep(20 * time.Minute)
		k.expect(t, "s", "2000-01-01T00:10:00Z", "2000-01-01T00:20:00Z")
	})
}

// TestTheClockIsSetBack: what is marked as done is not done again, and a mark of
// a clock that was far ahead does not stop the schedule.
func TestTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, s, far := newKept(), scheduled(t, "s", "0 * * * *", All), scheduled(t, "far", "0 * * * *", All)
		now := time.Now()
		k.marks["s"] = event.Mark{Schedule: "s", Rule: s.Rule.String(), Seen: now.Add(2 * time.Hour)}
		k.marks["far"] = event.Mark{Schedule: "far", Rule: s.Rule.String(), Seen: now.Add(25 * time.Hour)}
		r, stop := runner(t, k, far, s)
		defer stop()
		if next := r.Infos()[1].Next; !next.Equal(now.Add(3 * time.Hour)) {
			t.Errorf("next = %s; want in three hours", next)
		}
		time.Sleep(3 * time.Hour)
		k.expect(t, "s", "2000-01-01T03:00:00Z")
		k.expect(t, "far", "2000-01-01T01:00:00Z", "2000-01-01T02:00:00Z", "2000-01-01T03:00:00Z")
	})
}

// TestARunWhileAnotherIsStored is made as soon as that one is.
func TestARunWhileAnotherIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKept()
		k.slow = 61 * time.Second
		_, stop := runner(t, k, scheduled(t, "s", "1,2 * * * *", Skip))
		defer stop()
		time.Sleep(2*time.Minute + 2*time.Second)
		k.expect(t, "s", "2000-01-01T00:01:00Z", "2000-01-01T00:02:00Z")
	})
}
