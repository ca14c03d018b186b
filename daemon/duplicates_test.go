package daemon_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// TestDedupeWindow sends the same event again after a restart, through the API
// and a source, with a window and without.
func TestDedupeWindow(t *testing.T) {
	for window, want := range map[string]int{"24h": 1, "0s": 2} {
		t.Run(window, func(t *testing.T) {
			url, _ := endpoint(t)
			p := run(t, routes(url)+"store: {dedupe_window: "+window+"}\n")
			send := func(duplicate bool) {
				t.Helper()
				receipt, err := p.Send(context.Background(), wire.NewEvent{MessageType: "RQ_A", EventID: "api"})
				if err != nil || receipt.Duplicate != duplicate {
					t.Errorf("Send = %+v, %v; want duplicate %t", receipt, err, duplicate)
				}
				publish(t, p.nats, "IN", `{"event_id":"in","message_type":"RQ_A"}`, `{"event_id":"in","message_type":"RQ_A"}`)
			}
			rows := func(id string, want int) {
				t.Helper()
				p.eventually(func() error {
					list, err := p.List(context.Background(), client.Query{CorrelationID: id})
					if err == nil && len(list.Events) != want {
						err = fmt.Errorf("%d events %s; want %d", len(list.Events), id, want)
					}
					return err
				})
			}
			send(false)
			rows("in", want)
			p.stop()
			p.start()
			send(want == 1)
			publish(t, p.nats, "IN", `{"event_id":"end","message_type":"RQ_A"}`)
			p.await("end", "COMPLETED") // and so is what came before
			rows("api", want)
			rows("in", want*want) // the first, or each of the four
		})
	}
}
