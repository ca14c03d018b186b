package daemon_test

import (
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestNATSService is asked for a reply: nobody listens, then it is busy, then it
// answers with a follow-up event.
func TestNATSService(t *testing.T) {
	p := run(t, `
retry: {default: {backoff: constant, initial: 20ms, jitter: 0, max_attempts: unlimited}}
handlers:
  ledger: {"nats": ledger.post, timeout: 2s}
  done: {log: {}}
routes:
  - {message_type: JOB, handler: ledger}
  - {message_type: BOOKED, handler: done}
`)
	p.job("j1")
	p.await("j1", "RETRY")
	nc, err := nats.Connect("nats://" + p.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var asked atomic.Int32
	if _, err := nc.Subscribe("ledger.post", func(m *nats.Msg) {
		r := nats.NewMsg(m.Reply)
		if asked.Add(1) == 1 {
			r.Header.Set("Nats-Service-Error", "busy")
			r.Header.Set("Nats-Service-Error-Code", "503")
		} else {
			for name, value := range map[string]string{"ce-specversion": "1.0", "ce-id": "b1", "ce-type": "BOOKED", "ce-source": "/ledger"} {
				r.Header.Set(name, value)
			}
		}
		_ = m.RespondMsg(r)
	}); err != nil {
		t.Fatal(err)
	}
	d := p.await("j1", "COMPLETED")
	seen := map[string]bool{}
	for _, e := range d.Timeline {
		seen[e.Reason] = true
	}
	if !seen["nats_no_responders"] || !seen["http_503"] {
		t.Errorf("timeline %+v; want nats_no_responders and http_503 in it", d.Timeline)
	}
	if b := p.await("b1", "COMPLETED"); b.Rows[0].CausationID != "j1" {
		t.Errorf("the follow-up is caused by %q; want j1", b.Rows[0].CausationID)
	}
}
