package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/queue"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// desk answers calls about claims, and notes them.
type desk struct {
	mu      sync.Mutex
	calls   []string
	headers []http.Header
	answer  func(w http.ResponseWriter, r *http.Request)
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	target := strings.Replace(r.URL.String(), fmt.Sprint("max_bytes=", 1<<20-512), "room", 1)
	d.calls = append(d.calls, strings.TrimSpace(r.Method+" "+target+" "+string(body)))
	d.headers = append(d.headers, r.Header)
	answer := d.answer
	d.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"claims":[]}`)
}

func (d *desk) answers(f func(w http.ResponseWriter, r *http.Request)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = f
}

// told returns the calls since the last time.
func (d *desk) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.calls
	d.calls = nil
	return list
}

// header returns the headers of a call, counted from the first; from the last for
// a negative number.
func (d *desk) header(n int) http.Header {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n < 0 {
		n += len(d.headers)
	}
	return d.headers[n]
}

func (x *rig) claimService(instance string, d *desk) *queue.ClaimService {
	x.t.Helper()
	s := x.NewClaimService(queue.ClaimOptions{Service: "SHOP", Instance: instance, Version: "v1.2.3-4-gabc"}, d)
	x.t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			x.t.Error(err)
		}
	})
	return s
}

func (x *rig) offer(s *queue.ClaimService, handlers ...string) {
	x.t.Helper()
	if err := s.Offer(handlers); err != nil {
		x.t.Fatal(err)
	}
}

// client is a connection of a service.
func (x *rig) client() *nats.Conn {
	x.t.Helper()
	nc, err := nats.Connect("nats://" + x.address)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(nc.Close)
	return nc
}

func (x *rig) request(nc *nats.Conn, subject, body string, header ...string) *nats.Msg {
	x.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for i := 0; i < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	got, err := nc.RequestMsg(m, patience)
	if err != nil {
		x.t.Fatalf("%s: %v", subject, err)
	}
	return got
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %s", what, patience)
		}
	}
}

// TestClaimCalls: what comes over NATS is answered as over HTTP.
func TestClaimCalls(t *testing.T) {
	x, d := newRig(t), &desk{}
	x.offer(x.claimService("7f3a", d), "printer", "worker")
	nc := x.client()
	m := x.request(nc, "eventd.SHOP.claim.worker", `{"max":3}`, "eventd-service", "worker-1")
	if string(m.Data) != `{"claims":[]}` || m.Header.Get("Content-Type") != "application/json" || m.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("answer %s, %v", m.Data, m.Header)
	}
	h := d.header(0)
	if h.Get("Eventd-Service") != "worker-1" || h.Get("Content-Type") != "application/json" {
		t.Errorf("asked with %v; want the service and JSON", h)
	}
	d.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, "{\"title\":\"Conflict\",\"detail\":\"the claim is over:\\nworker-2 has it\"}")
	})
	m = x.request(nc, "eventd.SHOP.claims.7f3a.1-0-0-1-5.complete", "", "ce-type", "DONE", "ce-id", "1")
	if m.Header.Get(micro.ErrorCodeHeader) != "409" || m.Header.Get(micro.ErrorHeader) != "the claim is over: worker-2 has it" || !strings.Contains(string(m.Data), "Conflict") {
		t.Errorf("refusal: %v, %s", m.Header, m.Data)
	}
	if h := d.header(1); h.Get("Ce-Type") != "DONE" || h.Get("Content-Type") != "" {
		t.Errorf("completed with %v; want the attributes of a CloudEvent", h)
	}
	for _, verb := range []string{"fail", "extend", "release"} {
		x.request(nc, "eventd.SHOP.claims.7f3a.1-0-0-1-5."+verb, "{}")
	}
	want := []string{
		`POST /v1/handlers/worker/claim?room {"max":3}`, "POST /v1/claims/7f3a.1-0-0-1-5/complete",
		"POST /v1/claims/7f3a.1-0-0-1-5/fail {}", "POST /v1/claims/7f3a.1-0-0-1-5/extend {}", "POST /v1/claims/7f3a.1-0-0-1-5/release {}",
	}
	if got := d.told(); !slices.Equal(got, want) {
		t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, subject := range []string{"eventd.SHOP.claim.other", "eventd.SHOP.claims.8888.1-0-0-1-5.complete"} {
		if _, err := nc.Request(subject, nil, patience); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v; want no responders", subject, err)
		}
	}
}

const oneClaim = `{"claims":[{"claim_id":"7f3a.1-0-0-1-5"},{"claim_id":"7f3a.2-0-0-1-5"}]}`

// TestClaimerIsGone: what was claimed for somebody who has left goes back at once.
func TestClaimerIsGone(t *testing.T) {
	x, d := newRig(t), &desk{}
	x.offer(x.claimService("7f3a", d), "worker")
	asked, left := make(chan struct{}), make(chan struct{})
	d.answers(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/claim") {
			close(asked)
			select {
			case <-left:
			case <-r.Context().Done(): // a test that failed before
			}
			_, _ = io.WriteString(w, oneClaim)
		}
	})
	nc := x.client()
	if err := nc.PublishRequest("eventd.SHOP.claim.worker", nc.NewInbox(), nil); err != nil { // nobody listens there
		t.Fatal(err)
	}
	<-asked
	nc.Close()
	d.told()
	close(left)
	var got []string
	until(t, "claims of somebody who has left are released", func() bool { got = append(got, d.told()...); return len(got) == 2 })
	if !slices.Equal(got, []string{"POST /v1/claims/7f3a.1-0-0-1-5/release", "POST /v1/claims/7f3a.2-0-0-1-5/release"}) {
		t.Errorf("calls: %v", got)
	}
	if by := d.header(-1).Get("Eventd-Service"); by != "SHOP" {
		t.Errorf("released by %q; want SHOP", by)
	}
}

// TestClaimerIsThere: nothing goes back when somebody has taken it.
func TestClaimerIsThere(t *testing.T) {
	x, d := newRig(t), &desk{}
	s := x.claimService("7f3a", d)
	x.offer(s, "worker")
	d.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, oneClaim) })
	nc := x.client()
	for range 20 {
		m := x.request(nc, "eventd.SHOP.claim.worker", "")
		if m.Reply == "" {
			t.Fatal("an answer with claims names no subject for replies")
		}
		_ = m.Respond([]byte("thanks")) // as some clients do
	}
	x.request(nc, "eventd.SHOP.claims.7f3a.1-0-0-1-5.extend", "")
	for _, call := range d.told() {
		if strings.HasSuffix(call, "/release") {
			t.Errorf("released all the same: %s", call)
		}
	}
}

// TestClaimsTooLargeToSend go back, and the answer says so.
func TestClaimsTooLargeToSend(t *testing.T) {
	x, d := newRig(t), &desk{}
	x.offer(x.claimService("7f3a", d), "worker")
	d.answers(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.TrimSuffix(oneClaim, "}")+`,"x":"`+strings.Repeat("x", 1<<20)+`"}`)
	})
	m := x.request(x.client(), "eventd.SHOP.claim.worker", "")
	if m.Header.Get(micro.ErrorCodeHeader) != "500" || !strings.Contains(m.Header.Get(micro.ErrorHeader), "maximum payload") {
		t.Errorf("answer: %v", m.Header)
	}
	if got := d.told(); len(got) != 3 || !strings.HasSuffix(got[2], "/release") {
		t.Errorf("calls: %v; want two releases", got)
	}
	m = x.request(x.client(), "eventd.SHOP.claims.7f3a.1-0-0-1-5.complete", "")
	if m.Header.Get(micro.ErrorCodeHeader) != "" || len(m.Data) != 0 {
		t.Errorf("completed, with an answer that is too large: %v, %d bytes; want neither error nor body", m.Header, len(m.Data))
	}
}

// TestOfferAnew changes which handlers can be claimed of. Who waits goes on
// waiting, and what is claimed can be completed.
func TestOfferAnew(t *testing.T) {
	x, d := newRig(t), &desk{}
	s := x.claimService("7f3a", d)
	nc := x.client()
	x.offer(s)
	if _, err := nc.Request("$SRV.PING.eventd", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("without a handler: %v; want no service", err)
	}
	x.offer(s, "a", "b")
	come := make(chan struct{})
	asked := make(chan struct{})
	d.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/handlers/a/claim" {
			close(asked)
			select {
			case <-come:
			case <-r.Context().Done(): // a test that failed before
			}
		}
		_, _ = io.WriteString(w, "{}")
	})
	got := make(chan error, 1)
	go func() {
		_, err := nc.Request("eventd.SHOP.claim.a", nil, patience)
		got <- err
	}()
	<-asked
	x.offer(s, "b", "c")
	x.request(nc, "eventd.SHOP.claim.b", "")
	x.request(nc, "eventd.SHOP.claim.c", "")
	close(come)
	if err := <-got; err != nil {
		t.Errorf("who waited when it was offered anew: %v", err)
	}
	until(t, "a handler is not offered any more", func() bool {
		_, err := nc.Request("eventd.SHOP.claim.a", nil, patience)
		return errors.Is(err, nats.ErrNoResponders)
	})
	x.offer(s)
	x.request(nc, "eventd.SHOP.claims.7f3a.1-0-0-1-5.complete", "")
}

// TestClaimServiceEnds: who waits is told, and nobody is taken in any more.
func TestClaimServiceEnds(t *testing.T) {
	x, d := newRig(t), &desk{}
	s := x.claimService("7f3a", d)
	x.offer(s, "worker")
	asked := make(chan struct{})
	d.answers(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	nc := x.client()
	got := make(chan *nats.Msg, 1)
	go func() {
		m, _ := nc.Request("eventd.SHOP.claim.worker", nil, patience)
		got <- m
	}()
	<-asked
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if m := <-got; m == nil || m.Header.Get(micro.ErrorCodeHeader) != "503" || m.Header.Get(micro.ErrorHeader) != "eventd is stopping" {
		t.Errorf("who waited gets %v", m)
	}
	until(t, "nobody is taken in", func() bool {
		_, err := nc.Request("eventd.SHOP.claim.worker", nil, patience)
		return errors.Is(err, nats.ErrNoResponders)
	})
	x.offer(s, "other")
}

// TestSeveralEventds of one service: each request for events gets to one of them,
// and what is done with a claim to the one that gave it.
func TestSeveralEventds(t *testing.T) {
	x := newRig(t)
	names := []string{"aaaa", "bbbb"}
	desks := map[string]*desk{}
	for _, name := range names {
		desks[name] = &desk{}
		x.offer(x.claimService(name, desks[name]), "worker")
	}
	nc := x.client()
	for range 50 {
		x.request(nc, "eventd.SHOP.claim.worker", "")
	}
	a, b := len(desks["aaaa"].told()), len(desks["bbbb"].told())
	if a+b != 50 || a == 0 || b == 0 {
		t.Errorf("of 50 requests one got %d and the other %d", a, b)
	}
	for _, name := range names {
		x.request(nc, "eventd.SHOP.claims."+name+".1-0-0-1-5.release", "")
		if got := desks[name].told(); len(got) != 1 {
			t.Errorf("%s got %v; want what is done with its claim", name, got)
		}
	}
}

// TestClaimServiceIsDiscovered by the means of the NATS micro protocol.
func TestClaimServiceIsDiscovered(t *testing.T) {
	x, d := newRig(t), &desk{}
	x.offer(x.claimService("7f3a", d), "worker")
	nc := x.client()
	x.request(nc, "eventd.SHOP.claim.worker", "")
	var ping micro.Ping
	decode(t, x.request(nc, "$SRV.PING.eventd", ""), &ping)
	if ping.Name != "eventd" || ping.Version != "1.2.3+4-gabc" || ping.Metadata["service"] != "SHOP" || ping.Metadata["instance"] != "7f3a" {
		t.Errorf("ping = %+v", ping)
	}
	var info micro.Info
	decode(t, x.request(nc, "$SRV.INFO.eventd."+ping.ID, ""), &info)
	var endpoints []string
	for _, e := range info.Endpoints {
		endpoints = append(endpoints, e.Name+" "+e.Subject)
	}
	want := []string{
		"claim-worker eventd.SHOP.claim.worker", "complete eventd.SHOP.claims.7f3a.*.complete", "fail eventd.SHOP.claims.7f3a.*.fail",
		"extend eventd.SHOP.claims.7f3a.*.extend", "release eventd.SHOP.claims.7f3a.*.release",
	}
	if !slices.Equal(endpoints, want) {
		t.Errorf("endpoints = %q", endpoints)
	}
	var stats micro.Stats
	decode(t, x.request(nc, "$SRV.STATS.eventd", ""), &stats)
	if stats.Endpoints[0].NumRequests != 1 || !strings.Contains(string(stats.Endpoints[0].Data), `"requests":1`) {
		t.Errorf("stats = %+v, %s", stats.Endpoints[0], stats.Endpoints[0].Data)
	}
}

func decode(t *testing.T, m *nats.Msg, v any) {
	t.Helper()
	if err := json.Unmarshal(m.Data, v); err != nil {
		t.Fatal(err)
	}
}

// TestClaimServiceVersions: the protocol takes semantic versions alone.
func TestClaimServiceVersions(t *testing.T) {
	x := newRig(t)
	for version, want := range map[string]string{
		"": "0.0.0", "dev": "0.0.0+dev", "v1.20.3": "1.20.3", "1.2.3-rc.1": "1.2.3+rc-1", "ac94ce5-dirty": "0.0.0+ac94ce5-dirty", "1.02.3": "0.0.0+1-02-3",
	} {
		s := x.NewClaimService(queue.ClaimOptions{Service: "SHOP", Instance: "7f3a", Version: version}, &desk{})
		x.offer(s, "worker")
		var ping micro.Ping
		decode(t, x.request(x.client(), "$SRV.PING.eventd", ""), &ping)
		if ping.Version != want {
			t.Errorf("version %q becomes %q; want %q", version, ping.Version, want)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestClaimServiceWithoutConnection waits for one.
func TestClaimServiceWithoutConnection(t *testing.T) {
	address := freeAddress(t)
	c, err := queue.Open(context.Background(), queue.Options{Name: "test", URL: "nats://" + address})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{}
	s := c.NewClaimService(queue.ClaimOptions{Service: "SHOP", Instance: "7f3a"}, d)
	if err := s.Offer([]string{"worker"}); err != nil {
		t.Error(err)
	}
	server, err := queue.Open(context.Background(), queue.Options{Name: "server", Embedded: &queue.Embedded{Dir: t.TempDir(), Listen: address}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the connection is there", c.Connected)
	x := &rig{t: t, address: address}
	nc := x.client()
	until(t, "claims are offered", func() bool {
		_, err := nc.Request("eventd.SHOP.claim.worker", nil, patience)
		return err == nil
	})
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	nc.Close()
	for _, conn := range []*queue.Conn{c, server} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
