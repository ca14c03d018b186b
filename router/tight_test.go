package router_test

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// tight is a store whose jobs take few steps at a time, which notes the working data
// that steps say they change and the bytes they say they bring.
type tight struct {
	prompt
	most int

	mu      sync.Mutex
	recalls []string
	bytes   int
	read    int // how often what is due was read

	turns chan []string
}

func (s *tight) TurnsCome() <-chan []string { return s.turns }

func (s *tight) Due(ctx context.Context, q event.DueQuery) ([]event.Due, time.Time, error) {
	s.mu.Lock()
	s.read++
	s.mu.Unlock()
	return s.prompt.Due(ctx, q)
}

func (s *tight) readings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read
}

func (s *tight) note(updates []*event.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range updates {
		s.recalls = append(s.recalls, u.Recalls...)
		s.bytes += u.Bytes
	}
}

// noted returns what was noted since it was last asked.
func (s *tight) noted() (recalls []string, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	recalls, bytes = s.recalls, s.bytes
	s.recalls, s.bytes = nil, 0
	return recalls, bytes
}

func (s *tight) UpdateWithin(ctx context.Context, patience time.Duration, updates ...*event.Update) error {
	s.note(updates)
	return s.prompt.UpdateWithin(ctx, patience, updates...)
}

func (s *tight) AdvanceRedrive(ctx context.Context, id uint64, change func(*event.Redrive), updates ...*event.Update) error {
	if len(updates) > s.most {
		return event.ErrTooMuch
	}
	s.note(updates)
	return s.prompt.AdvanceRedrive(ctx, id, change, updates...)
}

func newTight(t *testing.T, most int, c router.Config) (*rig, *tight) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eventd.db")
	db, err := storage.Open(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	s := &tight{prompt: prompt{db}, most: most, turns: make(chan []string)}
	r, err := router.New(router.Options{Service: "SERVICE_A", Store: s, Observer: noObserver{}, Log: zerolog.Nop()}, c)
	if err != nil {
		t.Fatal(err)
	}
	x := &rig{Router: r, t: t, path: path, store: db}
	t.Cleanup(x.close)
	if err := x.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return x, s
}

// TestRedriveOfManyOnAFullDisk takes as few at a time as there is space for.
func TestRedriveOfManyOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := newTight(t, 4, only(handlerTo("h", &failing{})))
		x.acceptMany("A", 50)
		advance(time.Second)
		j := x.startRedrive(event.Redrive{})
		advance(time.Second)
		x.wantJob(j.ID, event.RedriveCompleted, 50, 0)
	})
}

// TestStepsSayWhatTheyBring, so that a full disk is weighed with it: a step that
// remembers the conversation whose document it changes, a redrive its payload.
func TestStepsSayWhatTheyBring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerTo("h", &script{})
		x, s := newTight(t, 256, router.Config{Routes: []router.Route{route("X", "h")}, Handlers: []router.Handler{h}})
		x.accept(message("late", "A", `{"n":1}`))
		advance(time.Second)
		s.noted()
		x.reload(router.Config{Routes: []router.Route{remembering("A", "h", "n", "data.n")}, Handlers: []router.Handler{h}})
		advance(time.Second)
		if got, _ := s.noted(); !slices.Equal(got, []string{"late"}) {
			t.Errorf("the steps of a reload change %q; want late", got)
		}
		payload := bytes.Repeat([]byte{'1'}, 1000)
		if _, err := x.redrive("late", event.RedriveOrder{Payload: payload}); err != nil {
			t.Fatal(err)
		}
		if got, n := s.noted(); len(got) != 0 || n != len(payload) {
			t.Errorf("a redrive changes %q and brings %d bytes; want none, %d", got, n, len(payload))
		}
	})
}

// TestTurnsThatComeByThemselves wake who they are for.
func TestTurnsThatComeByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newTight(t, 256, only(handlerTo("h", &script{})))
		advance(time.Second)
		before := s.readings()
		s.turns <- []string{"h"}
		advance(time.Second)
		if s.readings() == before {
			t.Error("nobody looks at what is due for h")
		}
	})
}
