package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	bolt "go.etcd.io/bbolt"

	"github.com/eventd-io/eventd/api/wire"
)

// slowSite is a daemon whose handler answers when it is let go.
func slowSite(t *testing.T) (s *site, busy, letGo chan struct{}) {
	t.Helper()
	busy, letGo = make(chan struct{}, 8), make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		busy <- struct{}{}
		select {
		case <-letGo:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(h.Close)
	return newSite(t, `
service: DEMO
nats: {embedded: {listen: none}}
handlers: {slow: {http: "`+h.URL+`", timeout: 1m}}
routes: [{message_type: "*", handler: slow}]
`), busy, letGo
}

// TestDrain: SIGTERM lets what runs finish, takes nothing more, and exits 0.
func TestDrain(t *testing.T) {
	s, busy, letGo := slowSite(t)
	p := s.start()
	s.up(p)
	if _, err := s.client().Send(context.Background(), wire.NewEvent{MessageType: "X", EventID: "x"}); err != nil {
		t.Fatal(err)
	}
	<-busy
	p.signal(syscall.SIGTERM)
	if !eventually(func() bool { return strings.Contains(s.log.String(), `"message":"stopping"`) }) {
		t.Fatal("it does not stop")
	}
	if p.over() {
		t.Fatal("it ended while an attempt ran")
	}
	close(letGo)
	p.ends(0)

	p = s.start()
	s.up(p)
	d, err := s.client().Show(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if r := d.Rows[0]; r.Status != "COMPLETED" || r.Attempts != 1 {
		t.Errorf("after the drain it is %s after %d attempts; want COMPLETED after 1", r.Status, r.Attempts)
	}
	p.signal(os.Interrupt)
	p.ends(0)
}

// TestSecondSignal: who cannot wait gets exit code 1 at once, and the attempt
// that ran is counted.
func TestSecondSignal(t *testing.T) {
	s, busy, _ := slowSite(t)
	p := s.start()
	s.up(p)
	if _, err := s.client().Send(context.Background(), wire.NewEvent{MessageType: "X", EventID: "x"}); err != nil {
		t.Fatal(err)
	}
	<-busy
	p.signal(syscall.SIGTERM)
	if !eventually(func() bool { return strings.Contains(s.log.String(), `"message":"stopping"`) }) {
		t.Fatal("it does not stop")
	}
	p.signal(syscall.SIGTERM)
	p.ends(1)
	if last := s.log.tail(1); !strings.HasPrefix(last, "eventd: ended at once by a second signal") {
		t.Errorf("the last line is %q", last)
	}

	p = s.start()
	s.up(p)
	d, err := s.client().Show(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if r := d.Rows[0]; r.Status != "RETRY" || r.Reason != "interrupted" || r.Attempts != 1 {
		t.Errorf("after that it is %s %s after %d attempts; want RETRY interrupted after 1", r.Status, r.Reason, r.Attempts)
	}
}

// TestRefusedByNATS: credentials that will never do end it with 6.
func TestRefusedByNATS(t *testing.T) {
	s := newSite(t, `
service: DEMO
nats: {url: "nats://NATS", user: eventd, password_file: password}
handlers: {console: {log: {}}}
routes: [{message_type: "*", handler: console}]
`)
	s.startNATS(func(o *server.Options) { o.Username, o.Password = "eventd", "right-one-0815" })
	if err := os.WriteFile(filepath.Join(s.dir, "password"), []byte("wrong-one-4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start().ends(6)
	if last := s.log.tail(1); !strings.HasPrefix(last, "eventd: NATS refuses the connection") {
		t.Errorf("the last line is %q", last)
	}
	if strings.Contains(s.log.String(), "wrong-one-4711") {
		t.Error("the password is in the log")
	}
}

// TestNewerStore: a store of a later version ends it with 5 and stays as it is.
func TestNewerStore(t *testing.T) {
	s := newSite(t, `
service: DEMO
nats: {embedded: {listen: none}}
handlers: {console: {log: {}}}
routes: [{message_type: "*", handler: console}]
`)
	p := s.start()
	s.up(p)
	p.signal(syscall.SIGTERM)
	p.ends(0)

	db, err := bolt.Open(filepath.Join(s.dir, "eventd-data", "eventd.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, 99})
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s.start().ends(5)
	if last := s.log.tail(1); !strings.HasPrefix(last, "eventd: eventd-data/eventd.db: store is newer") {
		t.Errorf("the last line is %q", last)
	}
}
