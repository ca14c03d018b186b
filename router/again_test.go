package router_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// undecodable is a message that was no event when it came through source in.
func undecodable(id string) event.Message {
	m := message(id, "", "payload of "+id)
	m.Source, m.Problem, m.Detail = "in", event.Undecodable, "it says no message type"
	return m
}

// unwanted is a schema that a payload with this in it does not fit.
type unwanted string

func (u unwanted) Check(payload []byte) string {
	if strings.Contains(string(payload), string(u)) {
		return "it has " + string(u)
	}
	return ""
}

// TestUndecodableAreTakenUp: what is an event once the source says more becomes one,
// if it has a route; what it came as has ended, and says so.
func TestUndecodableAreTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		c := only(handlerTo("h", h))
		c.Routes[0].MessageTypes = []string{"A"}
		x := newRig(t, c)
		other := undecodable("other")
		other.Source = "out"
		x.accept(undecodable("one"), undecodable("own"), undecodable("still"), undecodable("unrouted"), undecodable("misfit"), other)
		c.Schemas = map[string]router.Checker{"in": unwanted("misfit")}
		c.Decoders = map[string]router.Decoder{"in": func(e *event.Event, payload []byte) event.Message {
			m := message(strings.TrimPrefix(string(payload), "payload of "), "A", string(payload))
			m.Source = e.Source
			switch e.ID {
			case "one", "misfit":
				m.ID = "named-" + e.ID
			case "still":
				m.Problem = event.Undecodable
			case "unrouted":
				m.MessageType = "B"
			}
			return m
		}}
		x.reload(c)
		synctest.Wait()
		for id, want := range map[string]string{
			"one": "ERROR undecodable, COMPLETED", "own": "ERROR undecodable, COMPLETED", "misfit": "ERROR undecodable, COMPLETED",
			"still": "ERROR undecodable", "unrouted": "ERROR undecodable", "other": "ERROR undecodable",
			"named-one": "IN_PROGRESS 1, COMPLETED 1", event.DeriveID("own", "decoded again"): "IN_PROGRESS 1, COMPLETED 1",
			"named-misfit": "ERROR invalid",
		} {
			if got := shape(x.find(id)); got != want {
				t.Errorf("%s: %s; want %s", id, got, want)
			}
		}
		if rec := x.find("named-one"); rec.CausationID != "one" || len(x.all()) != 9 {
			t.Errorf("caused by %q, %d events; want one, 9", rec.CausationID, len(x.all()))
		}
		if rec := x.find("named-one"); rec.CorrelationID != "named-one" || h.calls[0].Event.CorrelationID == "" {
			t.Errorf("its conversation is %q, and %q when it is handed over", rec.CorrelationID, h.calls[0].Event.CorrelationID)
		}
		if _, err := x.redrive("one", event.RedriveOrder{}); !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "decoded as another event") {
			t.Errorf("redrive of what it came as: %v", err)
		}
		if rec := x.find("one"); !strings.Contains(rec.Timeline[1].Detail, "event named-one of table inbound") {
			t.Errorf("detail: %s", rec.Timeline[1].Detail)
		}
		x.reload(c)
		synctest.Wait()
		if len(x.all()) != 9 || h.count() != 2 {
			t.Errorf("%d events, %d attempts after another reload; want 9, 2", len(x.all()), h.count())
		}
	})
}
