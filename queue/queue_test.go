package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/queue"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// rig is an embedded server that a test can also reach from outside.
type rig struct {
	*queue.Conn
	t       *testing.T
	address string
	js      jetstream.JetStream
}

func newRig(t *testing.T, streams ...queue.Stream) *rig {
	t.Helper()
	x := &rig{t: t, address: "127.0.0.1:0"}
	x.address = freeAddress(t)
	c, err := queue.Open(context.Background(), queue.Options{
		Name: "test", Embedded: &queue.Embedded{Dir: t.TempDir(), Listen: x.address}, Streams: streams, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Conn = c
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	nc, err := nats.Connect("nats://" + x.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if x.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return x
}

// store is an intake, a memory of positions and an outbox.
type store struct {
	mu       sync.Mutex
	accepted []event.Message
	refuse   error         // what Accept returns instead of taking
	most     int           // more than so many at once are refused; 0: any number is taken
	gate     chan struct{} // Accept waits until it is closed; nil: it does not
	atGate   atomic.Int64  // messages that have come to it
	position event.Position
	rows     []event.Publication
}

func (s *store) Accept(_ context.Context, list []event.Message) ([]event.Receipt, error) {
	if s.gate != nil {
		s.atGate.Add(int64(len(list)))
		select {
		case <-s.gate:
		case <-time.After(patience): // a test that failed before it opened it
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	if s.most > 0 && len(list) > s.most {
		return nil, fmt.Errorf("no room: %w", event.ErrUnavailable)
	}
	s.accepted = append(s.accepted, list...)
	return make([]event.Receipt, len(list)), nil
}

func (s *store) LastPosition(string) event.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position
}

func (s *store) SavePosition(_ context.Context, _ string, p event.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = p
	return nil
}

func (s *store) Outbox(_ context.Context, after uint64, limit int) (rows []event.Publication, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if r.ID > after && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (s *store) Published(_ context.Context, ids []uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = slices.DeleteFunc(s.rows, func(p event.Publication) bool { return slices.Contains(ids, p.ID) })
	return nil
}

func (s *store) setRefuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

func (s *store) ids() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.accepted {
		list = append(list, s.accepted[i].ID)
	}
	return list
}

func (x *rig) eventually(f func() error) {
	x.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	x.t.Fatal(err)
}

func (x *rig) awaitIDs(s *store, want ...string) {
	x.t.Helper()
	x.eventually(func() error {
		if got := s.ids(); !slices.Equal(got, want) {
			return fmt.Errorf("accepted %v; want %v", got, want)
		}
		return nil
	})
}

func (x *rig) awaitPending(want int) {
	x.t.Helper()
	x.eventually(func() error {
		c, err := x.js.Consumer(context.Background(), "S", "eventd-APP-in")
		if err != nil {
			return err
		}
		i, err := c.Info(context.Background())
		if err == nil && i.NumAckPending != want {
			err = fmt.Errorf("%d messages wait for their ack; want %d", i.NumAckPending, want)
		}
		return err
	})
}

func (x *rig) publish(ids ...string) {
	x.t.Helper()
	for _, id := range ids {
		body := fmt.Sprintf(`{"event_id":%q,"message_type":"T"}`, id)
		if _, err := x.js.Publish(context.Background(), "IN", []byte(body)); err != nil {
			x.t.Fatal(err)
		}
	}
}

func options() queue.SourceOptions {
	return queue.SourceOptions{
		Name: "in", Service: "APP", Subject: "IN", Table: event.Inbound, SourceService: "UPSTREAM",
		TargetService: "APP", MaxAckPending: 100, AckWait: 2 * time.Second,
	}
}

// run runs a source until the test, or the returned function, ends it.
func (x *rig) run(s *store) (source *queue.Source, end func()) {
	x.t.Helper()
	return x.runWith(options(), s)
}

func (x *rig) runWith(o queue.SourceOptions, s *store) (source *queue.Source, end func()) {
	x.t.Helper()
	source = x.NewSource(o, s, s)
	return source, x.start(source)
}

func (x *rig) start(source *queue.Source) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := source.Run(ctx); !errors.Is(err, context.Canceled) {
			x.t.Errorf("Run = %v; want %v", err, context.Canceled)
		}
	}()
	end = func() { cancel(); <-done }
	x.t.Cleanup(end)
	return end
}

var inStream = queue.Stream{Name: "S", Subjects: []string{"IN"}}

func TestAckComesAfterAccept(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{gate: make(chan struct{})}
	x.run(s)
	x.publish("a", "b")
	x.awaitPending(2) // delivered, and held back by the intake
	close(s.gate)
	x.awaitIDs(s, "a", "b")
	x.awaitPending(0)
	m := s.accepted[0]
	if m.Topic != "IN" || m.Position.Stream != "S" || m.Position.Sequence != 1 || m.Position.Stored.IsZero() ||
		m.Source != "in" || m.SourceService != "UPSTREAM" || m.CreatedBy != "APP" || m.Table != event.Inbound {
		t.Errorf("first message = %+v; want one of IN, sequence 1 of S, from UPSTREAM", m.Event)
	}
}

func TestRefusedMessagesComeAgain(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{refuse: event.ErrUnavailable}
	source, _ := x.run(s)
	x.publish("a")
	x.eventually(func() error {
		if p := source.Info().Problem; !strings.Contains(p, "not stored") {
			return fmt.Errorf("problem = %q; want one that says not stored", p)
		}
		return nil
	})
	x.awaitPending(1)
	s.setRefuse(nil)
	x.awaitIDs(s, "a")
	x.awaitPending(0)
}

// TestRefusedBatchesGetSmaller: a store that has room for little is given little.
func TestRefusedBatchesGetSmaller(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{most: 3, gate: make(chan struct{})}
	x.run(s)
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint("id-", i))
	}
	x.publish(ids...)
	x.awaitPending(20)
	close(s.gate)
	x.eventually(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.accepted); n != len(ids) {
			return fmt.Errorf("%d messages are taken; want %d", n, len(ids))
		}
		return nil
	})
	x.awaitPending(0)
}

func TestDeletedConsumerGoesOnWhereItWas(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{}
	x.run(s)
	x.publish("a", "b")
	x.awaitIDs(s, "a", "b")
	x.eventually(func() error {
		if p := s.LastPosition("in"); p.Sequence != 2 {
			return fmt.Errorf("saved position = %d; want 2", p.Sequence)
		}
		return nil
	})
	if err := x.js.DeleteConsumer(context.Background(), "S", "eventd-APP-in"); err != nil {
		t.Fatal(err)
	}
	x.publish("c")
	x.awaitIDs(s, "a", "b", "c")
}

func TestStreamMadeAnewIsReadFromItsStart(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{}
	source, _ := x.run(s)
	x.publish("a", "b")
	x.awaitIDs(s, "a", "b")
	x.eventually(func() error {
		if s.LastPosition("in").Sequence != 2 {
			return errors.New("position is not saved")
		}
		return nil
	})
	if err := x.js.DeleteStream(context.Background(), "S"); err != nil {
		t.Fatal(err)
	}
	x.eventually(func() error {
		if p := source.Info().Problem; p == "" {
			return errors.New("the source has no problem though its stream is gone")
		}
		return nil
	})
	if _, err := x.js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "S", Subjects: []string{"IN"}}); err != nil {
		t.Fatal(err)
	}
	x.publish("c")
	x.awaitIDs(s, "a", "b", "c")
}

func TestPauseAndResume(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{}
	source, _ := x.run(s)
	x.publish("a")
	x.awaitIDs(s, "a")
	source.Pause()
	x.publish("b")
	if i := source.Info(); !i.Paused {
		t.Error("Info says that the source is not paused")
	}
	source.Resume()
	x.awaitIDs(s, "a", "b")
}

// TestHold: a source that is held does not pull, says why, and goes on when it is
// neither held nor paused. Another one shows that there is something to pull.
func TestHold(t *testing.T) {
	x := newRig(t, inStream)
	s, theirs := &store{}, &store{}
	o := options()
	o.Name = "other"
	x.runWith(o, theirs)
	source := x.NewSource(options(), s, s)
	source.Hold("no room")
	x.start(source)
	var ids []string
	pull := func() {
		t.Helper()
		for range 10 {
			ids = append(ids, fmt.Sprint("m", len(ids)))
			x.publish(ids[len(ids)-1])
			x.awaitIDs(theirs, ids...)
		}
		if got := s.ids(); len(got) > 0 {
			t.Errorf("%v were pulled", got)
		}
	}
	if i := source.Info(); !i.Held || i.Problem != "no room" || i.Connected {
		t.Errorf("Info = %+v; want it held, as there is no room", i)
	}
	pull()
	source.Pause()
	source.Resume()
	pull()
	source.Pause()
	source.Hold("")
	if i := source.Info(); i.Held || !i.Paused || i.Problem == "no room" {
		t.Errorf("Info = %+v; want it paused and no longer held", i)
	}
	pull()
	source.Resume()
	x.awaitIDs(s, ids...)
}

// TestRefusedMessagesAreHandedBack: what was pulled and is refused comes again as
// soon as there is room, all of it, and not only when its ack_wait is over.
func TestRefusedMessagesAreHandedBack(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{refuse: event.ErrUnavailable}
	o := options()
	o.AckWait = 10 * patience
	source, _ := x.runWith(o, s)
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint("m", i))
	}
	x.publish(ids...)
	x.eventually(func() error {
		if p := source.Info().Problem; !strings.Contains(p, "not stored") {
			return fmt.Errorf("problem = %q; want one that says not stored", p)
		}
		return nil
	})
	source.Hold("no room")
	s.setRefuse(nil)
	source.Hold("")
	x.eventually(func() error {
		got := s.ids()
		slices.Sort(got)
		if got = slices.Compact(got); len(got) != len(ids) {
			return fmt.Errorf("%d of %d have come", len(got), len(ids))
		}
		return nil
	})
	x.awaitPending(0)
}

func TestWhatWasPulledIsFinishedAtTheEnd(t *testing.T) {
	x := newRig(t, inStream)
	s := &store{gate: make(chan struct{})}
	_, end := x.run(s)
	x.publish("a")
	x.eventually(func() error {
		if s.atGate.Load() == 0 {
			return errors.New("nothing is pulled")
		}
		return nil
	})
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	close(s.gate)
	<-ended
	x.awaitIDs(s, "a")
	x.awaitPending(0)
}

func TestSubjectWithoutStream(t *testing.T) {
	x := newRig(t)
	s := &store{}
	source, _ := x.run(s)
	x.eventually(func() error {
		if p := source.Info().Problem; p != "no stream captures subject IN" {
			return fmt.Errorf("problem = %q; want that no stream captures subject IN", p)
		}
		return nil
	})
	x.SetStreams(context.Background(), []queue.Stream{inStream})
	x.eventually(func() error { _, err := x.js.Stream(context.Background(), "S"); return err })
	x.publish("a")
	x.awaitIDs(s, "a")
}

func TestWhatIsThereIsLeftAsItIs(t *testing.T) {
	x := newRig(t, queue.Stream{Name: "S", Subjects: []string{"IN", "OTHER"}})
	ctx := context.Background()
	_, err := x.js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{
		Durable: "eventd-APP-in", FilterSubject: "IN", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 9 * time.Second, MaxAckPending: 7,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.SetStreams(ctx, []queue.Stream{inStream})
	s := &store{}
	x.run(s)
	x.publish("a")
	x.awaitIDs(s, "a")
	c, err := x.js.Consumer(ctx, "S", "eventd-APP-in")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.CachedInfo().Config; got.MaxAckPending != 7 || got.AckWait != 9*time.Second {
		t.Errorf("consumer was changed to %+v", got)
	}
	stream, err := x.js.Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.Subjects; len(got) != 2 {
		t.Errorf("subjects of the stream were changed to %v", got)
	}
}
