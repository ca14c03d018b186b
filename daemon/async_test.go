package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

func asyncRoutes(url, rest string) string {
	return fmt.Sprintf(`
retry: {default: {backoff: constant, initial: 10ms, jitter: 0}}
handlers:
  h: {service: HANDLER, http: %q, async: true%s}
  done: {log: {}}
routes:
  - {message_type: JOB, handler: h}
  - {message_type: DONE, handler: done}
`, url, rest)
}

// accepting answers 202 and tells the claims.
func accepting(t *testing.T) (url string, claims chan string) {
	t.Helper()
	claims = make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims <- r.Header.Get("Eventd-Claim-Id")
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprint(w, "in the queue")
	}))
	t.Cleanup(s.Close)
	return s.URL, claims
}

// TestAsynchronousHandler over the wire: completed with follow-ups over a restart,
// failed, extended and released.
func TestAsynchronousHandler(t *testing.T) {
	ctx := context.Background()
	url, claims := accepting(t)
	p := run(t, asyncRoutes(url, ", concurrency: 1"))
	p.job("e1")
	first := <-claims
	p.job("e2")
	second := <-claims
	p.eventually(func() error {
		d, err := p.Show(ctx, "e2")
		if err == nil && !strings.Contains(fmt.Sprint(d.Timeline), "in the queue") {
			err = errors.New("the answer 202 is not in the timeline")
		}
		return err
	})
	if d := p.await("e1", "IN_PROGRESS"); shapeOf(d) != "IN_PROGRESS 1, IN_PROGRESS 1" || d.Timeline[1].Code != 202 {
		t.Errorf("taken over: %s", shapeOf(d))
	}
	p.stop()
	p.start()
	if d := p.await("e1", "IN_PROGRESS"); d.Rows[0].Attempts != 1 {
		t.Errorf("after a restart: %s", shapeOf(d))
	}
	if err := p.Complete(ctx, first, wire.NewEvent{MessageType: "DONE", EventID: "done-e1"}); err != nil {
		t.Fatal(err)
	}
	if d := p.await("done-e1", "COMPLETED"); d.Rows[0].CausationID != "e1" || d.Rows[0].CreatedBy != "HANDLER" {
		t.Errorf("the follow-up: %+v", d.Rows[0])
	}
	if d := p.await("e1", "COMPLETED"); d.Rows[0].UpdatedBy != "HANDLER" {
		t.Errorf("completed by %s", d.Rows[0].UpdatedBy)
	}
	if _, err := p.Extend(ctx, second, 0); err != nil {
		t.Error(err)
	}
	if err := p.Release(ctx, second); err != nil {
		t.Error(err)
	}
	third := <-claims
	if err := p.Complete(ctx, second); !conflict(err) {
		t.Errorf("a released claim is completed: %v; want a conflict", err)
	}
	if err := p.Fail(ctx, third, wire.ClaimFailure{Reason: "paper jam"}); err != nil {
		t.Error(err)
	}
	fourth := <-claims
	if err := p.Complete(ctx, fourth); err != nil {
		t.Error(err)
	}
	// Claims that are used before the answer is stored leave no entry of it.
	shape := shapeOf(p.await("e2", "COMPLETED"))
	for _, step := range []string{"UNPROCESSED 1, IN_PROGRESS 2", "RETRY 2 claim_failed, IN_PROGRESS 3", "COMPLETED 3"} {
		if !strings.Contains(shape, step) {
			t.Errorf("e2: %s; want in it %s", shape, step)
		}
	}
}

func conflict(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Status == http.StatusConflict
}

// TestTakenOverForTooLongIsTriedAgain by the clock.
func TestTakenOverForTooLongIsTriedAgain(t *testing.T) {
	url, claims := accepting(t)
	p := run(t, asyncRoutes(url, ", async_timeout: 1s"))
	p.job("e1")
	first := <-claims
	second := <-claims
	if err := p.Complete(context.Background(), first); !conflict(err) {
		t.Errorf("completed too late: %v; want a conflict", err)
	}
	if err := p.Complete(context.Background(), second); err != nil {
		t.Error(err)
	}
	if d := p.await("e1", "COMPLETED"); !strings.Contains(shapeOf(d), "RETRY 1 claim_expired, IN_PROGRESS 2") {
		t.Errorf("timeline: %s", shapeOf(d))
	}
}
