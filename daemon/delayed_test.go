package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func publishWith(t *testing.T, address, subject, body string, header nats.Header) {
	t.Helper()
	nc, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(subject)
	m.Header, m.Data = header, []byte(body)
	if _, err := js.PublishMsg(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

func post(t *testing.T, p *product, id string, header http.Header) {
	t.Helper()
	header.Set("Ce-Specversion", "1.0")
	header.Set("Ce-Id", id)
	header.Set("Ce-Source", "/test")
	header.Set("Ce-Type", "RQ_A")
	if receipts, err := p.Post(context.Background(), header, []byte(id)); err != nil || len(receipts) != 1 {
		t.Fatalf("Post = %+v, %v", receipts, err)
	}
}

// first returns when the first attempt of an event began.
func first(d wire.Detail) (time.Time, error) {
	for _, e := range d.Timeline {
		if e.Status == "IN_PROGRESS" {
			return e.At.Time, nil
		}
	}
	return time.Time{}, errors.New("there was no attempt")
}

// TestDelayedEvents are handed out at their time and not before, whichever way
// they came and over a restart.
func TestDelayedEvents(t *testing.T) {
	url, _ := endpoint(t)
	p := run(t, routes(url))
	const delay = 1500 * time.Millisecond
	at := time.Now().Add(delay).UTC()
	post(t, p, "api-delay", http.Header{"Eventd-Delay": {delay.String()}})
	post(t, p, "api-at", http.Header{"Eventd-Deliver-At": {at.Format(time.RFC3339Nano)}})
	post(t, p, "api-past", http.Header{"Eventd-Deliver-At": {"2020-01-01T00:00:00Z"}})
	body := `{"event_id":%q,"message_type":"RQ_A"}`
	publishWith(t, p.nats, "IN", fmt.Sprintf(body, "js-delay"), nats.Header{"Eventd-Delay": {delay.String()}})
	publishWith(t, p.nats, "IN", fmt.Sprintf(body, "js-at"), nats.Header{"Eventd-Deliver-At": {at.Format(time.RFC3339Nano)}})
	publishWith(t, p.nats, "IN", fmt.Sprintf(body, "js-past"), nats.Header{"Eventd-Delay": {"-1s"}})
	p.await("api-past", "COMPLETED")
	p.await("js-past", "COMPLETED")
	delayed := []string{"api-delay", "api-at", "js-delay", "js-at"}
	for _, id := range delayed {
		r := p.await(id, "UNPROCESSED").Rows[0]
		if early := r.DeliverAtDttm.Sub(at); early < -time.Millisecond || early > delay {
			t.Errorf("%s: deliver_at_dttm = %s; want %s or a little later", id, r.DeliverAtDttm, at)
		}
	}
	p.stop()
	p.start()
	for _, id := range delayed {
		d := p.await(id, "COMPLETED")
		began, err := first(d)
		if due := d.Rows[0].DeliverAtDttm.Time; err != nil || began.Before(due) {
			t.Errorf("%s: began at %s, %v; due at %s", id, began, err, due)
		}
	}
}

// TestDelayedEventsThatExpire end as FAILED `expired` at their time, also over a
// restart, and reach no handler.
func TestDelayedEventsThatExpire(t *testing.T) {
	url, calls := endpoint(t)
	p := run(t, routes(url))
	expiry := time.Now().Add(time.Second).UTC()
	soon := expiry.Format(time.RFC3339Nano)
	post(t, p, "api", http.Header{"Eventd-Delay": {"1h"}, "Ce-Expirytime": {soon}})
	post(t, p, "over", http.Header{"Ce-Expirytime": {"2020-01-01T00:00:00Z"}})
	publishWith(t, p.nats, "IN", "{}", nats.Header{
		"Ce-Specversion": {"1.0"}, "Ce-Id": {"js"}, "Ce-Source": {"/up"}, "Ce-Type": {"RQ_A"},
		"Eventd-Delay": {"1h"}, "Ce-Expirytime": {soon},
	})
	p.await("over", "FAILED")
	p.await("api", "UNPROCESSED")
	p.await("js", "UNPROCESSED")
	p.stop()
	p.start()
	for _, id := range []string{"api", "js", "over"} {
		d := p.await(id, "FAILED")
		if r := d.Rows[0]; r.Reason != "expired" || r.Attempts != 0 || r.UpdatedDttm.Before(r.ExpiresDttm.Time) {
			t.Errorf("%s = %+v; want FAILED expired after its expiry, without an attempt", id, r)
		}
	}
	if calls() != 0 {
		t.Errorf("the handler was called %d times; want 0", calls())
	}
}
