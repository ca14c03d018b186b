package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// WorkingData is kept for conversations that have a record. The fake does not
// merge: it puts a patch in its place and notes that it was one.
func (f *fake) WorkingData(_ context.Context, id string) (event.Document, error) {
	d, ok := f.working[id]
	if f.err != nil {
		return d, f.err
	}
	if !ok {
		return d, fmt.Errorf("working data of %q: %w", id, event.ErrNotFound)
	}
	return d, nil
}

func (f *fake) AmendWorkingData(_ context.Context, a event.Amendment) (event.Document, error) {
	f.amendment = a
	if f.err != nil {
		return event.Document{}, f.err
	}
	d := f.working[a.CorrelationID]
	if err := a.Check(d); err != nil {
		return d, err
	}
	if len(f.records) == 0 || f.records[0].CorrelationID != a.CorrelationID {
		return d, event.ErrNotFound
	}
	d.Version, d.Body, d.CreatedAt, d.UpdatedAt, d.UpdatedBy = d.Version+1, a.Body, noon, noon.Add(time.Minute), a.By
	f.working[a.CorrelationID] = d
	return d, nil
}

// talking is a fake with one event of the conversation c/1.
func talking() *fake {
	r := row(1, event.Inbound, "UP", "e1")
	r.CorrelationID = "c/1"
	f := newFake(r)
	f.working = map[string]event.Document{}
	return f
}

const working = "/v1/working-data/c%2F1"

func put(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	return ask(h, "PUT", working, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

func wantDocument(t *testing.T, w *httptest.ResponseRecorder, status int, body string) (etag string) {
	t.Helper()
	etag = w.Header().Get("ETag")
	if w.Code != status || w.Body.String() != body || w.Header().Get("Content-Type") != "application/json" || etag == "" {
		t.Errorf("%d %s %q ETag %s; want %d %s", w.Code, w.Body, w.Header().Get("Content-Type"), etag, status, body)
	}
	return etag
}

func TestWorkingData(t *testing.T) {
	f := talking()
	h := serve(f)
	wantProblem(t, ask(h, "GET", working, ""), 404, `no working data of "c/1"`)
	first := wantDocument(t, put(h, ` {"a": 1} `), 201, `{"a": 1}`)
	if f.amendment.Merge || f.amendment.By != "SERVICE_A" {
		t.Errorf("ordered %+v; want a whole document by the daemon's service", f.amendment)
	}
	if got := wantDocument(t, ask(h, "GET", working, ""), 200, `{"a": 1}`); got != first {
		t.Errorf("ETag = %s; want %s", got, first)
	}
	w := ask(h, "PATCH", working, `{"b":2}`, "Content-Type", "application/merge-patch+json", "Eventd-Service", "DESK")
	if second := wantDocument(t, w, 200, `{"b":2}`); second == first || !f.amendment.Merge || f.amendment.By != "DESK" {
		t.Errorf("ETag %s after %s, ordered %+v; want another one and a patch by DESK", second, first, f.amendment)
	}
	wantDocument(t, ask(h, "PATCH", working, `{"c":3}`, "Content-Type", "application/json"), 200, `{"c":3}`)
	wantProblem(t, ask(h, "PUT", "/v1/working-data/other", "{}", "Content-Type", "application/json"), 404, `no event with the correlation id "other"`)
}

func TestWorkingDataConditions(t *testing.T) {
	f := talking()
	h := serve(f)
	wantProblem(t, put(h, "{}", "If-Match", "*"), 412, "there is no document yet")
	wantProblem(t, put(h, "{}", "If-Match", `"1-x"`), 412, "there is no document yet")
	first := wantDocument(t, put(h, "{}", "If-None-Match", "*"), 201, "{}")
	for _, c := range []struct {
		header, value string
		want          int
	}{
		{"If-None-Match", "*", 412},
		{"If-None-Match", "W/" + first, 412},
		{"If-None-Match", `"9-x", ` + first, 412},
		{"If-Match", `"9-x"`, 412},
		{"If-Match", "W/" + first, 412}, // compared strongly
		{"If-Match", `"9-x" , ` + first, 200},
		{"If-None-Match", `"9-x"`, 200},
		{"If-Match", "*", 200},
	} {
		f.working["c/1"] = event.Document{Version: 1, CreatedAt: noon, Body: []byte("{}")}
		w := put(h, `{"n":1}`, c.header, c.value)
		if w.Code != c.want {
			t.Errorf("PUT with %s: %s = %d %s; want %d", c.header, c.value, w.Code, w.Body, c.want)
		}
		if changed := string(f.working["c/1"].Body) != "{}"; changed != (c.want == 200) {
			t.Errorf("PUT with %s: %s changes it: %t", c.header, c.value, changed)
		}
		if w.Code == 412 && w.Header().Get("ETag") != first {
			t.Errorf("412 with ETag %s; want the one to ask with, %s", w.Header().Get("ETag"), first)
		}
	}
	f.working["c/1"] = event.Document{Version: 1, CreatedAt: noon, Body: []byte("{}")}
	if w := ask(h, "GET", working, "", "If-None-Match", "W/"+first); w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("ETag") != first {
		t.Errorf("GET of what is known = %d %s, ETag %s; want 304", w.Code, w.Body, w.Header().Get("ETag"))
	}
	wantDocument(t, ask(h, "GET", working, "", "If-None-Match", `"9-x"`), 200, "{}")
	wantProblem(t, ask(h, "GET", working, "", "If-Match", `"9-x"`), 412, "the document has the ETag")
	// A document that has the version of an earlier one is another document.
	f.working["c/1"] = event.Document{Version: 1, CreatedAt: noon.Add(time.Microsecond), Body: []byte("{}")}
	wantProblem(t, put(h, "{}", "If-Match", first), 412, "the document has the ETag")
}

func TestWorkingDataIsRefused(t *testing.T) {
	f := talking()
	h := serve(f)
	for body, want := range map[string]int{
		`[1]`: 422, `"x"`: 422, `7`: 422, `null`: 422, `{`: 400, `{} {}`: 400, ``: 400,
		`{"x":"` + strings.Repeat("x", event.MaxDocument) + `"}`: 413,
	} {
		for _, method := range []string{"PUT", "PATCH"} {
			if w := ask(h, method, working, body, "Content-Type", "application/json"); w.Code != want {
				t.Errorf("%s %.20s = %d %s; want %d", method, body, w.Code, w.Body, want)
			}
		}
	}
	wantProblem(t, ask(h, "PUT", working, "{}", "Content-Type", "text/plain"), 415, "")
	if len(f.working) != 0 {
		t.Errorf("working data = %v; want none", f.working)
	}
	largest := `{"x":"` + strings.Repeat("x", event.MaxDocument-8) + `"}`
	if w := put(h, largest); w.Code != 201 {
		t.Errorf("as large as may be = %d %.100s", w.Code, w.Body)
	}
	for err, want := range map[error]int{event.ErrTooLarge: 413, event.ErrUnavailable: 503, errDisk: 500} {
		f.err = err
		wantProblem(t, put(h, "{}"), want, err.Error())
	}
	f.err = errDisk
	wantProblem(t, ask(h, "GET", working, ""), 500, errDisk.Error())
}

func TestConversation(t *testing.T) {
	f := newFake()
	f.working = map[string]event.Document{"c": {Version: 3, Body: []byte(`{"a":1}`), CreatedBy: "A", CreatedAt: noon, UpdatedBy: "B", UpdatedAt: noon}}
	for i, r := range []struct {
		table event.Table
		id    string
		after time.Duration
	}{
		{event.Inbound, "in", 0}, {event.Request, "rq", time.Second}, {event.Request, "other", 2 * time.Second},
		{event.Response, "rq", 5 * time.Second}, {event.Response, "rq", 6 * time.Second}, {event.Response, "in", 7 * time.Second},
	} {
		rec := row(uint64(i+1), r.table, fmt.Sprint("S", i), r.id)
		rec.CorrelationID, rec.CreatedAt = "c", noon.Add(r.after)
		f.records = append(f.records, rec)
		f.payloads[rec.Seq] = []event.Payload{{EventID: r.id, Body: []byte(`{"n":` + fmt.Sprint(i) + `}`), CreatedAt: rec.CreatedAt}}
	}
	h := serve(f)
	c := want[wire.Conversation](t, ask(h, "GET", "/v1/correlations/c?limit=6", ""), 200)
	if f.asked.CorrelationID != "c" || !f.page.OldestFirst || f.page.Limit != 6 || c.Truncated {
		t.Errorf("asked for %+v, %+v; truncated %t", f.asked, f.page, c.Truncated)
	}
	if len(c.Rows) != 6 || c.Rows[3].Table != "response" || c.WorkingData.Version != 3 || string(c.WorkingData.Document) != `{"a":1}` || c.WorkingData.ETag == "" {
		t.Errorf("rows %+v, working data %+v", c.Rows, c.WorkingData)
	}
	if p := c.Payloads[5]; len(c.Payloads) != 6 || string(p.Payload) != "null" || p.Encoding != "omitted" || p.Size != 7 {
		t.Errorf("payload = %+v; want its size alone", p)
	}
	var waits []string
	for _, w := range c.Waits {
		waits = append(waits, fmt.Sprintf("%s %s-%s %v", w.Kind, w.From.SourceService, w.To.SourceService, w.DurationMS))
	}
	if got, want := strings.Join(waits, ", "), "next S0-S1 1000, next S1-S2 1000, next S2-S3 3000, answer S1-S3 4000, next S3-S4 1000, next S4-S5 1000"; got != want {
		t.Errorf("waits: %s\nwant   %s", got, want)
	}
	if c = want[wire.Conversation](t, ask(h, "GET", "/v1/correlations/c?payloads=true", ""), 200); string(c.Payloads[5].Payload) != `{"n":5}` {
		t.Errorf("payload = %+v; want the body", c.Payloads[5])
	}
	if c = want[wire.Conversation](t, ask(h, "GET", "/v1/correlations/c?limit=2", ""), 200); len(c.Rows) != 2 || !c.Truncated {
		t.Errorf("%d rows, truncated %t; want 2, true", len(c.Rows), c.Truncated)
	}
	delete(f.working, "c")
	if c = want[wire.Conversation](t, ask(h, "GET", "/v1/correlations/c", ""), 200); c.WorkingData != nil {
		t.Errorf("working data = %+v; want null", c.WorkingData)
	}
	f.records = nil
	wantProblem(t, ask(h, "GET", "/v1/correlations/c", ""), 404, `no event with the correlation id "c"`)
}

// TestConversationIsBounded: bodies are left out after 4 MiB of them.
func TestConversationIsBounded(t *testing.T) {
	f := talking()
	body, _ := json.Marshal(strings.Repeat("x", 200<<10))
	for range 25 {
		f.payloads[1] = append(f.payloads[1], event.Payload{Body: body})
	}
	f.payloads[1] = append(f.payloads[1], event.Payload{Body: []byte("{}")})
	c := want[wire.Conversation](t, ask(serve(f), "GET", "/v1/correlations/c%2F1?payloads=true", ""), 200)
	shown := 0
	for _, p := range c.Payloads {
		if p.Encoding != "omitted" {
			shown += len(p.Payload)
		}
	}
	if shown > 4<<20 || shown < 4<<20-300<<10 || len(c.Payloads) != 26 || c.Payloads[25].Encoding != "json" {
		t.Errorf("%d bytes of %d payloads are shown; want just under 4 MiB, and the small one", shown, len(c.Payloads))
	}
}
