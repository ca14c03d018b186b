package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/eventd-io/eventd/api/wire"
)

// batches is a handler of batches. It answers what answer makes of the ids in
// one, and keeps how many there were.
type batches struct {
	mu     sync.Mutex
	sizes  []int
	tries  map[string]int
	answer func(w http.ResponseWriter, ids []string)
}

func (b *batches) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var list []struct {
		ID    string
		Table string `json:"eventdtable"`
	}
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ids := make([]string, len(list))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tries == nil {
		b.tries = map[string]int{}
	}
	b.sizes = append(b.sizes, len(list))
	for i, e := range list {
		ids[i] = e.ID
		b.tries[e.ID]++
	}
	b.answer(w, ids)
}

// results answers with what of says of each id; "" leaves it out.
func (b *batches) results(of func(id string, try int) string) func(http.ResponseWriter, []string) {
	return func(w http.ResponseWriter, ids []string) {
		var list []string
		for _, id := range ids {
			if text := of(id, b.tries[id]); text != "" {
				list = append(list, fmt.Sprintf(`{"event_id":%q,%s}`, id, text))
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"results":[%s]}`, strings.Join(list, ","))
	}
}

func batchRoutes(url, batch string) string {
	return fmt.Sprintf(`
retry: {default: {backoff: constant, initial: 10ms, jitter: 0, max_attempts: 3}}
handlers:
  h: {service: HANDLER, http: %q, batch: %s, concurrency: 2}
  done: {log: {}}
routes:
  - {message_type: RQ_A, handler: h}
  - {message_type: DONE, handler: done}
`, url, batch)
}

func (p *product) sendMany(n int) {
	p.t.Helper()
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"message_type":"RQ_A","event_id":"e%d","payload":{"n":1}}`, i)
	}
	r, err := http.Post("http://"+p.admin+"/v1/events", "application/json", strings.NewReader("["+strings.Join(list, ",")+"]"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusAccepted {
		p.t.Fatalf("%d events are answered %s", n, r.Status)
	}
}

func shapeOf(d wire.Detail) string {
	var list []string
	for _, e := range d.Timeline {
		list = append(list, strings.TrimSpace(fmt.Sprint(e.Status, " ", e.Attempt, " ", e.Reason)))
	}
	return strings.Join(list, ", ")
}

// TestBatchesOfEvents: a hundred events go out in few requests, and each has the
// outcome that the answer gives it.
func TestBatchesOfEvents(t *testing.T) {
	b := &batches{}
	b.answer = b.results(func(id string, try int) string {
		var n int
		_, _ = fmt.Sscanf(id, "e%d", &n)
		switch {
		case n%10 == 1:
			return `"status":422,"detail":"no such account"`
		case n%10 == 2 && try < 3:
			return `"status":503`
		case n%10 == 3 && try < 2:
			return "" // forgotten
		case n%10 == 4:
			return fmt.Sprintf(`"status":200,"events":[{"message_type":"DONE","event_id":"done-%s"}]`, id)
		}
		return `"status":200`
	})
	s := httptest.NewServer(b)
	defer s.Close()
	p := run(t, batchRoutes(s.URL, "{max: 40, wait: 1s}"))
	p.sendMany(100)
	for i, want := range []struct{ status, timeline string }{
		{"COMPLETED", "IN_PROGRESS 1, COMPLETED 1"},
		{"ERROR", "IN_PROGRESS 1, ERROR 1 rejected"},
		{"COMPLETED", "IN_PROGRESS 1, RETRY 1 http_503, IN_PROGRESS 2, RETRY 2 http_503, IN_PROGRESS 3, COMPLETED 3"},
		{"COMPLETED", "IN_PROGRESS 1, RETRY 1 bad_reply, IN_PROGRESS 2, COMPLETED 2"},
		{"COMPLETED", "IN_PROGRESS 1, COMPLETED 1"},
	} {
		for n := i; n < 100; n += 10 {
			if got := shapeOf(p.await(fmt.Sprint("e", n), want.status)); !strings.HasSuffix(got, want.timeline) {
				t.Errorf("e%d: %s; want %s", n, got, want.timeline)
			}
		}
	}
	d := p.await("done-e4", "COMPLETED")
	if r := d.Rows[0]; r.CorrelationID != "e4" || r.CausationID != "e4" || r.CreatedBy != "HANDLER" {
		t.Errorf("the follow-up is %+v; want it in the conversation of e4", r)
	}
	if d := p.await("e1", "ERROR"); d.Timeline[len(d.Timeline)-1].Detail != "no such account" || d.Timeline[len(d.Timeline)-1].Code != 422 {
		t.Errorf("e1: %+v", d.Timeline)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.sizes {
		if n > 40 {
			t.Errorf("%d events in one request; want at most 40", n)
		}
	}
	if n := len(b.sizes); n > 15 {
		t.Errorf("%d requests for 100 events and 30 further attempts: %v", n, b.sizes)
	}
}

// TestSameIDsGoInDifferentBatches: a request and the response to it have the same
// id, by which the answer names events.
func TestSameIDsGoInDifferentBatches(t *testing.T) {
	b := &batches{}
	b.answer = b.results(func(string, int) string { return `"status":200` })
	s := httptest.NewServer(b)
	defer s.Close()
	p := run(t, "sources: {in: {subject: IN}}\n"+batchRoutes(s.URL, "{wait: 200ms}"))
	publish(t, p.nats, "IN", `{"event_id":"e0","message_type":"RQ_A"}`)
	p.sendMany(1)
	p.eventually(func() error {
		d, err := p.Show(context.Background(), "e0")
		if err != nil || len(d.Rows) != 2 || d.Rows[0].Status != "COMPLETED" || d.Rows[1].Status != "COMPLETED" {
			return fmt.Errorf("rows of e0: %+v, %v; want two COMPLETED", d.Rows, err)
		}
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sizes) != 2 {
		t.Errorf("requests: %v; want two with one event each", b.sizes)
	}
}

// TestBatchesAreReloaded: on and off while events come.
func TestBatchesAreReloaded(t *testing.T) {
	b := &batches{answer: func(w http.ResponseWriter, _ []string) { w.WriteHeader(http.StatusNoContent) }}
	s := httptest.NewServer(b)
	defer s.Close()
	url, calls := endpoint(t)
	single := strings.Replace(batchRoutes(url, "{}"), "batch: {}, ", "", 1)
	p := run(t, batchRoutes(s.URL, "{max: 10, wait: 5ms}"))
	for i := range 50 {
		if _, err := p.Send(context.Background(), wire.NewEvent{MessageType: "RQ_A", EventID: fmt.Sprint("r", i)}); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			p.write(single)
			if i%20 == 9 {
				p.write(batchRoutes(s.URL, "{max: 20, wait: 20ms}"))
			}
			if err := p.Reload(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 50 {
		if d := p.await(fmt.Sprint("r", i), "COMPLETED"); d.Rows[0].Attempts != 1 {
			t.Errorf("r%d took %d attempts: %s", i, d.Rows[0].Attempts, shapeOf(d))
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := calls() + len(b.tries); n != 50 || calls() == 0 || len(b.tries) == 0 {
		t.Errorf("%d events went alone, %d in batches; want 50 in all", calls(), len(b.tries))
	}
}
