package api_test

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// whole is a record with every field set, fanned out to two handlers.
func whole() event.Record {
	return event.Record{
		Event: event.Event{
			Seq: 1, Table: event.Inbound, ID: "7f3", MessageType: "RQ_A_INIT", SourceService: "UPSTREAM_A1",
			TargetService: "SERVICE_A", Topic: "REQUEST_TOPIC_A1", CorrelationID: "c1", CausationID: "c0",
			CreatedBy: "SERVICE_A", CreatedAt: noon.In(time.FixedZone("far", 3600)), ContentType: "application/json",
			Hops: 2, Source: "upstream-a1", DeliverAt: noon.Add(time.Second), Expires: noon.Add(time.Hour),
		},
		State: event.State{
			Status: event.Retry, Reason: "http_503", UpdatedBy: "LEDGER", UpdatedAt: noon.Add(1234567 * time.Nanosecond),
			Deliveries: []event.Delivery{
				{Handler: "audit", Route: "start", Status: event.Completed, Attempts: 1, FirstAttempt: noon},
				{Handler: "ledger", Route: "start", Status: event.Retry, Reason: "http_503", Attempts: 3, Uncharged: 1,
					Interruptions: 1, Generation: 2, FirstAttempt: noon, NextAttempt: noon.Add(time.Minute)},
			},
			Timeline: []event.Entry{
				{At: noon, Status: event.InProgress, Attempt: 1, Handler: "ledger"},
				{At: noon.Add(time.Second), Status: event.Retry, Attempt: 1, Handler: "ledger", Reason: "http_503",
					Detail: "<b>later</b>", Code: 503, Duration: 1234567 * time.Nanosecond},
			},
		},
	}
}

func TestRowGolden(t *testing.T) {
	golden(t, "row.json", ask(serve(newFake(whole())), "GET", "/v1/events", ""))
}

func TestDetailGolden(t *testing.T) {
	f := newFake(whole())
	f.payloads[1] = []event.Payload{
		{EventID: "7f3", Topic: "REQUEST_TOPIC_A1", SourceService: "UPSTREAM_A1", TargetService: "SERVICE_A",
			Body: []byte(`{"amount": 10.50, "note": "<&>"}`), ContentType: "application/json", CreatedBy: "UPSTREAM_A1", CreatedAt: noon},
		{EventID: "7f3", Topic: "REQUEST_TOPIC_B", Body: []byte{0xff, 0x00}, ContentType: "application/octet-stream", CreatedAt: noon},
	}
	golden(t, "detail.json", ask(serve(f), "GET", "/v1/events/7f3", ""))
}

// golden compares an answer with a file; UPDATE_GOLDEN=1 writes the file.
func golden(t *testing.T, name string, w interface {
	Result() *http.Response
}) {
	t.Helper()
	var got bytes.Buffer
	answer := w.Result()
	if answer.StatusCode != 200 {
		t.Fatalf("status = %d", answer.StatusCode)
	}
	var raw json.RawMessage
	if err := json.NewDecoder(answer.Body).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&got, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile("testdata/"+name, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got.Bytes(), want)
	}
}

func TestShowOverTables(t *testing.T) {
	request, response := row(1, event.Request, "SERVICE_A", "7f3"), row(2, event.Response, "BANK", "7f3")
	request.Timeline = []event.Entry{{At: noon, Status: event.Unprocessed}, {At: noon.Add(3 * time.Second), Status: event.Completed}}
	response.Timeline = []event.Entry{{At: noon.Add(time.Second), Status: event.Unprocessed}}
	f := newFake(response, request) // not in the order of Seq
	f.payloads = map[uint64][]event.Payload{1: {{Body: []byte("1")}}, 2: {{Body: []byte("2")}}}
	d := want[wire.Detail](t, ask(serve(f), "GET", "/v1/events/7f3", ""), 200)
	if len(d.Rows) != 2 || d.Rows[0].Table != "request" || d.Rows[1].Table != "response" {
		t.Errorf("rows = %+v; want request, response", d.Rows)
	}
	if len(d.Timeline) != 3 || d.Timeline[1].Ref != (wire.Ref{Table: "response", EventSource: "BANK"}) {
		t.Errorf("timeline = %+v; want both, by time", d.Timeline)
	}
	if len(d.Deliveries) != 2 || len(d.Payloads) != 2 || string(d.Payloads[1].Payload) != "2" {
		t.Errorf("deliveries, payloads = %+v, %+v", d.Deliveries, d.Payloads)
	}
}

func TestShowNothing(t *testing.T) {
	wantProblem(t, ask(serve(newFake()), "GET", "/v1/events/7f3", ""), 404, `there is no event "7f3"`)
}

func TestAnyIDCanBeAskedFor(t *testing.T) {
	for _, id := range []string{
		"a/b", "../../etc/passwd", ".", "..", "a b", "a+b", "a%2Fb", "a?b#c", "/payload", "x/redrive", "é\u202e",
		"\x00\n\r", `<script>"'`, "{event_id}", strings.Repeat("x", 4000),
	} {
		escaped := strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
		h := serve(newFake(row(1, event.Inbound, "UP", id)))
		d := want[wire.Detail](t, ask(h, "GET", "/v1/events/"+escaped, ""), 200)
		if d.Rows[0].EventID != id {
			t.Errorf("asked for %q, got %q", id, d.Rows[0].EventID)
		}
		want[wire.Changed](t, ask(h, "POST", "/v1/events/"+escaped+"/redrive", ""), 200)
	}
}

func TestPayloadInline(t *testing.T) {
	large := strings.Repeat("x", 256<<10+1)
	for _, c := range []struct{ contentType, body, want, encoding string }{
		{"application/json", `{"a":1.10}`, `{"a":1.10}`, "json"},
		{"application/vnd.bank+json; charset=utf-8", `[1]`, `[1]`, "json"},
		{"", `{"a":1}`, `{"a":1}`, "json"},
		{"", `hello`, `"hello"`, "text"},
		{"application/json", `{"a":`, `"{\"a\":"`, "text"},
		{"application/json", ``, `""`, "text"},
		{"text/plain", `123`, `"123"`, "text"},
		{"application/json", "\"\xff\"", `"Iv8i"`, "base64"},
		{"image/png", "\x89PNG\xff", `"iVBOR/8="`, "base64"},
		{"text/plain", large, `null`, "omitted"},
		{"text/plain", large[1:], `"` + large[1:] + `"`, "text"},
	} {
		f := newFake(row(1, event.Inbound, "UP", "e"))
		f.payloads[1] = []event.Payload{{Body: []byte(c.body), ContentType: c.contentType}}
		p := want[wire.Detail](t, ask(serve(f), "GET", "/v1/events/e", ""), 200).Payloads[0]
		if string(p.Payload) != c.want || p.Encoding != c.encoding || p.Size != len(c.body) {
			t.Errorf("%q %.20q: %.40s %s %d; want %.40s %s %d", c.contentType, c.body, p.Payload, p.Encoding, p.Size, c.want, c.encoding, len(c.body))
		}
	}
}

// TestPayloadRemoved: a payload that retention took is shown as such, with all
// that is still known of it.
func TestPayloadRemoved(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e"))
	f.payloads[1] = []event.Payload{{EventID: "e", Topic: "IN", ContentType: "text/plain", Removed: true}, {EventID: "e", Body: []byte("kept")}}
	h := serve(f)
	d := want[wire.Detail](t, ask(h, "GET", "/v1/events/e", ""), 200)
	if p := d.Payloads[0]; string(p.Payload) != "null" || p.Encoding != wire.EncodingRemoved || p.Topic != "IN" {
		t.Errorf("payload = %+v; want it removed, its topic there", p)
	}
	wantProblem(t, ask(h, "GET", "/v1/events/e/payload", ""), 410, event.ErrPayloadRemoved.Error())
	if w := ask(h, "GET", "/v1/events/e/payload?n=1", ""); w.Body.String() != "kept" {
		t.Errorf("n=1: %s", w.Body)
	}
}

func TestPayloadBytes(t *testing.T) {
	f := newFake(row(1, event.Inbound, "UP", "e/1"))
	f.payloads[1] = []event.Payload{
		{EventID: "e/1", Body: []byte("<script>alert(1)</script>"), ContentType: "text/html; charset=utf-8"},
		{EventID: "e/1", Body: []byte("second"), ContentType: "text/plain"},
	}
	h := serve(f)
	w := ask(h, "GET", "/v1/events/e%2F1/payload", "")
	if w.Code != 200 || w.Body.String() != "<script>alert(1)</script>" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for name, value := range map[string]string{
		"Content-Type":                 "text/html; charset=utf-8",
		"X-Content-Type-Options":       "nosniff",
		"Content-Disposition":          `attachment; filename="payload-e_1"`,
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; sandbox",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
	} {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s = %q; want %q", name, got, value)
		}
	}
	if w := ask(h, "GET", "/v1/events/e%2F1/payload?n=1", ""); w.Body.String() != "second" {
		t.Errorf("n=1: %s", w.Body)
	}
	wantProblem(t, ask(h, "GET", "/v1/events/e%2F1/payload?n=2", ""), 404, "has 2 payloads")
	wantProblem(t, ask(h, "GET", "/v1/events/e%2F1/payload?n=-1", ""), 422, "")
	wantProblem(t, ask(h, "GET", "/v1/events/nope/payload", ""), 404, "there is no event")
}

func TestPayloadHeadersAreSafe(t *testing.T) {
	for _, c := range []struct{ id, contentType, want string }{
		{"e", "", "application/octet-stream"},
		{"e", "nonsense", "application/octet-stream"},
		{"e", "text/html\r\nSet-Cookie: a=b", "application/octet-stream"},
		{"e", "Text/HTML;Charset=utf-8", "text/html; charset=utf-8"},
		{"e", "not a type", "application/octet-stream"},
		{"\"\r\n<é>/../x", "text/plain", "text/plain"},
		{strings.Repeat("x", 5000), "text/plain", "text/plain"},
	} {
		f := newFake(row(1, event.Inbound, "UP", c.id))
		f.payloads[1] = []event.Payload{{EventID: c.id, Body: []byte("x"), ContentType: c.contentType}}
		w := ask(serve(f), "GET", "/v1/events/"+url.PathEscape(c.id)+"/payload", "")
		if got := w.Header().Get("Content-Type"); got != c.want {
			t.Errorf("content type %q is served as %q; want %q", c.contentType, got, c.want)
		}
		kind, params, err := mime.ParseMediaType(w.Header().Get("Content-Disposition"))
		if err != nil || kind != "attachment" || strings.ContainsAny(params["filename"], "/\\\"\r\n<>") || len(params["filename"]) > 110 {
			t.Errorf("Content-Disposition = %q (%v)", w.Header().Get("Content-Disposition"), err)
		}
	}
}
