package envelope

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/net/http/httpguts"
	"pgregory.net/rapid"

	"github.com/eventd-io/eventd/event"
)

func attempt() *event.Attempt {
	return &event.Attempt{
		Event: &event.Event{Table: event.Inbound, ID: "e-1", MessageType: "RQ_A", SourceService: "UP A", CorrelationID: "c-1", CausationID: "p-1",
			CreatedAt: received, ContentType: "application/json", Headers: map[string]string{"x-tenant": "t1"}},
		Payload: []byte(`{"a": 1}`), Handler: "service-a", Route: "start", Number: 3,
	}
}

// flat returns a header as lines, sorted.
func flat(h map[string][]string) string {
	var lines []string
	for name, values := range h {
		lines = append(lines, name+": "+strings.Join(values, " | "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// encoded returns what Encode does, with the headers by name.
func encoded(a *event.Attempt, f Format, source string) (h map[string][]string, body []byte) {
	fields, body := Encode(nil, a, f, source)
	h = map[string][]string{}
	for _, f := range fields {
		h[f.Name] = append(h[f.Name], f.Value)
	}
	return h, body
}

const ownHeaders = "\nEventd-Attempt: 3\nEventd-Route: start\nEventd-Table: inbound\nWebhook-Id: e-1\nX-Tenant: t1"

func TestEncodeBinary(t *testing.T) {
	a := attempt()
	h, body := encoded(a, Binary, "/eventd/SERVICE_A")
	want := "Ce-Causationid: p-1\nCe-Correlationid: c-1\nCe-Id: e-1\nCe-Source: /eventd/SERVICE_A/UP%2520A\nCe-Specversion: 1.0\n" +
		"Ce-Time: 2026-03-01T12:00:00Z\nCe-Type: RQ_A\nContent-Type: application/json" + ownHeaders
	if got := flat(h); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if &body[0] != &a.Payload[0] {
		t.Error("the body is not the payload itself")
	}
}

func TestEncodeBinaryKeepsAttributes(t *testing.T) {
	a := attempt()
	a.Event.Attributes = map[string]string{"specversion": "1.0", "source": "/orig", "time": "2020-01-01T00:00:00+01:00", "subject": `50% "Euro €"`,
		"traceparent": "00-ab", "Bad_Name": "x", "id": "no", "type": "no", "datacontenttype": "no/no"}
	h, _ := encoded(a, Binary, "/eventd")
	want := "Ce-Causationid: p-1\nCe-Correlationid: c-1\nCe-Id: e-1\nCe-Source: /orig\nCe-Specversion: 1.0\nCe-Subject: 50%25%20%22Euro%20%E2%82%AC%22\n" +
		"Ce-Time: 2020-01-01T00:00:00+01:00\nCe-Traceparent: 00-ab\nCe-Type: RQ_A\nContent-Type: application/json\n" +
		"Eventd-Attempt: 3\nEventd-Route: start\nEventd-Table: inbound\nTraceparent: 00-ab\nWebhook-Id: e-1\nX-Tenant: t1"
	if got := flat(h); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEncodeRaw(t *testing.T) {
	a := attempt()
	h, body := encoded(a, Raw, "/eventd")
	want := "Causation-Id: p-1\nContent-Type: application/json\nCorrelation-Id: c-1\nEventd-Attempt: 3\nEventd-Message-Type: RQ_A\n" +
		"Eventd-Route: start\nEventd-Table: inbound\nWebhook-Id: e-1\nX-Tenant: t1"
	if got := flat(h); got != want || &body[0] != &a.Payload[0] {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	a.Event.MessageType = "" // could not be decoded, and someone redrives it
	for _, f := range []Format{Binary, Structured, Raw} {
		h, body = encoded(a, f, "/eventd")
		if got := flat(h); got != strings.Replace(want, "Eventd-Message-Type: RQ_A\n", "", 1) || &body[0] != &a.Payload[0] {
			t.Errorf("format %d without message type: got\n%s", f, got)
		}
	}
}

func TestEncodeStructured(t *testing.T) {
	a := attempt()
	a.Event.Headers["Content-Encoding"] = "gzip"
	h, body := encoded(a, Structured, "/eventd")
	if got, want := flat(h), "Content-Type: application/cloudevents+json"+ownHeaders; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want := `{"causationid":"p-1","correlationid":"c-1","datacontenttype":"application/json","id":"e-1","source":"/eventd/UP%20A",` +
		`"specversion":"1.0","time":"2026-03-01T12:00:00Z","type":"RQ_A","data":{"a": 1}}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestEncodeStructuredData(t *testing.T) {
	for _, tt := range []struct{ contentType, payload, want string }{
		{"application/json", `[1]`, `,"data":[1]}`},
		{"application/json", ``, `"type":"RQ_A"}`},
		{"application/json", `[1`, `,"data_base64":"WzE="}`},
		{"application/json", "\"\xff\"", `,"data_base64":"Iv8i"}`},
		{"text/plain", "a\nb", `,"data":"a\nb"}`},
		{"text/plain", "\xff", `,"data_base64":"/w=="}`},
		{"application/x", "abc", `,"data_base64":"YWJj"}`},
		{"", "{}", `,"data_base64":"e30="}`},
		{"no type at all", "{}", `,"data_base64":"e30="}`},
	} {
		a := attempt()
		a.Event.ContentType, a.Payload = tt.contentType, []byte(tt.payload)
		_, body := encoded(a, Structured, "/eventd")
		if !strings.HasSuffix(string(body), tt.want) || !json.Valid(body) {
			t.Errorf("%s %q: got %s; want it to end with %s", tt.contentType, tt.payload, body, tt.want)
		}
	}
}

func TestEncodeNeverSendsInvalidHeaders(t *testing.T) {
	a := attempt()
	a.Event.ID, a.Route, a.Event.ContentType = "a\r\nX-Evil: 1", "r\n", "a/b\r\nX-Evil: 1"
	a.Event.Attributes = map[string]string{"subject": "a\r\nb", "traceparent": "a\nb"}
	a.Event.Headers = map[string]string{"x-a": "1\r\nX-Evil: 1", "x b": "1", "": "1", "x-ok": "ä", "Host": "evil", "content-length": "7",
		"Transfer-Encoding": "chunked", "ce-id": "evil", "Webhook-Id": "evil", "eventd-attempt": "9", "Connection": "close"}
	h, _ := encoded(a, Binary, "/eventd\n")
	want := map[string]string{"Ce-Id": "a%0D%0AX-Evil:%201", "Webhook-Id": "a%0D%0AX-Evil:%201", "Eventd-Route": "r%0A", "Ce-Subject": "a%0D%0Ab",
		"Ce-Source": "/eventd%0A/UP%2520A", "Eventd-Attempt": "3", "X-Ok": "ä", "Ce-Traceparent": "a%0Ab"}
	for name, value := range want {
		if got := h[name]; len(got) != 1 || got[0] != value {
			t.Errorf("%s = %q; want %q", name, got, value)
		}
	}
	for _, name := range []string{"X-A", "X b", "", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Content-Type", "Traceparent"} {
		if got, ok := h[name]; ok {
			t.Errorf("%s = %q; want none", name, got)
		}
	}
	checkHeader(t, h)
}

func TestEncodeHeadersThatDifferInCase(t *testing.T) {
	for range 20 {
		a := attempt()
		a.Event.Headers = map[string]string{"x-a": "2", "X-A": "1", "X-a": "3", "Traceparent": "h"}
		a.Event.Attributes = map[string]string{"traceparent": "a"}
		h, _ := encoded(a, Raw, "")
		if got := h["X-A"]; len(got) != 1 || got[0] != "1" {
			t.Fatalf("X-A = %q; want 1", got)
		}
		if got := h["Traceparent"]; len(got) != 1 || got[0] != "h" {
			t.Fatalf("Traceparent = %q; want that of the header", got)
		}
	}
}

// checkHeader holds a header against the rules of net/http.
func checkHeader(t interface{ Errorf(string, ...any) }, h map[string][]string) {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) || http.CanonicalHeaderKey(name) != name {
			t.Errorf("header name %q is not valid or not canonical", name)
		}
		if len(values) != 1 || !httpguts.ValidHeaderFieldValue(values[0]) {
			t.Errorf("header %s has the values %q", name, values)
		}
	}
}

// anyText draws strings that may hold anything, mostly awkward things.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", " ", "%", "%41", "a b", `"q"`, "a\r\nb", "\xff", "ä€", "\x7f", "\t", "+"}),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }))
}

func TestEncodeAlwaysValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string { return anyText().Draw(t, label) }
		a := &event.Attempt{Event: &event.Event{Table: event.Inbound, ID: text("id"), MessageType: text("type"), SourceService: text("service"),
			CorrelationID: text("correlation"), CausationID: text("causation"), ContentType: text("content type"),
			Attributes: rapid.MapOf(anyText(), anyText()).Draw(t, "attributes"), Headers: rapid.MapOf(anyText(), anyText()).Draw(t, "headers")},
			Payload: []byte(text("payload")), Route: text("route")}
		f := rapid.SampledFrom([]Format{Binary, Structured, Raw}).Draw(t, "format")
		h, body := encoded(a, f, text("source"))
		checkHeader(t, h)
		if h["Webhook-Id"] == nil || h["Eventd-Route"] == nil {
			t.Errorf("Webhook-Id, Eventd-Route = %q, %q", h["Webhook-Id"], h["Eventd-Route"])
		}
		if f == Structured && a.Event.MessageType != "" {
			if !json.Valid(body) {
				t.Errorf("body is not valid JSON: %s", body)
			}
		} else if !bytes.Equal(body, a.Payload) {
			t.Errorf("body = %q; want %q", body, a.Payload)
		}
	})
}

// sound draws text that an event can have after it was decoded.
func sound(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.StringMatching(`[!-~]([ -~]{0,20}[!-~])?`), rapid.SampledFrom([]string{"ä €", "%41", `"q"`, "a+b", "100%", `\`})).Draw(t, label)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &event.Event{Table: event.Inbound, ID: sound(t, "id"), MessageType: sound(t, "type"), CorrelationID: sound(t, "correlation"),
			CausationID: sound(t, "causation"), CreatedAt: received,
			ContentType: rapid.SampledFrom([]string{"application/json", "text/plain", "application/octet-stream"}).Draw(t, "content type"),
			Attributes: map[string]string{"specversion": "1.0", "source": "/s", "time": "2026-01-01T00:00:00Z",
				"subject": sound(t, "subject"), "ext1": sound(t, "ext1")},
			Headers: map[string]string{"X-App": rapid.StringMatching(`[!-~]{1,9}`).Draw(t, "header")}}
		payload := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.SampledFrom([][]byte{[]byte(`{"a":"ä"}`), []byte(`"x"`), []byte("null")})).Draw(t, "payload")
		f := rapid.SampledFrom([]Format{Binary, Structured}).Draw(t, "format")
		h, body := encoded(&event.Attempt{Event: e, Payload: payload, Route: "r"}, f, "/eventd")
		lower := header{} // as NATS would have it
		for name, values := range h {
			lower[strings.ToLower(name)] = values
		}
		m := Decode(lower, body, Origin{Table: event.Inbound, At: received})
		if m.Problem != "" {
			t.Fatalf("%s: %s", m.Problem, m.Detail)
		}
		want := payload
		if f == Structured && e.ContentType == "application/json" && json.Valid(payload) {
			want = bytes.TrimSpace(payload) // as a part of another JSON it has no space around it
		}
		if !bytes.Equal(m.Payload, want) {
			t.Errorf("Payload = %q; want %q", m.Payload, want)
		}
		if h := m.Headers["x-app"]; h != e.Headers["X-App"] || !maps.Equal(m.Attributes, e.Attributes) {
			t.Errorf("Headers, Attributes = %v, %v; want %v, %v", m.Headers, m.Attributes, e.Headers, e.Attributes)
		}
		e.Headers, m.Event.Headers = nil, nil
		if got, want := asJSON(m.Event), asJSON(e); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if f == Structured {
			checkWithLibrary(t, body, e, want)
		}
	})
}

// checkWithLibrary reads a structured event as any user of the CloudEvents
// library would.
func checkWithLibrary(t *rapid.T, body []byte, e *event.Event, payload []byte) {
	var c cloudevents.Event
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatalf("library: %v: %s", err, body)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("library: %v: %s", err, body)
	}
	if c.ID() != e.ID || c.Type() != e.MessageType || c.DataContentType() != e.ContentType || !bytes.Equal(c.Data(), payload) {
		t.Errorf("library reads %s as\n%s", body, c)
	}
}

func BenchmarkEncodeBinary(b *testing.B) {
	a := attempt()
	a.Payload = kilobyte
	b.ReportAllocs()
	var fields Fields
	for b.Loop() {
		fields, _ = Encode(fields, a, Binary, "/eventd/SERVICE_A")
	}
}

func BenchmarkEncodeStructured(b *testing.B) {
	a := attempt()
	a.Payload = kilobyte
	b.ReportAllocs()
	var fields Fields
	for b.Loop() {
		fields, _ = Encode(fields, a, Structured, "/eventd/SERVICE_A")
	}
}
