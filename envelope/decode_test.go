package envelope

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/eventd-io/eventd/event"
)

var (
	received = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	stored   = received.Add(-time.Minute)
)

// origin is that of a JetStream message whose source has no message type.
func origin() Origin {
	return Origin{Table: event.Inbound, Source: "upstream", SourceService: "UPSTREAM_A1", TargetService: "SERVICE_A",
		Topic: "REQUEST_TOPIC_A1", CreatedBy: "SERVICE_A", At: received,
		Position: event.Position{Stream: "UPSTREAM", Sequence: 7, Stored: stored}}
}

func derived() string { return idOf(origin().Position) }

type header map[string][]string

// headerOf makes a header of names and values in turn.
func headerOf(pairs ...string) header {
	h := header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// binaryHeader is a whole CloudEvent in binary mode, with more headers.
func binaryHeader(more ...string) header {
	h := headerOf("ce-specversion", "1.0", "ce-id", "i1", "ce-source", "/a", "ce-type", "T")
	maps.Copy(h, headerOf(more...))
	return h
}

func TestDecodeForms(t *testing.T) {
	const structuredEvent = `{"specversion":"1.0","id":"s1","source":"/a","type":"T",`
	structuredHeader := headerOf("content-type", "application/cloudevents+json; charset=UTF-8")
	tests := []struct {
		name        string
		header      header
		body        string
		defaultType string
		want        event.Event // ID, MessageType, ContentType, CorrelationID, CausationID
		payload     string      // body when ""
	}{
		{name: "structured, JSON as it stands", header: structuredHeader, body: structuredEvent + `"data": {"a" : 1.0} }`,
			want: event.Event{ID: "s1", MessageType: "T", ContentType: "application/json"}, payload: `{"a" : 1.0}`},
		{name: "structured, base64", header: structuredHeader, body: structuredEvent + `"data_base64":"AP8=","datacontenttype":"image/x"}`,
			want: event.Event{ID: "s1", MessageType: "T", ContentType: "image/x"}, payload: "\x00\xff"},
		{name: "structured, text", header: structuredHeader, body: structuredEvent + `"data":"a\"b","datacontenttype":"text/plain"}`,
			want: event.Event{ID: "s1", MessageType: "T", ContentType: "text/plain"}, payload: `a"b`},
		{name: "structured, ids of the conversation", header: structuredHeader, body: structuredEvent + `"correlationid":"c","causationid":"p","data":1}`,
			want: event.Event{ID: "s1", MessageType: "T", ContentType: "application/json", CorrelationID: "c", CausationID: "p"}, payload: "1"},
		{name: "binary", header: binaryHeader("content-type", "text/csv"), body: "a,b",
			want: event.Event{ID: "i1", MessageType: "T", ContentType: "text/csv"}},
		{name: "binary before JSON", header: binaryHeader(), body: `{"event_id":"j1","message_type":"J"}`,
			want: event.Event{ID: "i1", MessageType: "T"}},
		{name: "binary, names as HTTP writes them", body: "x",
			header: headerOf("Ce-Specversion", "1.0", "Ce-Id", "i1", "Ce-Source", "/a", "Ce-Type", "T", "Content-Type", "text/plain"),
			want:   event.Event{ID: "i1", MessageType: "T", ContentType: "text/plain"}},
		{name: "binary, values percent-encoded and quoted", body: "x",
			header: binaryHeader("ce-id", "Euro%20%E2%82%AC", "ce-type", `"a \"T\""`),
			want:   event.Event{ID: "Euro €", MessageType: `a "T"`}},
		{name: "binary, a value that was never encoded", body: "x", header: binaryHeader("ce-id", "100%"),
			want: event.Event{ID: "100%", MessageType: "T"}},
		{name: "binary, correlation of the event before that of the header", body: "x",
			header: binaryHeader("ce-correlationid", "c1", "Correlation-Id", "c2", "Causation-Id", "p2"),
			want:   event.Event{ID: "i1", MessageType: "T", CorrelationID: "c1", CausationID: "p2"}},
		{name: "JSON", body: `{"event_id":"j1","message_type":"J","correlation_id":"c","causation_id":"p","x":1}`,
			want: event.Event{ID: "j1", MessageType: "J", ContentType: "application/json", CorrelationID: "c", CausationID: "p"}},
		{name: "JSON before headers and default", defaultType: "D", body: `{"event_id":"j1","service_message_type":"J"}`,
			header: headerOf("Eventd-Message-Type", "H", "Nats-Msg-Id", "n1", "Correlation-Id", "c"),
			want:   event.Event{ID: "j1", MessageType: "J", ContentType: "application/json", CorrelationID: "c"}},
		{name: "JSON, both names of the type", body: `{"service_message_type":"S","event_id":"j1","message_type":"J"}`,
			want: event.Event{ID: "j1", MessageType: "J", ContentType: "application/json"}},
		{name: "JSON, keys with escapes", body: `{"event\u005fid":"j1","message_type":"J"}`,
			want: event.Event{ID: "j1", MessageType: "J", ContentType: "application/json"}},
		{name: "JSON, ids of the conversation far behind", body: `{"event_id":"j1","message_type":"J","x":[1],"y":{"correlation_id":"no"},"causation_id":"p","correlation\u005fid":"c"}`,
			want: event.Event{ID: "j1", MessageType: "J", ContentType: "application/json", CorrelationID: "c", CausationID: "p"}},
		{name: "JSON, the first of two counts", body: `{"event_id":"j1","event_id":"j2","message_type":"J","message_type":"K","correlation_id":"c","correlation_id":"d"}`,
			want: event.Event{ID: "j1", MessageType: "J", ContentType: "application/json", CorrelationID: "c"}},
		{name: "JSON, keys deeper down do not count", body: `{"a":{"event_id":"no","message_type":"NO"},"event_id":"j1","message_type":"J"}`,
			want: event.Event{ID: "j1", MessageType: "J", ContentType: "application/json"}},
		{name: "JSON, id as a number", body: `{"event_id":12345678901234567890,"message_type":"J"}`,
			want: event.Event{ID: "12345678901234567890", MessageType: "J", ContentType: "application/json"}},
		{name: "JSON, no id", body: `{"message_type":"J"}`,
			want: event.Event{ID: derived(), MessageType: "J", ContentType: "application/json"}},
		{name: "JSON, id null counts as none", body: `{"event_id":null,"message_type":"J"}`,
			want: event.Event{ID: derived(), MessageType: "J", ContentType: "application/json"}},
		{name: "JSON, its type before the default", defaultType: "D", body: `{"message_type":"J"}`,
			want: event.Event{ID: derived(), MessageType: "J", ContentType: "application/json"}},
		{name: "headers", header: headerOf("Eventd-Message-Type", "H", "Nats-Msg-Id", "n1"), body: "\x00\x01",
			want: event.Event{ID: "n1", MessageType: "H"}},
		{name: "headers in lower case", header: headerOf("eventd-message-type", "H", "nats-msg-id", "n1"), body: "x",
			want: event.Event{ID: "n1", MessageType: "H"}},
		{name: "header without id", header: headerOf("Eventd-Message-Type", "H"), body: "x",
			want: event.Event{ID: derived(), MessageType: "H"}},
		{name: "default", defaultType: "D", body: "",
			want: event.Event{ID: derived(), MessageType: "D"}},
		{name: "default, id in JSON", defaultType: "D", body: `{"event_id":"j1"}`,
			want: event.Event{ID: "j1", MessageType: "D", ContentType: "application/json"}},
		{name: "default, id in header", defaultType: "D", header: headerOf("Nats-Msg-Id", "n1"), body: "x",
			want: event.Event{ID: "n1", MessageType: "D"}},
		{name: "default, content type kept", defaultType: "D", header: headerOf("Content-Type", "application/x"), body: `{}`,
			want: event.Event{ID: derived(), MessageType: "D", ContentType: "application/x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := origin()
			o.MessageType = tt.defaultType
			m := Decode(tt.header, []byte(tt.body), o)
			if m.Problem != "" {
				t.Fatalf("Problem = %s: %s; want none", m.Problem, m.Detail)
			}
			got := event.Event{ID: m.ID, MessageType: m.MessageType, ContentType: m.ContentType, CorrelationID: m.CorrelationID, CausationID: m.CausationID}
			if a, b := asJSON(got), asJSON(tt.want); a != b {
				t.Errorf("got  %s\nwant %s", a, b)
			}
			if want := either(tt.payload, tt.body); string(m.Payload) != want {
				t.Errorf("Payload = %q; want %q", m.Payload, want)
			}
		})
	}
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestDecodeUndecodable(t *testing.T) {
	const start = `{"specversion":"1.0","id":"s1","source":"/a","type":"T"`
	structuredHeader := headerOf("Content-Type", "application/cloudevents+json")
	tests := []struct {
		name   string
		header header
		body   string
		detail string // what must stand in it
	}{
		{"nothing", nil, "", "no CloudEvent (no header ce-type), the body is empty, no header Eventd-Message-Type, and the source has no message_type"},
		{"text", nil, "hello", "the body is not JSON"},
		{"broken JSON", nil, `{"event_id":"1","message_type":"T"`, "the body is not valid JSON"},
		{"two JSON values", nil, `{"event_id":"1","message_type":"T"} {}`, "the body is not valid JSON"},
		{"JSON array", nil, `[1]`, "the body is JSON but not an object"},
		{"JSON without type", nil, `{"event_id":"1"}`, "the body has no message_type"},
		{"JSON type no string", nil, `{"event_id":"1","message_type":{}}`, "the body has no message_type"},
		{"half a CloudEvent", headerOf("ce-id", "1"), "", "ce- headers, but no ce-type"},
		{"empty id", nil, `{"event_id":"","message_type":"T"}`, "event_id is empty"},
		{"blank id", nil, `{"event_id":" ","message_type":"T"}`, "event_id is empty"},
		{"empty type", nil, `{"event_id":"1","message_type":""}`, "message_type is empty"},
		{"long id", nil, `{"event_id":"` + strings.Repeat("x", 513) + `","message_type":"T"}`, "event_id has 513 bytes, more than 512"},
		{"control character in id", nil, `{"event_id":"a\nb","message_type":"T"}`, `event_id holds a control character: "a\nb"`},
		{"invalid UTF-8 in id", nil, "{\"event_id\":\"\xff\",\"message_type\":\"T\"}", "event_id is not valid UTF-8"},
		{"invalid UTF-8 in a header id", headerOf("Eventd-Message-Type", "T", "Nats-Msg-Id", "\xff"), "", "event_id is not valid UTF-8"},
		{"control character in type", headerOf("Eventd-Message-Type", "T\r\nX: y"), "", "message_type holds a control character"},
		{"control character in correlation", headerOf("Eventd-Message-Type", "T", "Correlation-Id", "\x00"), "", "correlation_id holds"},
		{"bad time", headerOf("Eventd-Message-Type", "T", "Eventd-Deliver-At", "soon"), "", `Eventd-Deliver-At is no RFC 3339 time: "soon"`},
		{"bad delay", headerOf("Eventd-Message-Type", "T", "Eventd-Delay", "5"), "", `Eventd-Delay is no duration such as 90s or 2h: "5"`},
		{"binary without id", headerOf("ce-type", "T", "ce-source", "/a", "ce-specversion", "1.0"), "", "attribute id is missing"},
		{"binary without source", headerOf("ce-type", "T", "ce-id", "1", "ce-specversion", "1.0"), "", "attribute source is missing"},
		{"binary without version", headerOf("ce-type", "T", "ce-id", "1", "ce-source", "/a"), "", "attribute specversion is missing"},
		{"binary of another version", binaryHeader("ce-specversion", "0.3"), "", `specversion "0.3" is not supported, only 1.0`},
		{"binary, bad source", binaryHeader("ce-source", ":bad"), "", `source is no URI reference: ":bad"`},
		{"binary, bad time", binaryHeader("ce-time", "yesterday"), "", `time is no RFC 3339 time: "yesterday"`},
		{"binary, relative schema", binaryHeader("ce-dataschema", "rel"), "", "attribute dataschema: if present"},
		{"binary, bad expiry", binaryHeader("ce-expirytime", "1h"), "", "expirytime is no RFC 3339 time"},
		{"binary, bad name", binaryHeader("ce-my-ext", "x"), "", `attribute "my-ext": a name holds letters a to z and digits only`},
		{"structured, no JSON", structuredHeader, "hello", "not valid JSON"},
		{"structured, rubbish behind", structuredHeader, start + `} x`, "not valid JSON"},
		{"structured, no object", structuredHeader, `[]`, "is no JSON object"},
		{"structured, no type", structuredHeader, `{"specversion":"1.0","id":"1","source":"/a"}`, "attribute type is missing"},
		{"structured, no id", structuredHeader, `{"specversion":"1.0","type":"T","source":"/a"}`, "attribute id is missing"},
		{"structured, id null", structuredHeader, `{"specversion":"1.0","id":null,"type":"T","source":"/a"}`, "attribute id is missing"},
		{"structured, id no string", structuredHeader, `{"specversion":"1.0","id":5,"type":"T","source":"/a"}`, "attribute id is no string: \"5\""},
		{"structured, extension an object", structuredHeader, start + `,"ext":{}}`, `attribute "ext" is no string, truth value or whole number: "{}"`},
		{"structured, extension a fraction", structuredHeader, start + `,"ext":1.5}`, `attribute "ext" is no string`},
		{"structured, empty name", structuredHeader, start + `,"":"x"}`, `attribute "": a name holds`},
		{"structured, attribute twice", structuredHeader, start + `,"id":"s2"}`, `attribute "id" is there twice`},
		{"structured, data twice", structuredHeader, start + `,"data":1,"data_base64":"AA=="}`, "data or data_base64 twice"},
		{"structured, base64 a number", structuredHeader, start + `,"data_base64":5}`, "data_base64 of the CloudEvent is no string"},
		{"structured, base64 broken", structuredHeader, start + `,"data_base64":"*"}`, "illegal base64"},
		{"structured, object as text", structuredHeader, start + `,"data":{},"datacontenttype":"text/plain"}`, `the data is no string, though its content type is "text/plain"`},
		{"structured, bad content type", structuredHeader, start + `,"datacontenttype":"a b"}`, "attribute datacontenttype: failed to parse"},
		{"batch", headerOf("Content-Type", "application/cloudevents-batch+json"), `[]`, "publish each as a message of its own"},
		{"other format", headerOf("Content-Type", "application/cloudevents+avro"), "x", `"application/cloudevents+avro" is not supported`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Decode(tt.header, []byte(tt.body), origin())
			if m.Problem != event.Undecodable || !strings.Contains(m.Detail, tt.detail) {
				t.Errorf("Problem, Detail = %q, %q; want %q with %q", m.Problem, m.Detail, event.Undecodable, tt.detail)
			}
			if m.ID != derived() || m.MessageType != "" || string(m.Payload) != tt.body {
				t.Errorf("ID, MessageType, Payload = %q, %q, %q; want %q, \"\", %q", m.ID, m.MessageType, m.Payload, derived(), tt.body)
			}
		})
	}
}

func TestDecodeKeepsWhatTheOriginSays(t *testing.T) {
	for _, body := range []string{`{"event_id":"1","message_type":"T"}`, "undecodable"} {
		o := origin()
		m := Decode(nil, []byte(body), o)
		got := Origin{Table: m.Table, Source: m.Source, SourceService: m.SourceService, TargetService: m.TargetService,
			Topic: m.Topic, CreatedBy: m.CreatedBy, Position: m.Position, At: m.CreatedAt}
		if got != o {
			t.Errorf("Decode(%s) has %+v; want %+v", body, got, o)
		}
	}
}

func TestDecodeIDFollowsPosition(t *testing.T) {
	o := origin()
	o.MessageType = "D"
	ids := map[string]bool{}
	for _, p := range []event.Position{
		{Stream: "A", Sequence: 1, Stored: stored}, {Stream: "A", Sequence: 2, Stored: stored},
		{Stream: "B", Sequence: 1, Stored: stored}, {Stream: "A", Sequence: 1, Stored: stored.Add(1)},
	} {
		o.Position = p
		a, b := Decode(nil, []byte("x"), o).ID, Decode(nil, []byte("y"), o).ID
		if a != b || a == "" {
			t.Errorf("two deliveries of %v have the IDs %q and %q; want the same", p, a, b)
		}
		ids[a] = true
	}
	if len(ids) != 4 {
		t.Errorf("4 positions have %d different IDs", len(ids))
	}
	o.Position = event.Position{}
	if m := Decode(nil, nil, o); m.ID != "" {
		t.Errorf("without position ID = %q; want none", m.ID)
	}
}

func TestDecodeAttributes(t *testing.T) {
	want := map[string]string{"specversion": "1.0", "source": "/a", "subject": "a b", "time": "2026-01-02T03:04:05+01:00",
		"dataschema": "http://x/y", "expirytime": "2026-05-01T00:00:00+02:00", "myext": "5", "flag": "true"}
	structuredBody := `{"specversion":"1.0","id":"i1","source":"/a","type":"T","subject":"a b","time":"2026-01-02T03:04:05+01:00",
		"dataschema":"http://x/y","expirytime":"2026-05-01T00:00:00+02:00","MyExt":5,"flag":true,"none":null,"empty":"",
		"correlationid":"c","causationid":"p","datacontenttype":"application/json"}`
	for name, m := range map[string]event.Message{
		"binary": Decode(binaryHeader("ce-subject", "a%20b", "ce-time", "2026-01-02T03:04:05+01:00", "ce-dataschema", "http://x/y",
			"ce-expirytime", "2026-05-01T00:00:00+02:00", "CE-MyExt", "5", "ce-flag", "true", "ce-empty", "",
			"ce-correlationid", "c", "ce-causationid", "p", "ce-datacontenttype", "application/json"), nil, origin()),
		"structured": Decode(headerOf("Content-Type", "application/cloudevents+json"), []byte(structuredBody), origin()),
	} {
		if m.Detail != "" || !maps.Equal(m.Attributes, want) {
			t.Errorf("%s: Attributes = %v (%s); want %v", name, m.Attributes, m.Detail, want)
		}
		if at := time.Date(2026, 4, 30, 22, 0, 0, 0, time.UTC); m.Expires != at {
			t.Errorf("%s: Expires = %v; want %v", name, m.Expires, at)
		}
		if m.ContentType != "application/json" || m.CorrelationID != "c" || m.CausationID != "p" {
			t.Errorf("%s: ContentType, CorrelationID, CausationID = %q, %q, %q", name, m.ContentType, m.CorrelationID, m.CausationID)
		}
	}
}

func TestDecodeDeliverAt(t *testing.T) {
	tests := []struct {
		name, value string
		want        time.Time
	}{
		{"Eventd-Deliver-At", "2026-03-02T00:00:00.5+01:00", time.Date(2026, 3, 1, 23, 0, 0, 5e8, time.UTC)},
		{"eventd-delay", "90s", stored.Add(90 * time.Second)},
		{"Eventd-Delay", "-5s", time.Time{}},
		{"Eventd-Delay", "", time.Time{}},
	}
	for _, tt := range tests {
		if m := Decode(headerOf("Eventd-Message-Type", "T", tt.name, tt.value), nil, origin()); m.DeliverAt != tt.want || m.Problem != "" {
			t.Errorf("%s: %s: DeliverAt = %v (%s); want %v", tt.name, tt.value, m.DeliverAt, m.Detail, tt.want)
		}
	}
}

func TestDecodeHeaders(t *testing.T) {
	h := headerOf("Eventd-Message-Type", "T", "Eventd-Anything", "x", "Nats-Msg-Id", "1", "Nats-Expected-Stream", "S", "Content-Type", "a/b",
		"Content-Length", "5", "Connection", "close", "Host", "h", "Authorization", "secret", "Cookie", "secret", "webhook-id", "w",
		"X-Tenant", "t1", "x-list", "a", "x-list", "b", "User-Agent", "u", "traceparent", "00-1", "Idempotency-Key", "k", "bad", "a\xffb")
	want := map[string]string{"X-Tenant": "t1", "x-list": "a, b", "User-Agent": "u", "traceparent": "00-1", "Idempotency-Key": "k", "bad": "a\uFFFDb"}
	if m := Decode(h, nil, origin()); !maps.Equal(m.Headers, want) {
		t.Errorf("Headers = %v; want %v", m.Headers, want)
	}
	delete(want, "User-Agent") // is about the exchange when it comes over HTTP
	h["Content-Type"] = []string{"application/json"}
	msgs, err := DecodeRequest(h, []byte(`[{"message_type":"T"},{"message_type":"T"}]`), Origin{}, 2)
	if err != nil || !maps.Equal(msgs[0].Headers, want) {
		t.Errorf("Headers = %v, %v; want %v", msgs, err, want)
	}
	msgs[0].Headers["x-list"] = "changed"
	if got := msgs[1].Headers["x-list"]; got != "a, b" {
		t.Errorf("a change to the headers of one event of a list shows in the next: %q", got)
	}
}

func TestDecodeUndecodableKeepsItsAttributes(t *testing.T) {
	m := Decode(binaryHeader("ce-time", "\xff", "ce-ext", "e", "X-A", "a"), []byte("x"), origin())
	want := map[string]string{"ce-specversion": "1.0", "ce-id": "i1", "ce-source": "/a", "ce-type": "T", "ce-time": "%EF%BF%BD", "ce-ext": "e", "X-A": "a"}
	if m.Problem != event.Undecodable || !maps.Equal(m.Headers, want) {
		t.Errorf("Problem, Headers = %q, %v; want %q, %v", m.Problem, m.Headers, event.Undecodable, want)
	}
}

func TestDecodeHeadersThatDifferInCase(t *testing.T) {
	for range 20 {
		m := Decode(headerOf("Eventd-Message-Type", "T", "nats-msg-id", "2", "Nats-Msg-Id", "1", "NATS-msg-id", "3"), nil, origin())
		if m.ID != "3" { // the first in the order of bytes
			t.Fatalf("ID = %q; want 3 each time", m.ID)
		}
	}
}

func TestDecodeDeepNesting(t *testing.T) {
	deep := bytes.Repeat([]byte("["), 20<<20)
	o := origin()
	o.MessageType = "D"
	for name, h := range map[string]header{"bare": nil, "structured": headerOf("Content-Type", "application/cloudevents+json")} {
		body := append([]byte(`{"specversion":"1.0","a":`), deep...)
		if m := Decode(h, body, o); !bytes.Equal(m.Payload, body) {
			t.Errorf("%s: the payload is changed", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("ce-type", "T", "ce-id", "%41", "Content-Type", "a/b", []byte(`{"event_id":"1","message_type":"T"}`))
	f.Add("Content-Type", "application/cloudevents+json", "", "", "", "", []byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"a":[1]}}`))
	f.Add("Content-Type", "application/cloudevents+json", "", "", "", "", []byte(`{"data_base64":5,"specversion":"1.0"}`))
	f.Add("Eventd-Message-Type", "T\r\n", "Nats-Msg-Id", "\xff", "Eventd-Delay", "1h", []byte("\xff\xfe"))
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string, body []byte) {
		h := header{n1: {v1}, n2: {v2}, n3: {v3}}
		before := bytes.Clone(body)
		m := Decode(h, body, origin())
		if !bytes.Equal(body, before) {
			t.Fatal("Decode changed the body")
		}
		checkDecoded(t, m, body)
		if again := Decode(h, body, origin()); asJSON(m) != asJSON(again) {
			t.Fatalf("two deliveries differ:\n%s\n%s", asJSON(m), asJSON(again))
		}
	})
}

// checkDecoded holds a decoded message against what holds always.
func checkDecoded(t *testing.T, m event.Message, body []byte) {
	t.Helper()
	if m.ID == "" {
		t.Error("ID is empty")
	}
	if m.Problem == "" && (m.MessageType == "" || m.Detail != "") || m.Problem != "" && (m.MessageType != "" || m.Detail == "") {
		t.Errorf("Problem %q with MessageType %q and Detail %q", m.Problem, m.MessageType, m.Detail)
	}
	if m.Problem != "" && !bytes.Equal(m.Payload, body) {
		t.Errorf("the payload of an undecodable message is %q; want %q", m.Payload, body)
	}
	for _, s := range texts(&m) {
		if !utf8.ValidString(s) {
			t.Errorf("%q is not valid UTF-8", s)
		}
	}
}

func texts(m *event.Message) []string {
	list := []string{m.ID, m.MessageType, m.ContentType, m.CorrelationID, m.CausationID, m.Topic, m.SourceService, m.TargetService, m.Detail}
	for _, values := range []map[string]string{m.Attributes, m.Headers} {
		for name, value := range values {
			list = append(list, name, value)
		}
	}
	return list
}

var kilobyte = []byte(`{"event_id":"018f3c1e-7a2b-7c3d-9e4f-0123456789ab","message_type":"RQ_A_INIT","correlation_id":"order-4711","amount":12.5,"items":[` +
	strings.Repeat(`{"sku":"abc-123","quantity":3,"price":9.99},`, 18) + `{"sku":"z"}],"note":"hello"}`)

func BenchmarkDecodeJSON(b *testing.B) {
	b.SetBytes(int64(len(kilobyte)))
	b.ReportAllocs()
	o := origin()
	for b.Loop() {
		Decode(nil, kilobyte, o)
	}
}

func BenchmarkDecodeBinary(b *testing.B) {
	b.ReportAllocs()
	h, o := binaryHeader("ce-time", "2026-01-02T03:04:05Z", "ce-subject", "s", "Content-Type", "application/json"), origin()
	for b.Loop() {
		Decode(h, kilobyte, o)
	}
}

// TestDecodeAgain: what is kept of a message is enough to decode it once the source
// says what it lacks.
func TestDecodeAgain(t *testing.T) {
	o := origin()
	o.MessageType = ""
	h := headerOf("Nats-Msg-Id", "n-1", "Correlation-Id", "c-1", "Causation-Id", "p-1", "Eventd-Delay", "90s", "Content-Type", "text/plain", "X-Own", "x", "Ce-Subject", "s")
	kept := Decode(h, []byte("hello"), o)
	if kept.Problem != event.Undecodable {
		t.Fatalf("Decode = %+v; want undecodable", kept)
	}
	if still := DecodeAgain(&kept.Event, kept.Payload, o); still.Problem != event.Undecodable || still.ID != kept.ID {
		t.Errorf("DecodeAgain from the same origin = %+v; want the same", still)
	}
	o.MessageType = "T"
	for _, h := range []header{headerOf("Nats-Msg-Id", "caf\xe9"), headerOf("Ce-Subject", "caf\xe9"), headerOf("Ce-Subject", "%E9", "Eventd-Delay", "x")} {
		bad := Decode(h, []byte("hello"), o)
		if again := DecodeAgain(&bad.Event, bad.Payload, o); bad.Problem == "" == (again.Problem != "") {
			t.Errorf("%v: Decode %q, DecodeAgain %q; want the same", h, bad.Detail, again.Detail)
		}
	}
	want := Decode(h, []byte("hello"), o)
	o.Topic, o.Position = "", event.Position{} // they are those of what was kept
	if got := DecodeAgain(&kept.Event, kept.Payload, o); want.Problem != "" || asJSON(got) != asJSON(want) {
		t.Errorf("DecodeAgain = %s\nwant %s", asJSON(got), asJSON(want))
	}
}
