package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/nats-io/nats.go/jetstream"
)

// bindTimeout bounds the calls to the server that find or make the consumer.
const bindTimeout = 5 * time.Second

// bind returns the durable consumer: the one that is there, as it is, or a new
// one behind what is safely stored.
func (s *Source) bind(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	name := s.options.Stream
	if name == "" {
		var err error
		if name, err = s.conn.js.StreamNameBySubject(ctx, s.options.Subject); err != nil {
			return nil, err
		}
	}
	stream, err := s.conn.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	s.mu.Lock()
	s.info.Stream = name
	s.mu.Unlock()
	consumer, err := stream.Consumer(ctx, s.durable)
	if err == nil {
		s.compare(consumer.CachedInfo().Config)
		return consumer, nil
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("consumer %s: %w", s.durable, err)
	}
	return s.create(ctx, stream)
}

// create makes the consumer. Where this source has received from the same
// stream before, it begins behind the last position that is safely stored.
func (s *Source) create(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	config := jetstream.ConsumerConfig{
		Durable: s.durable, FilterSubject: s.options.Subject, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: s.options.AckWait, MaxAckPending: s.options.MaxAckPending, MaxDeliver: -1,
		DeliverPolicy: jetstream.DeliverAllPolicy, Description: "made by eventd for source " + s.options.Name,
	}
	last := s.positions.LastPosition(s.options.Name)
	again, err := s.sameStream(ctx, stream, last)
	if err != nil {
		return nil, err
	}
	if again {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, last.Sequence+1
	}
	consumer, err := stream.CreateConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("make consumer %s: %w", s.durable, err)
	}
	s.log.Info().Str("consumer", s.durable).Str("stream", stream.CachedInfo().Config.Name).
		Uint64("start_sequence", config.OptStartSeq).Msg("consumer made")
	return consumer, nil
}

// sameStream reports whether a position is one of this very stream, and not of
// an earlier one with the same name, whose sequences began at 1 as well.
func (s *Source) sameStream(ctx context.Context, stream jetstream.Stream, last event.Position) (bool, error) {
	info := stream.CachedInfo()
	if last.IsZero() || last.Stream != info.Config.Name || last.Sequence > info.State.LastSeq {
		return false, nil
	}
	if last.Sequence < info.State.FirstSeq {
		// The message is gone. The stream's own age tells.
		return !last.Stored.Before(info.Created), nil
	}
	m, err := stream.GetMsg(ctx, last.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return !last.Stored.Before(info.Created), nil
	}
	if err != nil {
		return false, fmt.Errorf("message %d of stream %s: %w", last.Sequence, info.Config.Name, err)
	}
	return m.Time.Equal(last.Stored), nil
}

// compare says what differs from the configuration, and changes nothing.
func (s *Source) compare(is jetstream.ConsumerConfig) {
	o := &s.options
	if is.FilterSubject == o.Subject && is.AckWait == o.AckWait && is.MaxAckPending == o.MaxAckPending &&
		is.AckPolicy == jetstream.AckExplicitPolicy && is.MaxDeliver == -1 {
		return
	}
	s.log.Warn().Str("consumer", s.durable).Str("filter_subject", is.FilterSubject).Str("ack_wait", is.AckWait.String()).
		Int("max_ack_pending", is.MaxAckPending).Int("max_deliver", is.MaxDeliver).Stringer("ack_policy", is.AckPolicy).
		Msg("consumer differs from the configuration and is left as it is; delete it to have it made anew")
}

// watchInterval is how often the consumer is asked how it stands.
const watchInterval = 2 * time.Second

// watch keeps pending counts current, and saves the acknowledged position:
// everything up to it is stored.
func (s *Source) watch(ctx context.Context, consumer jetstream.Consumer) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		s.look(ctx, consumer)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Source) look(ctx context.Context, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	info, err := consumer.Info(ctx)
	if err != nil {
		return // what is in the way shows in the messages that do not come
	}
	s.mu.Lock()
	s.info.Pending, s.info.AckPending = info.NumPending, info.NumAckPending
	floor := info.AckFloor.Stream
	news := floor > 0 && floor != s.saved
	s.mu.Unlock()
	if news {
		s.save(ctx, info.Stream, floor)
	}
}

// save keeps the acknowledged position with the time its message was stored,
// which tells this stream from a later one of the same name.
func (s *Source) save(ctx context.Context, name string, floor uint64) {
	stream, err := s.conn.js.Stream(ctx, name)
	if err != nil {
		return
	}
	p := event.Position{Stream: name, Sequence: floor, Stored: time.Now()}
	if m, err := stream.GetMsg(ctx, floor); err == nil {
		p.Stored = m.Time
	} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return
	}
	if err := s.positions.SavePosition(ctx, s.options.Name, p); err != nil {
		return // the position saved before is as safe, only older
	}
	s.mu.Lock()
	s.saved = floor
	s.mu.Unlock()
}
