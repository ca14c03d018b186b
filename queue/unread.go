package queue

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// unread notices answers that nobody has received: the server says so to the
// subject that an answer names for replies, when nobody listens on its own.
type unread struct {
	lost  func(ids []string) // is told what such an answer gave away
	inbox string
	sub   *nats.Subscription

	mu      sync.Mutex
	last    uint64
	answers map[string]*answered // by the subject for replies
}

type answered struct {
	ids   []string
	timer *time.Timer
}

// unreadPatience is how long the server may take to say that nobody listens. It
// takes one round trip.
const unreadPatience = 5 * time.Second

func (c *Conn) newUnread(lost func(ids []string)) (*unread, error) {
	u := &unread{lost: lost, inbox: c.nats.NewInbox(), answers: make(map[string]*answered)}
	var err error
	if u.sub, err = c.nats.Subscribe(u.inbox+".*", u.receive); err != nil {
		return nil, err
	}
	return u, nil
}

func (u *unread) close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.answers {
		a.timer.Stop()
	}
	clear(u.answers)
	if err := u.sub.Unsubscribe(); !errors.Is(err, nats.ErrConnectionClosed) {
		return err
	}
	return nil
}

// expect returns the subject for replies of an answer that gives away ids.
func (u *unread) expect(ids []string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last++
	subject := u.inbox + "." + strconv.FormatUint(u.last, 36)
	u.answers[subject] = &answered{ids: ids, timer: time.AfterFunc(unreadPatience, func() { u.forget(subject) })}
	return subject
}

// forget returns what an answer gave away, unless it is forgotten already.
func (u *unread) forget(subject string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.answers[subject]
	if a == nil {
		return nil
	}
	a.timer.Stop()
	delete(u.answers, subject)
	return a.ids
}

// receive takes what comes to the subjects for replies. All but "nobody listens"
// says that somebody did.
func (u *unread) receive(m *nats.Msg) {
	const noResponders = "503"
	ids := u.forget(m.Subject)
	if len(ids) > 0 && len(m.Data) == 0 && m.Header.Get("Status") == noResponders {
		u.lost(ids)
	}
}
