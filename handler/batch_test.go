package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// numbered is an attempt of another event.
func numbered(id string, payload string) *event.Attempt {
	a := attempt(payload)
	a.Event.ID = id
	return a
}

func newBatch(t testing.TB, o BatchOptions) *Batch {
	t.Helper()
	b, err := NewBatch(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// deliverAll delivers attempts at the same time. The first ones come first.
func deliverAll(t testing.TB, b *Batch, attempts ...*event.Attempt) []event.Answer {
	t.Helper()
	answers := make([]event.Answer, len(attempts))
	var all sync.WaitGroup
	for i, a := range attempts {
		before, returned := b.begun(), new(atomic.Bool)
		all.Go(func() {
			answers[i] = b.Deliver(t.Context(), a)
			returned.Store(true)
		})
		until(t, "an event is taken", func() bool { return returned.Load() || b.begun() != before })
	}
	all.Wait()
	return answers
}

// begun tells apart the states that a Deliver leads to.
func (b *Batch) begun() [2]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return [2]int{len(b.waiting), b.running}
}

func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after 20s", what)
		}
	}
}

func attempts(n int) []*event.Attempt {
	list := make([]*event.Attempt, n)
	for i := range list {
		list[i] = numbered(fmt.Sprint("e-", i), "{}")
	}
	return list
}

// answerOf says in short what an answer makes of an event.
func answerOf(a event.Answer) string {
	s := map[event.Outcome]string{event.Done: "done", event.Again: "again", event.Never: "never"}[a.Outcome]
	if a.Reason != "" {
		s += " " + string(a.Reason)
	}
	if len(a.FollowUps) > 0 {
		s += fmt.Sprint(" +", len(a.FollowUps))
	}
	return s
}

func TestBatchRequest(t *testing.T) {
	s, last := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL + "/batch", Source: "/eventd/A", Headers: map[string]string{"X-Fixed": "f"}}, Max: 3, Wait: time.Minute, Requests: 2})
	second := numbered("e-2", "plain")
	second.Event.ContentType, second.Number, second.Route = "text/plain", 7, "b"
	second.Event.Headers = map[string]string{"X-Event": "e"}
	for _, a := range deliverAll(t, b, numbered("e-1", `{"a":1}`), second, numbered("e-3", "")) {
		if a.Outcome != event.Done || a.Code != 204 || a.Took <= 0 {
			t.Errorf("answer = %+v; want done with 204", a)
		}
	}
	r := last.Load()
	for name, want := range map[string]string{"Content-Type": "application/cloudevents-batch+json", "X-Fixed": "f", "X-Event": "",
		"Ce-Id": "", "Eventd-Attempt": "", "User-Agent": "eventd"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s = %q; want %q", name, got, want)
		}
	}
	if r.RequestURI != "/batch" || len(r.Header.Get("Webhook-Id")) != 36 {
		t.Errorf("request to %s with the id %q", r.RequestURI, r.Header.Get("Webhook-Id"))
	}
	var got []map[string]any
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || len(got) != 3 {
		t.Fatalf("%d events, %v: %s", len(got), err, r.body)
	}
	for i, want := range []map[string]any{
		{"id": "e-1", "source": "/eventd/A/UP", "type": "RQ_A", "eventdattempt": "1", "eventdroute": "start", "eventdtable": "inbound", "specversion": "1.0"},
		{"id": "e-2", "eventdattempt": "7", "eventdroute": "b", "data": "plain", "datacontenttype": "text/plain"},
		{"id": "e-3", "data": nil},
	} {
		for name, value := range want {
			if got[i][name] != value {
				t.Errorf("events[%d].%s = %v; want %v", i, name, got[i][name], value)
			}
		}
	}
}

func TestBatchOverSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s, last := serve(t, nil)
	go func() { _ = http.Serve(l, s.Config.Handler) }()
	defer l.Close()
	b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{Socket: path, Path: "/b"}, Max: 2, Wait: time.Minute, Requests: 1})
	if a := deliverAll(t, b, attempts(2)...)[1]; a.Outcome != event.Done || b.Kind() != "unix" || last.Load().RequestURI != "/b" {
		t.Errorf("over a %s socket to %s: %+v", b.Kind(), last.Load().RequestURI, a)
	}
}

// TestBatchAnswers: what an answer means for the events e-0, e-1 and e-2.
func TestBatchAnswers(t *testing.T) {
	big := func(n int) string {
		head := `{"results":[{"event_id":"e-0","status":200},{"event_id":"e-1","status":200},{"event_id":"e-2","status":200,"detail":"`
		return head + strings.Repeat("x", n-len(head)-len(`"}]}`)) + `"}]}`
	}
	for _, c := range []struct {
		name string
		answer
		want string
	}{
		{"no content", answer{code: 204}, "done, done, done"},
		{"an empty answer", answer{code: 200}, "done, done, done"},
		{"a text", answer{code: 200, header: map[string]string{"Content-Type": "text/plain"}, body: "thanks"}, "done, done, done"},
		{"each for itself", answer{code: 200, body: `{"results":[{"event_id":"e-2","status":500},{"event_id":"e-0","status":204},{"event_id":"e-1","status":422}]}`},
			"done, never rejected, again http_500"},
		{"multi-status", answer{code: 207, body: `{"results":[{"event_id":"e-0","status":429},{"event_id":"e-1","status":410},{"event_id":"e-2","status":302}]}`},
			"again http_429, never gone, never rejected"},
		{"one is missing", answer{code: 200, body: `{"results":[{"event_id":"e-0","status":200},{"event_id":"e-2","status":200}]}`},
			"done, again bad_reply, done"},
		{"no results", answer{code: 200, body: `{"results":[]}`}, "again bad_reply, again bad_reply, again bad_reply"},
		{"a stranger", answer{code: 200, body: `{"results":[{"event_id":"x","status":200},{"event_id":"e-1","status":200}]}`},
			"again bad_reply, done, again bad_reply"},
		{"the wrong source", answer{code: 200, body: `{"results":[{"event_id":"e-0","source":"/x","status":200},{"event_id":"e-1","source":"/eventd/UP","status":200},{"event_id":"e-2","status":200}]}`},
			"again bad_reply, done, done"},
		{"twice", answer{code: 200, body: `{"results":[{"event_id":"e-0","status":200},{"event_id":"e-1","status":200},{"event_id":"e-0","status":200},{"event_id":"e-2","status":200}]}`},
			"never bad_reply, done, done"},
		{"no status", answer{code: 200, body: `{"results":[{"event_id":"e-0"},{"event_id":"e-1","status":"200"},{"event_id":"e-2","status":200}]}`},
			"never bad_reply, never bad_reply, done"},
		{"no objects", answer{code: 200, body: `{"results":[1,"e-1",null,{"event_id":"e-2","status":200}]}`}, "again bad_reply, again bad_reply, done"},
		{"follow-ups", answer{code: 200, body: `{"results":[
			{"event_id":"e-0","status":200,"events":[{"message_type":"B","payload":{"n":1}},{"message_type":"C"}]},
			{"event_id":"e-1","status":200,"events":[{"specversion":"1.0","id":"f","source":"/s","type":"B","data":{"n":1}}]},
			{"event_id":"e-2","status":200,"events":[{"payload":1}]}]}`}, "done +2, done +1, never bad_reply"},
		{"follow-ups of a failure", answer{code: 200, body: `{"results":[{"event_id":"e-0","status":500,"events":[{"message_type":"B"}]},{"event_id":"e-1","status":200,"events":null},{"event_id":"e-2","status":200,"events":[]}]}`},
			"again http_500, done, done"},
		{"broken JSON", answer{code: 200, body: `{"results":[{"event_id":"e-0","status":200}`}, "never bad_reply, never bad_reply, never bad_reply"},
		{"other JSON", answer{code: 200, body: `{"ok":true}`}, "never bad_reply, never bad_reply, never bad_reply"},
		{"JSON that is none", answer{code: 200, header: map[string]string{"Content-Type": "application/json"}, body: `thanks`}, "never bad_reply, never bad_reply, never bad_reply"},
		{"null", answer{code: 200, header: map[string]string{"Content-Type": "application/json"}, body: `null`}, "never bad_reply, never bad_reply, never bad_reply"},
		{"a CloudEvent", answer{code: 200, header: binaryEvent(), body: "x"}, "never bad_reply, never bad_reply, never bad_reply"},
		{"compressed", answer{code: 200, header: map[string]string{"Content-Encoding": "gzip"}, body: `{"results":[]}`}, "never bad_reply, never bad_reply, never bad_reply"},
		{"8 MiB", answer{code: 200, body: big(MaxBatchReply)}, "done, done, done"},
		{"more than that", answer{code: 200, body: big(MaxBatchReply + 1)}, "never bad_reply, never bad_reply, never bad_reply"},
		{"an outage", answer{code: 503, body: `{"results":[{"event_id":"e-0","status":200}]}`}, "again http_503, again http_503, again http_503"},
		{"a refusal", answer{code: 400, body: "what?"}, "never rejected, never rejected, never rejected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := serve(t, c.ServeHTTP)
			b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL}, Max: 3, Wait: time.Minute, Requests: 1})
			var got []string
			speak := 0
			for _, a := range deliverAll(t, b, attempts(3)...) {
				got = append(got, answerOf(a))
				if !a.Silent {
					speak++
				}
				if len(a.Detail) > event.MaxDetail {
					t.Errorf("detail of %d bytes", len(a.Detail))
				}
			}
			if s := strings.Join(got, ", "); s != c.want || speak != 1 {
				t.Errorf("answers: %s, %d speak of the handler; want %s, 1", s, speak, c.want)
			}
		})
	}
}

// TestBatchDelays: Retry-After of the answer rests the handler, that of a result
// holds back its event.
func TestBatchDelays(t *testing.T) {
	for _, c := range []struct {
		answer
		rest, delay time.Duration
		pause       bool
	}{
		{answer: answer{code: 503, header: map[string]string{"Retry-After": "7"}}, rest: 7 * time.Second},
		{answer: answer{code: 200, body: `{"results":[{"event_id":"e-0","status":503,"retry_after":7}]}`}, delay: 7 * time.Second},
		{answer: answer{code: 200, body: `{"results":[{"event_id":"e-0","status":429,"retry_after":"9000"}]}`}, delay: MaxRest},
		{answer: answer{code: 200, body: `{"results":[{"event_id":"e-0","status":410}]}`}},
		{answer: answer{code: 410}, pause: true},
	} {
		s, _ := serve(t, c.ServeHTTP)
		b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL}, Max: 1, Requests: 1})
		if a := deliverAll(t, b, attempts(1)...)[0]; a.Rest != c.rest || a.Delay != c.delay || a.Pause != c.pause {
			t.Errorf("%s: %+v; want a rest of %s, a delay of %s, pause %t", c.body, a, c.rest, c.delay, c.pause)
		}
	}
}

// TestVoice: the answer that speaks of the handler says that it failed only when
// every event of the request did.
func TestVoice(t *testing.T) {
	failed, late, good, bad := event.Answer{Outcome: event.Again}, event.Answer{Outcome: event.Again, Uncharged: true}, event.Answer{Outcome: event.Done}, event.Answer{Outcome: event.Never}
	for _, c := range []struct {
		answers []event.Answer
		voice   int
	}{
		{[]event.Answer{failed, failed, failed}, 2},
		{[]event.Answer{failed, good, failed}, 1},
		{[]event.Answer{failed, failed, bad}, 2},
		{[]event.Answer{good, failed, failed}, 0},
		{[]event.Answer{failed, late, failed}, 1},
	} {
		for i, a := range speakOnce(c.answers) {
			if a.Silent == (i == c.voice) {
				t.Errorf("%+v: answer %d is silent: %t", c.answers, i, a.Silent)
			}
		}
	}
}

func TestBatchIsBroken(t *testing.T) {
	hang := make(chan struct{})
	s, _ := serve(t, func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL, Timeout: 50 * time.Millisecond}, Max: 2, Wait: time.Minute, Requests: 1})
	for _, a := range deliverAll(t, b, attempts(2)...) {
		if answerOf(a) != "again timeout" {
			t.Errorf("hanging: %+v; want a timeout", a)
		}
	}
	s.CloseClientConnections()
	gone := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{Socket: filepath.Join(t.TempDir(), "none")}, Max: 2, Wait: time.Minute, Requests: 1})
	for _, a := range deliverAll(t, gone, attempts(2)...) {
		if answerOf(a) != "again refused" {
			t.Errorf("nobody there: %+v; want refused", a)
		}
	}
	half, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(`{"results":[{"event_id":"e-0","status":200}]}`))
	})
	b = newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: half.URL}, Max: 1, Requests: 1})
	if a := deliverAll(t, b, attempts(1)...)[0]; answerOf(a) != "again network" || a.Code != 200 {
		t.Errorf("half an answer: %+v; want network", a)
	}
}

func TestEventWithoutTypeIsNoPartOfABatch(t *testing.T) {
	b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: "http://127.0.0.1:1"}, Max: 1, Requests: 1})
	a := attempt("x")
	a.Event.MessageType = ""
	if got := b.Deliver(t.Context(), a); answerOf(got) != "never undecodable" {
		t.Errorf("Deliver = %+v; want undecodable", got)
	}
}

func TestPick(t *testing.T) {
	large := strings.Repeat("x", MaxBatch/2)
	e := func(id, body string, alone bool) *element {
		a := numbered(id, "")
		a.Alone = alone
		return &element{attempt: a, body: []byte(body)}
	}
	for _, c := range []struct {
		name        string
		waiting     []*element
		batch, rest string
	}{
		{"all", []*element{e("a", "", false), e("b", "", false)}, "a b", ""},
		{"at most three", []*element{e("a", "", false), e("b", "", false), e("c", "", false), e("d", "", false)}, "a b c", "d"},
		{"the same id", []*element{e("a", "", false), e("a", "", false), e("b", "", false)}, "a b", "a"},
		{"bytes", []*element{e("a", large, false), e("b", large, false), e("c", "", false)}, "a", "b c"},
		{"too large", []*element{e("a", large+large, false), e("b", "", false)}, "a", "b"},
		{"alone", []*element{e("a", "", true), e("b", "", false)}, "a", "b"},
		{"up to one alone", []*element{e("a", "", false), e("b", "", true), e("c", "", false)}, "a", "b c"},
	} {
		batch, rest := pick(c.waiting, 3)
		if ids(batch) != c.batch || ids(rest) != c.rest {
			t.Errorf("%s: %q, then %q; want %q, then %q", c.name, ids(batch), ids(rest), c.batch, c.rest)
		}
	}
}

func ids(list []*element) string {
	var names []string
	for _, e := range list {
		names = append(names, e.attempt.Event.ID)
	}
	return strings.Join(names, " ")
}

// TestBatchWaits for company no longer than it may, and for nothing when it is
// full or may not wait.
func TestBatchWaits(t *testing.T) {
	for _, c := range []struct {
		name     string
		wait     time.Duration
		requests int
		come     []time.Duration // after the start
		want     string          // when each request is made, and with how many
	}{
		{"until it is full", time.Second, 9, []time.Duration{0, 1e6, 2e6}, "2ms:3"},
		{"no longer", 50e6, 9, []time.Duration{0, 30e6, 60e6}, "50ms:2 110ms:1"},
		{"for nothing", 0, 9, []time.Duration{0, 1e6}, "0s:1 1ms:1"},
		{"for a request", 0, 1, []time.Duration{0, 1e6, 2e6, 3e6, 4e6}, "0s:1 10ms:3 20ms:1"},
		{"for a request, and then for company", 15e6, 1, []time.Duration{0, 24e6}, "15ms:1 39ms:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowSender{began: time.Now()}
				b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: "http://127.0.0.1:1"}, Max: 3, Wait: c.wait, Requests: c.requests})
				b.post = s.post
				var all sync.WaitGroup
				for i, at := range c.come {
					all.Go(func() {
						<-time.After(at)
						if a := b.Deliver(t.Context(), numbered(fmt.Sprint(i), "")); a.Outcome != event.Done {
							t.Errorf("answer = %+v", a)
						}
					})
				}
				all.Wait()
				if got := strings.Join(s.log, " "); got != c.want {
					t.Errorf("requests: %s; want %s", got, c.want)
				}
			})
		})
	}
}

// slowSender takes 10 ms for a request.
type slowSender struct {
	began time.Time
	mu    sync.Mutex
	log   []string
}

func (s *slowSender) post(_ context.Context, batch []*element, _ time.Time) []event.Answer {
	s.mu.Lock()
	s.log = append(s.log, fmt.Sprintf("%s:%d", time.Since(s.began), len(batch)))
	s.mu.Unlock()
	<-time.After(10 * time.Millisecond)
	return alike(event.Answer{Outcome: event.Done}, len(batch))
}

// TestBatchHurries: nothing waits for company that will not come.
func TestBatchHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowSender{began: time.Now()}
		b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: "http://127.0.0.1:1"}, Max: 3, Wait: time.Minute, Requests: 2})
		b.post = s.post
		var all sync.WaitGroup
		all.Go(func() { b.Deliver(t.Context(), numbered("1", "")) })
		<-time.After(time.Second)
		b.Hurry()
		<-time.After(time.Second)
		all.Go(func() { b.Deliver(t.Context(), numbered("2", "")) })
		all.Wait()
		if got := strings.Join(s.log, " "); got != "1s:1 2s:1" {
			t.Errorf("requests: %s; want 1s:1 2s:1", got)
		}
	})
}

// TestBatchIsGivenUp: what waits when its context ends is not sent, and what is
// being sent ends too.
func TestBatchIsGivenUp(t *testing.T) {
	hang, came := make(chan struct{}), make(chan struct{}, 1)
	s, _ := serve(t, func(http.ResponseWriter, *http.Request) { came <- struct{}{}; <-hang })
	defer close(hang)
	ctx, cancel := context.WithCancel(t.Context())
	b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL, Timeout: time.Minute}, Max: 2, Wait: time.Minute, Requests: 1})
	answers := make(chan event.Answer, 3)
	for _, a := range attempts(3) {
		before := b.begun()
		go func() { answers <- b.Deliver(ctx, a) }()
		until(t, "an event is taken", func() bool { return b.begun() != before })
	}
	<-came
	cancel()
	for range 3 {
		if a := <-answers; answerOf(a) != "again interrupted" {
			t.Errorf("given up: %+v; want interrupted", a)
		}
	}
	if n := b.begun(); n != [2]int{} {
		t.Errorf("waiting and running: %v; want none", n)
	}
}

// TestBatchUnderLoad: many callers, each is answered for its own event.
func TestBatchUnderLoad(t *testing.T) {
	const callers, each = 64, 50
	var mu sync.Mutex
	most, now, requests, seen := 0, 0, 0, map[string]int{}
	s, _ := serve(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var list []struct{ ID string }
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
			t.Error(err)
		}
		mu.Lock()
		requests++
		now++
		most = max(most, now)
		for _, e := range list {
			seen[e.ID]++
		}
		mu.Unlock()
		var out []string
		for i, e := range list {
			if i%7 != 3 {
				out = append(out, fmt.Sprintf(`{"event_id":%q,"status":200,"detail":%q}`, e.ID, e.ID))
			}
		}
		mu.Lock()
		now--
		mu.Unlock()
		_, _ = fmt.Fprintf(w, `{"results":[%s]}`, strings.Join(out, ","))
	})
	b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL}, Max: 16, Wait: time.Millisecond, Requests: 4})
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", n, i)
				a := b.Deliver(t.Context(), numbered(id, "{}"))
				if a.Outcome == event.Done && a.Detail != id || a.Outcome != event.Done && a.Reason != event.BadReply {
					t.Errorf("%s is answered %+v", id, a)
				}
			}
		})
	}
	all.Wait()
	if len(seen) != callers*each || most > 4 || requests >= callers*each {
		t.Errorf("%d events in %d requests, %d at once; want %d in fewer, at most 4 at once", len(seen), requests, most, callers*each)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
}

// FuzzBatchAnswer: whatever is answered, each event has one outcome, and one
// answer speaks of the handler. Only what says so is done.
func FuzzBatchAnswer(f *testing.F) {
	for _, body := range []string{
		"", "OK", `{"results":[{"event_id":"e-0","status":200},{"event_id":"e-1","status":503,"retry_after":"9"}]}`,
		`{"results":[{"event_id":"e-2","status":200,"events":[{"message_type":"B"}]},{"event_id":"e-2","status":-1}]}`,
		`{"results":{}}`, `[]`, "\xff{", `{"results":[[],{"event_id":"e-0","status":1e9}]}`,
	} {
		f.Add("application/json", []byte(body))
		f.Add("", []byte(body))
	}
	h, err := NewHTTP(HTTPOptions{URL: "http://127.0.0.1:1"})
	if err != nil {
		f.Fatal(err)
	}
	batch := make([]*element, 3)
	for i, a := range attempts(3) {
		batch[i] = &element{attempt: a, source: "/s"}
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := batchReply{http: h, header: http.Header{"Content-Type": {contentType}}, body: body}
		answers := h.spread(event.Answer{Outcome: event.Done, Code: 200}, &r, batch)
		speak := 0
		for i, a := range answers {
			if a.Outcome < event.Done || a.Outcome > event.Never || a.Outcome != event.Done && a.Reason == "" || len(a.Detail) > event.MaxDetail {
				t.Errorf("answer %d is %+v", i, a)
			}
			if a.Outcome == event.Done && r.structured() && !strings.Contains(string(body), "2") {
				t.Errorf("answer %d is done, though no result says so", i)
			}
			if !a.Silent {
				speak++
			}
		}
		if len(answers) != 3 || speak != 1 {
			t.Errorf("%d answers, %d speak; want 3 and 1", len(answers), speak)
		}
	})
}

func TestSignedBatch(t *testing.T) {
	s, last := serve(t, nil)
	b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL, Signer: testSigner(t)}, Max: 2, Wait: time.Minute, Requests: 1})
	deliverAll(t, b, attempts(2)...)
	verifyBoth(t, last.Load().Header, last.Load().body)
}

// TestBatchIsWithdrawn: what waits for company is given back, and what comes after
// that waits anew.
func TestBatchIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowSender{began: time.Now()}
		b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: "http://127.0.0.1:1"}, Max: 3, Wait: time.Minute, Requests: 1})
		b.post = s.post
		var all sync.WaitGroup
		for i := range 2 {
			all.Go(func() {
				if a := b.Deliver(t.Context(), numbered(fmt.Sprint(i), "")); a.Outcome != event.Unsent {
					t.Errorf("answer = %+v; want unsent", a)
				}
			})
		}
		<-time.After(time.Second)
		b.Withdraw()
		all.Wait()
		b.Deliver(t.Context(), numbered("3", ""))
		if got := strings.Join(s.log, " "); got != "1m1s:1" {
			t.Errorf("requests: %s; want 1m1s:1", got)
		}
	})
}

// TestRestIsForWhatWaits for a request, too: none is made after an answer that
// asks for a rest or a pause.
func TestRestIsForWhatWaits(t *testing.T) {
	for code, header := range map[int]string{503: "60", 410: ""} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			var requests atomic.Int32
			release := make(chan struct{})
			s, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				<-release
				if header != "" {
					w.Header().Set("Retry-After", header)
				}
				w.WriteHeader(code)
			})
			b := newBatch(t, BatchOptions{HTTPOptions: HTTPOptions{URL: s.URL}, Max: 10, Requests: 1})
			answers := make(chan event.Answer, 6)
			for i, a := range attempts(6) {
				go func() { answers <- b.Deliver(t.Context(), a) }()
				until(t, "an event is taken", func() bool { return b.begun() == [2]int{i, 1} })
			}
			close(release)
			unsent := 0
			for range 6 {
				if a := <-answers; a.Outcome == event.Unsent {
					unsent++
				}
			}
			if unsent != 5 || requests.Load() != 1 {
				t.Errorf("%d unsent after %d requests; want 5 after one", unsent, requests.Load())
			}
		})
	}
}
