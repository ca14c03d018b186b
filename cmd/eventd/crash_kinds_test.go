package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// TestKillWithBatches: each event of a batch that was on its way in a crash was
// interrupted for itself.
func TestKillWithBatches(t *testing.T) {
	counted, single := startHandler(t)
	single.Close()
	h := httptest.NewServer(http.HandlerFunc(counted.serveBatch))
	t.Cleanup(h.Close)
	crash(t, crashRounds(t, 2), false, counted, `{http: "`+h.URL+`", batch: {max: 20, wait: 5ms}, concurrency: 4, timeout: 5s}`)
}

// serveBatch executes the events of a batch at the same time.
func (e *executions) serveBatch(w http.ResponseWriter, r *http.Request) {
	var batch []struct{ ID string }
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	results := make([]string, len(batch))
	var all sync.WaitGroup
	for i, b := range batch {
		all.Go(func() {
			status, events := 503, "[]"
			if e.execute(r.Context(), b.ID) {
				status, events = 200, `[{"message_type": "FOLLOW", "payload": {"n": 2}}]`
			}
			results[i] = fmt.Sprintf(`{"event_id": %q, "status": %d, "events": %s}`, b.ID, status, events)
		})
	}
	all.Wait()
	_, _ = fmt.Fprintf(w, `{"results": [%s]}`, strings.Join(results, ", "))
}

// TestKillWithAsynchronousHandlers: what was taken over is concluded after the
// crash, by the claim that it had before.
func TestKillWithAsynchronousHandlers(t *testing.T) {
	counted, single := startHandler(t)
	single.Close()
	var work sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, claim := r.Header.Get("webhook-id"), r.Header.Get("Eventd-Claim-Id")
		work.Go(func() { counted.conclude(ctx, id, claim) })
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(func() { h.Close(); stop(); work.Wait() })
	crash(t, crashRounds(t, 2), false, counted, `{http: "`+h.URL+`", async: true, async_max: 200, concurrency: 16, timeout: 5s}`)
}

// conclude executes an event and says what became of it until the daemon has
// heard it, or says that the claim is over.
func (e *executions) conclude(ctx context.Context, id, claim string) {
	well := e.execute(ctx, id)
	for ctx.Err() == nil {
		var err error
		if well {
			err = e.claims.Complete(ctx, claim, wire.NewEvent{MessageType: "FOLLOW", Payload: json.RawMessage(`{"n": 2}`)})
		} else {
			err = e.claims.Fail(ctx, claim, wire.ClaimFailure{Reason: "not now"})
		}
		if !interruptible(err) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
