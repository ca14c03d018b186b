package queue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publications are messages that wait for their PubAcks. They do what
// [jetstream.JetStream] does in PublishMsgAsync without a timer, channels and a
// decoding by reflection for each message.
type publications struct {
	mu      sync.Mutex
	inbox   string // what the subjects of PubAcks begin with; "" until it is subscribed to
	last    uint64 // each message has a number of its own: the PubAck of another must not count
	waiting map[uint64]chan<- error
}

// expect returns the subject that the PubAck of a message is to come to, and its
// number there. What comes of it is sent to a channel that has room for it, unless
// it is forgotten before.
func (p *publications) expect(c *nats.Conn, acked chan<- error) (n uint64, reply string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inbox == "" {
		inbox := c.NewInbox() + "."
		if _, err := c.Subscribe(inbox+"*", p.receive); err != nil {
			return 0, "", fmt.Errorf("subscribe to PubAcks: %w", err)
		}
		p.inbox, p.waiting = inbox, map[uint64]chan<- error{}
	}
	p.last++
	p.waiting[p.last] = acked
	return p.last, p.inbox + strconv.FormatUint(p.last, 36), nil
}

// forget ends the waiting for a PubAck. The channel is empty then, and stays so.
func (p *publications) forget(n uint64, acked chan error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, n)
	select {
	case <-acked: //nolint:errcheck // nobody waits for it any more
	default:
	}
}

// receive takes a PubAck. It is called by the client.
func (p *publications) receive(m *nats.Msg) {
	verdict := readPubAck(m)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(m.Subject) < len(p.inbox) {
		return
	}
	n, err := strconv.ParseUint(m.Subject[len(p.inbox):], 36, 64)
	acked, ok := p.waiting[n]
	if err != nil || !ok {
		return
	}
	delete(p.waiting, n)
	acked <- verdict
}

// fail ends the waiting for all PubAcks.
func (p *publications) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, acked := range p.waiting {
		acked <- err
	}
	clear(p.waiting)
}

// readPubAck returns nil when a stream has the message. Errors: [nats.ErrNoResponders]
// when no stream captures its subject, a [jetstream.APIError], and
// [jetstream.ErrInvalidJSAck].
func readPubAck(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return nats.ErrNoResponders
	}
	if plainAck(m.Data) {
		return nil
	}
	var ack struct {
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err == nil && ack.Error != nil:
		return ack.Error
	case err != nil || ack.Stream == "":
		return jetstream.ErrInvalidJSAck
	}
	return nil
}

// plainAck reports whether a PubAck is what servers mostly send, to the letter:
// {"stream":"NAME","seq":12}. Names of streams have neither quotes nor backslashes.
func plainAck(b []byte) bool {
	name, ok := bytes.CutPrefix(b, []byte(`{"stream":"`))
	i := bytes.IndexByte(name, '"')
	if !ok || i < 1 || bytes.IndexByte(name[:i], '\\') >= 0 {
		return false
	}
	number, ok := bytes.CutPrefix(name[i:], []byte(`","seq":`))
	digits := bytes.TrimLeft(number, "0123456789")
	return ok && len(digits) < len(number) && string(digits) == "}"
}
