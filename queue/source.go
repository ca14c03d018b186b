package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Intake takes decoded messages.
type Intake interface {
	// Accept stores messages; when it returns nil all of them are on disk, and
	// they are acknowledged. After an error none is. It does not keep the slice.
	Accept(ctx context.Context, messages []event.Message) ([]event.Receipt, error)
}

// Positions remembers how far a source has come, over restarts.
type Positions interface {
	// LastPosition returns a position up to which everything is stored; zero
	// when none is known.
	LastPosition(source string) event.Position
	SavePosition(ctx context.Context, source string, p event.Position) error
}

// SourceOptions say what to receive. They can be compared.
type SourceOptions struct {
	Name          string
	Service       string // the application: created_by, and part of the consumer's name
	Stream        string // "" to find it by subject
	Subject       string
	Table         event.Table
	SourceService string
	TargetService string
	MessageType   string // for messages that do not say theirs
	MaxAckPending int
	AckWait       time.Duration
}

// Origin returns what the options alone say of a message.
func (o *SourceOptions) Origin() envelope.Origin {
	return envelope.Origin{
		Table: o.Table, Source: o.Name, SourceService: o.SourceService, TargetService: o.TargetService,
		MessageType: o.MessageType, CreatedBy: o.Service,
	}
}

// Source receives messages through a durable consumer.
type Source struct {
	options   SourceOptions
	conn      *Conn
	intake    Intake
	positions Positions
	log       zerolog.Logger
	durable   string
	checks    atomic.Pointer[Checks] // nil expects nothing

	mu      sync.Mutex
	info    event.SourceInfo
	held    string        // why it must not pull; "" for nothing in the way
	saved   uint64        // stream sequence of the position saved last
	most    int           // messages in a batch; commit's
	stopped bool          // paused or held
	resumed chan struct{} // closed while not stopped
	pause   chan struct{} // closed while stopped
}

// NewSource returns a source that receives nothing before [Source.Run].
func (c *Conn) NewSource(o SourceOptions, intake Intake, positions Positions) *Source {
	s := &Source{
		options: o, conn: c, intake: intake, positions: positions, durable: "eventd-" + o.Service + "-" + o.Name,
		log:     c.log.With().Str("source", o.Name).Logger(),
		resumed: make(chan struct{}), pause: make(chan struct{}), most: maxBatch,
	}
	close(s.resumed)
	s.info = event.SourceInfo{
		Name: o.Name, Subject: o.Subject, Stream: o.Stream, Consumer: s.durable, Table: o.Table,
		Problem: "not started",
	}
	return s
}

// Pause stops pulling. What was pulled is still accepted.
func (s *Source) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.Paused = true
	s.turn()
}

// Resume pulls again.
func (s *Source) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.Paused = false
	s.turn()
}

// Hold stops pulling while there is a reason why nothing can be taken, "" for
// none any more. It stands beside a pause: pulling goes on when neither is.
func (s *Source) Hold(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = why
	s.turn()
}

// turn opens or closes the gates. The caller holds mu.
func (s *Source) turn() {
	stop := s.info.Paused || s.held != ""
	if stop == s.stopped {
		return
	}
	s.stopped = stop
	if stop {
		s.resumed = make(chan struct{})
		close(s.pause)
		return
	}
	s.pause = make(chan struct{})
	close(s.resumed)
}

func (s *Source) gates() (resumed, pause <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed, s.pause
}

// Info tells how the source stands.
func (s *Source) Info() event.SourceInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.info
	if s.held != "" {
		i.Held, i.Problem = true, s.held
	}
	i.Connected = s.conn.Connected() && i.Problem == ""
	return i
}

// setProblem says why nothing is received; "" for nothing in the way. What is
// new is logged.
func (s *Source) setProblem(why string) {
	s.mu.Lock()
	old := s.info.Problem
	s.info.Problem = why
	s.mu.Unlock()
	switch why {
	case old:
	case "":
		s.log.Info().Str("consumer", s.durable).Msg("source is receiving")
	default:
		s.log.Warn().Str("problem", why).Msg("source is not receiving; trying again until it can")
	}
}

// Bounds of the pause between two tries to receive.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Run receives until ctx ends. Whatever stands in the way is tried again, and
// [Source.Info] says what it is. When it returns, what was accepted is
// acknowledged.
func (s *Source) Run(ctx context.Context) error {
	wait := firstPause
	for {
		resumed, _ := s.gates()
		back := s.conn.back()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-resumed:
		}
		received, err := s.receive(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			continue // paused
		}
		if received {
			wait = firstPause
		}
		s.setProblem(s.explain(err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-back:
			wait = firstPause
			continue
		case <-time.After(wait):
		}
		wait = min(2*wait, lastPause)
	}
}

// explain says in words of the configuration what is in the way.
func (s *Source) explain(err error) string {
	if !s.conn.Connected() {
		return "no connection to NATS: " + s.conn.Problem()
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) && s.options.Stream == "" {
		return "no stream captures subject " + s.options.Subject
	}
	return err.Error()
}

// Bounds of what is accepted at once.
const (
	maxBatch      = 512
	maxBatchBytes = 4 << 20
)

// received is a message with what it was decoded to.
type received struct {
	message jetstream.Msg
	event   event.Message
}

// receive binds the consumer and receives until something is in the way, the
// source is paused (nil), or ctx ends. It reports whether anything was received.
func (s *Source) receive(ctx context.Context) (any bool, err error) {
	if !s.conn.Connected() {
		return false, fmt.Errorf("not connected")
	}
	consumer, err := s.bind(ctx)
	if err != nil {
		return false, err
	}
	// Half of what may be pending is asked for ahead, the rest is at work.
	messages, err := consumer.Messages(
		jetstream.PullMaxMessages(max(min(s.options.MaxAckPending, 2*maxBatch), 1)),
		jetstream.PullExpiry(30*time.Second), jetstream.PullHeartbeat(2*time.Second),
	)
	if err != nil {
		return false, err
	}
	s.setProblem("")
	return s.pump(ctx, consumer, messages)
}

// pump moves messages from an iterator to the intake. One goroutine reads and
// decodes while the other commits.
func (s *Source) pump(ctx context.Context, consumer jetstream.Consumer, messages jetstream.MessagesContext) (any bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, pause := s.gates()
	queue := make(chan received, maxBatch)
	var readErr error
	var running sync.WaitGroup
	running.Go(func() {
		defer close(queue)
		readErr = s.read(messages, queue)
	})
	running.Go(func() { s.watch(ctx, consumer) })
	stop := context.AfterFunc(ctx, messages.Drain) // what is pulled is still taken
	defer stop()
	running.Go(func() {
		select {
		case <-pause:
			messages.Drain()
		case <-ctx.Done():
		}
	})
	any, err = s.commit(ctx, queue)
	if err != nil {
		messages.Drain() // what the server has sent is handed back, too
	} else {
		messages.Stop()
	}
	for r := range queue {
		_ = r.message.Nak() // delivered again, sooner than when it is waited for
	}
	cancel()
	running.Wait()
	if err == nil && !errors.Is(readErr, jetstream.ErrMsgIteratorClosed) {
		err = readErr
	}
	return any, err
}

// read takes messages off the iterator until it ends, and says why it did.
func (s *Source) read(messages jetstream.MessagesContext, queue chan<- received) error {
	for {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		decoded, err := s.decode(m)
		if err != nil {
			return err
		}
		queue <- received{message: m, event: decoded}
	}
}

func (s *Source) decode(m jetstream.Msg) (event.Message, error) {
	meta, err := m.Metadata()
	if err != nil {
		return event.Message{}, fmt.Errorf("message without JetStream metadata: %w", err)
	}
	origin := s.options.Origin()
	origin.Topic, origin.At = m.Subject(), time.Now().UTC()
	origin.Position = event.Position{Stream: meta.Stream, Sequence: meta.Sequence.Stream, Stored: meta.Timestamp}
	if c := s.checks.Load(); c != nil {
		return c.decode(m, origin), nil
	}
	return envelope.Decode(m.Headers(), m.Data(), origin), nil
}

// commit hands batches to the intake and acknowledges them, until the queue is
// closed and empty. A batch is whatever is waiting: nothing lingers. After one that
// could not be taken it is half as much, since there may be room for less.
func (s *Source) commit(ctx context.Context, queue <-chan received) (any bool, err error) {
	var batch []received
	var messages []event.Message
	for first := range queue {
		batch = collect(append(batch[:0], first), queue, s.most)
		messages = messages[:0]
		for i := range batch {
			messages = append(messages, batch[i].event)
		}
		// What was pulled is finished even when the source is being stopped.
		if _, err := s.intake.Accept(context.WithoutCancel(ctx), messages); err != nil {
			for i := range batch {
				_ = batch[i].message.Nak()
			}
			if errors.Is(err, event.ErrUnavailable) {
				s.most = max(len(batch)/2, 1)
			}
			return any, fmt.Errorf("not stored: %w", err)
		}
		for i := range batch {
			// A lost acknowledgement makes a redelivery, which is recognised.
			_ = batch[i].message.Ack()
		}
		s.most = min(s.most+1, maxBatch)
		clear(messages) // and let go of the payloads
		clear(batch)
		any = true
	}
	return any, nil
}

// collect adds what is waiting to a batch, up to so many messages.
func collect(batch []received, queue <-chan received, most int) []received {
	size := len(batch[0].event.Payload)
	for len(batch) < most && size < maxBatchBytes {
		select {
		case r, ok := <-queue:
			if !ok {
				return batch
			}
			batch = append(batch, r)
			size += len(r.event.Payload)
		default:
			return batch
		}
	}
	return batch
}
