package schedule

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/rs/zerolog"
)

// Schedule is one schedule as configured. Of its event ID, Attributes and Source
// are filled in for each run.
type Schedule struct {
	Name     string
	Cron     string // as people wrote it
	Timezone string
	Rule     Rule
	Missed   Missed
	Event    event.Message
}

// Store keeps how far each schedule is.
type Store interface {
	Marks(ctx context.Context) ([]event.Mark, error)
	SetMark(ctx context.Context, m event.Mark) error
	Forget(ctx context.Context, schedules ...string) error
}

// Intake stores the events of runs, each with its mark.
type Intake interface {
	Accept(ctx context.Context, messages []event.Message) ([]event.Receipt, error)
}

// Runner makes the events of schedules. It is made by [NewRunner].
type Runner struct {
	store  Store
	intake Intake
	log    zerolog.Logger

	changed chan struct{} // asks the loop to look at the schedules anew

	mu      sync.Mutex
	wanted  []Schedule
	version int // of wanted
	read    int // the version that marks are of, as they are in the store
	marks   map[string]event.Mark
	why     map[string]string // what keeps a schedule from running, by name
}

// NewRunner returns a runner without schedules.
func NewRunner(s Store, i Intake, log zerolog.Logger) *Runner {
	return &Runner{
		store: s, intake: i, log: log, changed: make(chan struct{}, 1),
		marks: map[string]event.Mark{}, why: map[string]string{},
	}
}

// Set puts schedules, in the order of their names, in place of those so far.
// Those that keep their name and rule go on where they are.
func (r *Runner) Set(list []Schedule) {
	r.mu.Lock()
	r.wanted = list
	r.version++
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// longest is how long the loop sleeps at most while there are schedules: the wall
// clock may be set meanwhile, and then a run must not be later than [grace]. again
// is when it tries again after an error.
const (
	longest = grace / 2
	again   = 5 * time.Second
)

// Run makes what is due until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	for {
		var wake <-chan time.Time
		timer := time.NewTimer(r.step(ctx))
		if r.any() {
			wake = timer.C
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-r.changed:
		case <-wake:
		}
		timer.Stop()
	}
}

// any reports whether there is something to wake up for.
func (r *Runner) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.wanted) > 0 || r.read != r.version
}

// step does what is due and returns how long there is nothing to do.
func (r *Runner) step(ctx context.Context) time.Duration {
	list, marks, err := r.current(ctx)
	if err != nil {
		r.complain(ctx, err, "schedules cannot be read")
		return again
	}
	wake := time.Now().Add(longest)
	for i := range list {
		s := &list[i]
		now := time.Now()
		err := r.advance(ctx, s, marks[s.Name], now)
		r.note(s.Name, err)
		if err != nil {
			r.complain(ctx, err, "the events of schedule "+s.Name+" cannot be stored")
			wake = sooner(wake, time.Now().Add(again))
			continue
		}
		// A run may have come due while this one was stored.
		if next := s.Rule.Next(r.from(s.Name, now)); !next.IsZero() {
			wake = sooner(wake, next)
		}
	}
	return max(time.Until(wake), 0)
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// complain logs an error, unless it comes of the end.
func (r *Runner) complain(ctx context.Context, err error, text string) {
	if ctx.Err() == nil {
		r.log.Warn().Err(err).Dur("again_in", again).Msg(text)
	}
}

// note keeps what keeps a schedule from running. After an error it is not known
// what is in the store.
func (r *Runner) note(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.why, name)
	if err != nil {
		r.why[name], r.read = err.Error(), 0
	}
}

// from returns after which time a schedule runs next that was decided about at a
// time.
func (r *Runner) from(name string, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seen := r.marks[name].Seen; seen.After(now) {
		return seen
	}
	return now
}

// current returns the schedules and how far they are.
func (r *Runner) current(ctx context.Context) (list []Schedule, marks map[string]event.Mark, err error) {
	r.mu.Lock()
	list, version, read := r.wanted, r.version, r.read
	marks = maps.Clone(r.marks)
	r.mu.Unlock()
	if read == version {
		return list, marks, nil
	}
	if marks, err = r.load(ctx, list); err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks, r.read = maps.Clone(marks), version
	return list, marks, nil
}

// load returns how far schedules are: those that are new begin now, and others
// are forgotten.
func (r *Runner) load(ctx context.Context, list []Schedule) (map[string]event.Mark, error) {
	stored, err := r.store.Marks(ctx)
	if err != nil {
		return nil, err
	}
	var gone []string
	known := make(map[string]*event.Mark, len(stored))
	for i := range stored {
		name := stored[i].Schedule
		known[name] = &stored[i]
		if !slices.ContainsFunc(list, func(s Schedule) bool { return s.Name == name }) {
			gone = append(gone, name)
		}
	}
	now := time.Now()
	marks := make(map[string]event.Mark, len(list))
	for i := range list {
		s := &list[i]
		m, anew := begin(s.Name, s.Rule, known[s.Name], now)
		if !anew {
			marks[s.Name] = *known[s.Name]
			continue
		}
		r.log.Info().Str("schedule", s.Name).Str("cron", s.Cron).Str("timezone", s.Timezone).Msg("schedule begins")
		if err := r.store.SetMark(ctx, m); err != nil {
			return nil, err
		}
		marks[s.Name] = m
	}
	if len(gone) > 0 {
		return marks, r.store.Forget(ctx, gone...)
	}
	return marks, nil
}

// advance makes the runs of a schedule that are due.
func (r *Runner) advance(ctx context.Context, s *Schedule, m event.Mark, now time.Time) error {
	if m, anew := begin(s.Name, s.Rule, &m, now); anew {
		r.log.Warn().Str("schedule", s.Name).Msg("the clock was ahead by more than a day: the schedule begins anew")
		return r.settle(m, r.store.SetMark(ctx, m))
	}
	d := decide(s.Rule, s.Missed, m.Seen, now)
	if !d.skipped.IsZero() {
		r.log.Warn().Str("schedule", s.Name).Time("since", d.skipped).Str("policy", string(s.Missed)).
			Int("made_up", len(d.runs)).Msg("runs of a schedule were missed and are not all made up")
	}
	if len(d.runs) == 0 {
		if d.seen.Equal(m.Seen) {
			return nil
		}
		m.Seen = d.seen
		return r.settle(m, r.store.SetMark(ctx, m))
	}
	messages := make([]event.Message, len(d.runs))
	for i, at := range d.runs {
		messages[i] = s.run(at)
	}
	_, err := r.intake.Accept(ctx, messages)
	return r.settle(*messages[len(messages)-1].Mark, err)
}

// settle remembers a mark that is stored.
func (r *Runner) settle(m event.Mark, err error) error {
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, wanted := r.marks[m.Schedule]; wanted {
		r.marks[m.Schedule] = m
	}
	return nil
}

// SourceOf is the source of the events of a schedule.
func SourceOf(name string) string { return "schedules/" + name }

// run returns the event of one run.
func (s *Schedule) run(at time.Time) event.Message {
	m := s.Event
	at = at.UTC()
	text := at.Format(time.RFC3339)
	m.ID = event.DeriveID("schedule", s.Name, text)
	m.Source = SourceOf(s.Name)
	m.Attributes = map[string]string{"time": text}
	m.Mark = &event.Mark{Schedule: s.Name, Rule: s.Rule.String(), Seen: at, Last: at, EventID: m.ID}
	return m
}

// Infos tells how the schedules stand, in the order of their names.
func (r *Runner) Infos() []event.ScheduleInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	list := make([]event.ScheduleInfo, 0, len(r.wanted))
	for i := range r.wanted {
		s := &r.wanted[i]
		m := r.marks[s.Name]
		after := now
		if m.Seen.After(now) {
			after = m.Seen
		}
		list = append(list, event.ScheduleInfo{
			Name: s.Name, Cron: s.Cron, Timezone: s.Timezone, MessageType: s.Event.MessageType, Missed: string(s.Missed),
			Next: s.Rule.Next(after), Last: m.Last, LastEventID: m.EventID, Problem: r.why[s.Name],
		})
	}
	return list
}
