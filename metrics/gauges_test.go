package metrics_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/metrics"
)

func TestGaugesShowTheSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, metrics.Labels{Sources: []string{"up", "new"}, Schedules: []string{"schedules/s"}, Handlers: []string{"busy", "gone", "manual", "new"}})
		now := time.Now()
		f.SetSnapshot(func() event.Snapshot {
			return event.Snapshot{
				Counts: event.Counts{event.Inbound: {event.Completed: 5, event.Retry: 2}, event.Request: {event.Failed: 1}},
				Handlers: []event.HandlerInfo{
					{Name: "busy", InFlight: 3, Queue: 4, Retries: 5, Claims: 6, Overdue: 11, BlockedKeys: 12, RestUntil: now.Add(2 * time.Minute), BreakerUntil: now.Add(2 * time.Minute)},
					{Name: "gone", Paused: true, PauseReason: "gone"},
					{Name: "manual", Paused: true, PauseReason: "manual", RestUntil: now, UnhealthySince: now, RateLimited: true},
					{Name: "not-configured", InFlight: 9},
				},
				Sources: []event.SourceInfo{{Name: "up", Connected: true, Pending: 7, AckPending: 8}},
				Store: event.StoreInfo{
					Size: 4096, Free: 1024, Outbox: 6, Quarantined: 2,
					Oldest: map[event.Status]time.Time{event.Retry: now, event.Error: now.Add(time.Hour)},
				},
				Connected: true,
			}
		})
		time.Sleep(90 * time.Second) // on the bubble's clock
		f.want(t, map[string]float64{
			`eventd_events{status="COMPLETED",table="inbound"}`:       5,
			`eventd_events{status="RETRY",table="inbound"}`:           2,
			`eventd_events{status="FAILED",table="request"}`:          1,
			`eventd_events{status="FAILED",table="response"}`:         0,
			`eventd_oldest_event_age_seconds{status="RETRY"}`:         90,
			`eventd_oldest_event_age_seconds{status="ERROR"}`:         0, // the clock was set back
			`eventd_oldest_event_age_seconds{status="UNPROCESSED"}`:   0,
			`eventd_oldest_event_age_seconds{status="COMPLETED"}`:     -1,
			`eventd_in_flight{handler="busy"}`:                        3,
			`eventd_claims{handler="busy"}`:                           6,
			`eventd_queue_length{handler="busy"}`:                     4,
			`eventd_retries_scheduled{handler="busy"}`:                5,
			`eventd_requests_overdue{handler="busy"}`:                 11,
			`eventd_requests_overdue{handler="new"}`:                  0,
			`eventd_order_keys_blocked{handler="busy"}`:               12,
			`eventd_order_keys_blocked{handler="new"}`:                0,
			`eventd_in_flight{handler="new"}`:                         0,
			`eventd_in_flight{handler="not-configured"}`:              -1,
			`eventd_handler_paused{handler="busy",reason="manual"}`:   0,
			`eventd_handler_paused{handler="busy",reason="resting"}`:  1,
			`eventd_handler_paused{handler="busy",reason="breaker"}`:  1,
			`eventd_handler_paused{handler="gone",reason="breaker"}`:  0,
			`eventd_handler_paused{handler="gone",reason="gone"}`:     1,
			`eventd_handler_paused{handler="gone",reason="manual"}`:   0,
			`eventd_handler_paused{handler="manual",reason="manual"}`: 1,
			`eventd_handler_paused{handler="manual",reason="gone"}`:   0,
			// Its rest is over.
			`eventd_handler_paused{handler="manual",reason="resting"}`:    0,
			`eventd_handler_paused{handler="manual",reason="unhealthy"}`:  1,
			`eventd_handler_paused{handler="manual",reason="rate_limit"}`: 1,
			`eventd_handler_paused{handler="busy",reason="unhealthy"}`:    0,
			`eventd_handler_paused{handler="busy",reason="rate_limit"}`:   0,
			`eventd_source_connected`:                                     1,
			`eventd_source_pending{source="up"}`:                          7,
			`eventd_source_ack_pending{source="up"}`:                      8,
			`eventd_source_pending{source="new"}`:                         0,
			`eventd_source_pending{source="api"}`:                         -1,
			`eventd_source_pending{source="schedules/s"}`:                 -1,
			`eventd_source_ack_pending{source="schedules/s"}`:             -1,
			`eventd_events_duplicate_total{source="schedules/s"}`:         0,
			`eventd_outbox_length`:                                        6,
			`eventd_store_size_bytes`:                                     4096,
			`eventd_store_free_bytes`:                                     1024,
			`eventd_store_quarantined`:                                    2,
		})
	})
}

func TestOneSnapshotForEachScrape(t *testing.T) {
	f := open(t, small())
	calls := 0
	f.SetSnapshot(func() event.Snapshot { calls++; return event.Snapshot{} })
	for range 3 {
		f.samples(t)
	}
	if calls != 3 {
		t.Errorf("3 scrapes took %d snapshots; want 3", calls)
	}
}

func TestConnected(t *testing.T) {
	up := event.SourceInfo{Name: "a", Connected: true}
	for _, c := range []struct {
		story   string
		nats    bool
		sources []event.SourceInfo
		want    float64
	}{
		{"no source", true, nil, 1},
		{"no NATS", false, nil, 0},
		{"all receive", true, []event.SourceInfo{up, up}, 1},
		{"one does not", true, []event.SourceInfo{up, {Name: "b"}}, 0},
		{"one has a problem", true, []event.SourceInfo{{Name: "b", Connected: true, Problem: "consumer deleted"}, up}, 0},
		{"one is paused", true, []event.SourceInfo{{Name: "b", Paused: true}, up}, 1},
		{"sources without NATS", false, []event.SourceInfo{up}, 0},
	} {
		f := open(t, small())
		f.SetSnapshot(func() event.Snapshot { return event.Snapshot{Connected: c.nats, Sources: c.sources} })
		if got := f.samples(t)["eventd_source_connected"]; got != c.want {
			t.Errorf("%s: eventd_source_connected = %v; want %v", c.story, got, c.want)
		}
	}
}
