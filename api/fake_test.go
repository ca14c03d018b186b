package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// fake is an eventd in memory: the smallest that answers every question the
// API asks. What a test sets in err is what every call answers.
type fake struct {
	mu       sync.Mutex
	err      error
	accepted []event.Message
	records  []event.Record // in the order of Seq
	payloads map[uint64][]event.Payload
	asked    event.Filter
	page     event.Page
	order    event.RedriveOrder
	by       string
	detail   string
	of       string
	paused   map[string]bool
	problems []string
	reload   error

	claimOrder event.ClaimOrder
	claimed    []byte // payload of what is claimed; nil for one of its own
	failure    event.ClaimFailure
	working    map[string]event.Document
	amendment  event.Amendment
	jobs       []event.Redrive // by ID, from 1
	backup     []byte
	open       atomic.Int64        // backups that are not closed
	harm       func(*event.Backup) // what becomes of them on the way
}

func (f *fake) Accept(_ context.Context, msgs []event.Message) ([]event.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	var receipts []event.Receipt
	for _, m := range msgs {
		known := slices.ContainsFunc(f.accepted, func(a event.Message) bool { return a.Key() == m.Key() })
		if !known {
			f.accepted = append(f.accepted, m)
		}
		receipts = append(receipts, event.Receipt{Table: m.Table, ID: m.ID, Duplicate: known})
	}
	return receipts, nil
}

// List knows the filters table and status, which is enough to page through.
func (f *fake) List(_ context.Context, q event.Filter, p event.Page) ([]event.Record, uint64, error) {
	f.asked, f.page = q, p
	if f.err != nil {
		return nil, 0, f.err
	}
	all := slices.Clone(f.records)
	if !p.OldestFirst {
		slices.Reverse(all)
	}
	if at := slices.IndexFunc(all, func(r event.Record) bool { return r.Seq == p.After }); at >= 0 {
		all = all[at+1:]
	}
	var page []event.Record
	for _, r := range all {
		if q.Table != 0 && r.Table != q.Table || q.Status != 0 && r.Status != q.Status {
			continue
		}
		if len(page) == p.Limit {
			return page, page[len(page)-1].Seq, nil
		}
		page = append(page, r)
	}
	return page, 0, nil
}

func (f *fake) Find(_ context.Context, id string) ([]event.Record, error) {
	var found []event.Record
	for _, r := range f.records {
		if r.ID == id {
			found = append(found, r)
		}
	}
	return found, nil
}

func (f *fake) Payloads(_ context.Context, seq uint64) ([]event.Payload, error) {
	return f.payloads[seq], nil
}

func (f *fake) Redrive(_ context.Context, seq uint64, o event.RedriveOrder) (event.Record, error) {
	f.order = o
	return f.change(seq, event.Unprocessed)
}

func (f *fake) Cancel(_ context.Context, seq uint64, o event.CancelOrder) (event.Record, error) {
	f.by, f.detail, f.of = o.By, o.Detail, o.Of
	return f.change(seq, event.Failed)
}

func (f *fake) StartRedrive(_ context.Context, j *event.Redrive) error {
	if f.err != nil {
		return f.err
	}
	j.ID, j.State, j.Created, j.Last = uint64(len(f.jobs)+1), event.RedriveRunning, noon, 200
	f.jobs = append(f.jobs, *j)
	return nil
}

func (f *fake) PlanRedrive(_ context.Context, j *event.Redrive) (*event.RedrivePlan, error) {
	f.asked = j.Filter
	return &event.RedrivePlan{
		Events: len(f.records), Complete: true, ByStatus: map[string]int{"ERROR": len(f.records)}, ByMessageType: map[string]int{},
		ByHandler: map[string]int{}, ByReason: map[string]int{}, Samples: f.records,
	}, f.err
}

func (f *fake) Redrives(context.Context) ([]event.Redrive, error) { return f.jobs, f.err }

func (f *fake) ShowRedrive(_ context.Context, id uint64) (*event.Redrive, error) {
	if id == 0 || id > uint64(len(f.jobs)) {
		return nil, event.ErrNotFound
	}
	return &f.jobs[id-1], nil
}

func (f *fake) CancelRedrive(ctx context.Context, id uint64) (*event.Redrive, error) {
	j, err := f.ShowRedrive(ctx, id)
	if err == nil && j.State != event.RedriveRunning {
		err = event.ErrConflict
	}
	if err == nil {
		j.State, j.Ended = event.RedriveCancelled, noon
	}
	return j, err
}

func (f *fake) change(seq uint64, to event.Status) (event.Record, error) {
	if f.err != nil {
		return event.Record{}, f.err
	}
	r := f.records[seq-1]
	r.Status = to
	return r, nil
}

func (f *fake) SetHandlerPaused(_ context.Context, name string, paused bool) error {
	return f.pause("service-a", name, paused)
}

func (f *fake) SetSourcePaused(_ context.Context, name string, paused bool) error {
	return f.pause("up/stream", name, paused)
}

func (f *fake) pause(known, name string, paused bool) error {
	if f.err != nil {
		return f.err
	}
	if name != known {
		return event.ErrNotFound
	}
	f.paused[name] = paused
	return nil
}

func (f *fake) Snapshot() event.Snapshot {
	return event.Snapshot{
		Counts:    event.Counts{event.Inbound: {event.Completed: 7}},
		Handlers:  []event.HandlerInfo{{Name: "service-a", Kind: "http", Concurrency: 64}},
		Sources:   []event.SourceInfo{{Name: "up/stream", Subject: "REQUEST_TOPIC_A1", Table: event.Inbound}},
		Store:     event.StoreInfo{Path: "eventd.db", Size: 4096, Oldest: map[event.Status]time.Time{event.Retry: noon, event.Error: {}}},
		Connected: true,
	}
}

func (f *fake) Routes() []event.RouteInfo {
	return []event.RouteInfo{{Name: "start", MessageType: []string{"RQ_A_INIT"}, Handlers: []string{"service-a"}}}
}

func (f *fake) Schedules() []event.ScheduleInfo {
	return []event.ScheduleInfo{{Name: "nightly", Cron: "0 2 * * *", Timezone: "UTC", MessageType: "RQ_A_CLOSE", Missed: "once", Next: noon}}
}

func (f *fake) Problems() []string { return f.problems }

func (f *fake) Explain(m event.Message) []event.Explanation {
	if m.MessageType != "RQ_A_INIT" {
		return nil
	}
	return []event.Explanation{
		{Route: "first", Matched: true, Handlers: []string{"a", "b"}, Why: "it fits"},
		{Route: "second", Matched: false, Handlers: []string{"c"}, Why: "table is " + m.Table.String()},
		{Route: "third", Matched: true, Handlers: []string{"b", "d"}, Why: "it fits"},
	}
}

func (f *fake) Reload(context.Context) error { return f.reload }

func (f *fake) Config() ([]byte, error) { return []byte("service: SERVICE_A\n"), f.err }

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// row returns a record as the store would: completed by one delivery.
func row(seq uint64, table event.Table, source, id string) event.Record {
	return event.Record{
		Event: event.Event{Seq: seq, Table: table, ID: id, SourceService: source, MessageType: "RQ_A_INIT", CreatedAt: noon},
		State: event.State{Status: event.Completed, UpdatedAt: noon,
			Deliveries: []event.Delivery{{Handler: "service-a", Route: "start", Status: event.Completed, Attempts: 1}}},
	}
}

func newFake(records ...event.Record) *fake {
	return &fake{records: records, payloads: map[uint64][]event.Payload{}, paused: map[string]bool{}}
}

func options(f *fake) api.Options {
	return api.Options{
		Service: "SERVICE_A", Version: "1.2.3", Started: noon, Listen: "127.0.0.1:9180",
		Intake: f, Reader: f, Working: f, Operator: f, Redriver: f, Claims: f, Switches: f, Ordering: f, Overview: f, Explainer: f, Control: f, Backups: f,
		Log: zerolog.Nop(),
	}
}

func serve(f *fake) http.Handler { return api.New(options(f)) }

// ask makes a request as a program on this machine would. header is name,
// value, name, value.
func ask(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:9180"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func postJSON(h http.Handler, target, body string) *httptest.ResponseRecorder {
	return ask(h, http.MethodPost, target, body, "Content-Type", "application/json")
}

// want decodes a JSON answer that must have a status.
func want[T any](t *testing.T, w *httptest.ResponseRecorder, status int) T {
	t.Helper()
	var v T
	if w.Code != status {
		t.Fatalf("status = %d; want %d\n%s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("answer is no JSON: %v\n%s", err, w.Body)
	}
	return v
}

// wantProblem checks that an answer is a problem as RFC 9457 has it.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, detail string) wire.Problem {
	t.Helper()
	p := want[wire.Problem](t, w, status)
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type = %q; want application/problem+json", got)
	}
	if p.Status != status || p.Title != http.StatusText(status) {
		t.Errorf("status, title = %d, %q; want %d, %q", p.Status, p.Title, status, http.StatusText(status))
	}
	if !strings.Contains(p.Detail, detail) {
		t.Errorf("detail = %q; want it to contain %q", p.Detail, detail)
	}
	return p
}

var errDisk = errors.New("disk on fire")
