package envelope

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/eventd-io/eventd/event"
)

// The rules of the HTTP protocol binding 1.0.2, each by its section. How requests
// go over the wire is tested with the handler.

func TestHTTPBinding1_4_StructuredModeInJSON(t *testing.T) {
	msgs, err := DecodeRequest(structured, []byte(`{`+required102+`,"data":1}`), Origin{}, 1)
	if err != nil || len(msgs) != 1 || msgs[0].ID != "1" {
		t.Errorf("%+v, %v", msgs, err)
	}
}

func TestHTTPBinding3_BatchIsNotSentUnasked(t *testing.T) {
	for _, f := range []Format{Binary, Structured, Raw} {
		if h, _ := encoded(attempt(), f, "/e"); strings.Contains(flat(h), "batch") {
			t.Errorf("format %d: %s", f, flat(h))
		}
	}
}

func TestHTTPBinding3_ModeIsToldByTheContentType(t *testing.T) {
	body := []byte(`{` + required102 + `}`)
	for contentType, want := range map[string]string{
		"application/cloudevents+json":              "1",
		"APPLICATION/CloudEvents+JSON;charset=x":    "1",
		"application/cloudevents":                   "1",
		"application/json":                          "i1", // binary: by its headers
		"application/cloudevents+avro":              "",
		"application/cloudevents-batch+json":        "",
		"application/cloudeventsandmore+json; a=\"": "",
	} {
		h := binaryHeader("Content-Type", contentType)
		if msgs, err := DecodeRequest(h, body, Origin{}, 1); (err == nil) != (want != "") || want != "" && msgs[0].ID != want {
			t.Errorf("%s: %+v, %v; want the event %q", contentType, msgs, err, want)
		}
	}
}

func TestHTTPBinding3_1_1_ContentTypeIsTheDatacontenttype(t *testing.T) {
	m := receive(t, `{`+required102+`,"datacontenttype":"text/csv; header=present","data":"a,b"}`)
	h, _ := encoded(&event.Attempt{Event: &m.Event, Payload: m.Payload, Number: 1}, Binary, "/e")
	if got := h["Content-Type"][0]; got != "text/csv; header=present" {
		t.Errorf("sent Content-Type %s", got)
	}
	msgs, err := DecodeRequest(binaryHeader("Content-Type", "text/csv; header=present"), []byte("a,b"), Origin{}, 1)
	if err != nil || msgs[0].ContentType != "text/csv; header=present" {
		t.Errorf("received %+v, %v", msgs, err)
	}
}

func TestHTTPBinding3_1_1_NoHeaderCeDatacontenttype(t *testing.T) {
	m := Decode(binaryHeader("Content-Type", "a/b", "ce-datacontenttype", "c/d"), nil, origin())
	if m.ContentType != "a/b" {
		t.Errorf("content type %s; want that of Content-Type", m.ContentType)
	}
	h, _ := encoded(&event.Attempt{Event: &m.Event, Number: 1}, Binary, "/e")
	if v := h["Ce-Datacontenttype"]; v != nil || h["Content-Type"][0] != "a/b" {
		t.Errorf("ce-datacontenttype %v, Content-Type %s", v, h["Content-Type"])
	}
}

func TestHTTPBinding3_1_2_DataIsTheBody(t *testing.T) {
	const data = "\x00\xff not touched \r\n"
	m := binaryMessage(t, "application/octet-stream", data)
	if _, body := encoded(&event.Attempt{Event: &m.Event, Payload: m.Payload, Number: 1}, Binary, "/e"); string(body) != data {
		t.Errorf("body = %q", body)
	}
}

func TestHTTPBinding3_1_3_EachAttributeIsAHeader(t *testing.T) {
	values := map[string]string{"id": "1", "source": "/a", "type": "T", "specversion": "1.0", "subject": "s",
		"time": "2018-04-05T03:56:24Z", "dataschema": "http://x/y", "comexampleextension1": "value", "n2": "5"}
	h := header{}
	for name, value := range values {
		h["Ce-"+name] = []string{value}
	}
	msgs, err := DecodeRequest(h, nil, Origin{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	sent, _ := encoded(&event.Attempt{Event: &msgs[0].Event, Number: 1}, Binary, "/e")
	got := map[string]string{}
	for name, v := range sent {
		got[strings.ToLower(name)] = strings.Join(v, " | ")
	}
	for name, value := range values {
		if got["ce-"+name] != value {
			t.Errorf("ce-%s: %s; want %s", name, got["ce-"+name], value)
		}
	}
}

func TestHTTPBinding3_1_3_SecondaryMappingIsBesideThePrimary(t *testing.T) {
	m := Decode(binaryHeader("ce-traceparent", "00-1-2-01"), nil, origin())
	h, _ := encoded(&event.Attempt{Event: &m.Event, Number: 1}, Binary, "/e")
	if h["Traceparent"] == nil || h["Ce-Traceparent"] == nil || h["Ce-Traceparent"][0] != "00-1-2-01" {
		t.Errorf("headers: %s", flat(h))
	}
}

func TestHTTPBinding3_1_3_1_NamesInAnyCase(t *testing.T) {
	h := headerOf("CE-ID", "1", "cE-sOURCE", "/a", "Ce-Type", "T", "ce-SpecVersion", "1.0", "CE-MyExt", "x")
	msgs, err := DecodeRequest(h, nil, Origin{}, 1)
	if err != nil || msgs[0].ID != "1" || msgs[0].Attributes["myext"] != "x" {
		t.Errorf("%+v, %v", msgs, err)
	}
}

// sentValue returns the header that an attribute is sent as.
func sentValue(value string) string {
	e := &event.Event{ID: "1", MessageType: "T", Attributes: map[string]string{"x": value}}
	h, _ := encoded(&event.Attempt{Event: e, Number: 1}, Binary, "/e")
	return h["Ce-X"][0]
}

// receivedValue returns the attribute that a header is received as.
func receivedValue(value string) (string, bool) {
	msgs, err := DecodeRequest(binaryHeader("ce-x", value), nil, Origin{}, 1)
	if err != nil {
		return err.Error(), false
	}
	return msgs[0].Attributes["x"], true
}

func TestHTTPBinding3_1_3_2_ValuesArePercentEncoded(t *testing.T) {
	if got, want := sentValue("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80"; got != want {
		t.Errorf("sent %s; want %s", got, want)
	}
	for r := rune(0x20); r < 0x100; r++ {
		want := string(r)
		if r <= ' ' || r == '"' || r == '%' || r >= 0x7f {
			want = ""
			for _, b := range []byte(string(r)) {
				want += fmt.Sprintf("%%%02X", b)
			}
		}
		if got := sentValue("a" + string(r) + "b"); got != "a"+want+"b" {
			t.Errorf("U+%04X is sent as %s; want a%sb", r, got, want)
		}
	}
}

func TestHTTPBinding3_1_3_2_WhatIsSentIsReceived(t *testing.T) {
	for _, value := range []string{"plain", "a b", `"quoted"`, "100%", "%41", "%C0%A0", "€ 😀 \u00a0", `back\slash`, `"a\"`} {
		if got, ok := receivedValue(sentValue(value)); !ok || got != value {
			t.Errorf("%q comes back as %q", value, got)
		}
	}
}

func TestHTTPBinding3_1_3_2_ReceivedValues(t *testing.T) {
	for value, want := range map[string]string{
		`"a b"`:            "a b",         // double-quoted, as older versions sent it
		`"a \"b\" \\"`:     `a "b" \`,     // with backslash escapes
		"Euro%20%e2%82%ac": "Euro €",      // hexadecimal digits of either case
		"%41%62":           "Ab",          // encoded without need
		"%2541":            "%41",         // decoded once
		`"%2522"`:          "%22",         // quotes first, then one round
		"(comment) x":      "(comment) x", // there are no comments
	} {
		if got, ok := receivedValue(value); !ok || got != want {
			t.Errorf("%s is received as %q; want %q", value, got, want)
		}
	}
}

func TestHTTPBinding3_1_3_2_WhatIsNotUTF8IsRefused(t *testing.T) {
	for _, value := range []string{"%C0%A0", "%ff", "a%E2%82", "%ED%A0%80", `"%C0%80"`} {
		if got, ok := receivedValue(value); ok || !strings.Contains(got, "not UTF-8") {
			t.Errorf("%s is received as %q", value, got)
		}
		m := Decode(binaryHeader("ce-x", value), nil, origin())
		if m.Problem != event.Undecodable || !utf8.ValidString(m.Detail) {
			t.Errorf("%s from a stream: %q %s; want undecodable", value, m.Problem, m.Detail)
		}
	}
}

func TestHTTPBinding3_2_1_ContentTypeOfStructuredMode(t *testing.T) {
	if h, _ := encoded(attempt(), Structured, "/e"); h["Content-Type"][0] != "application/cloudevents+json" {
		t.Errorf("Content-Type: %s", h["Content-Type"])
	}
}

func TestHTTPBinding3_2_3_AllAttributesAreInThePayload(t *testing.T) {
	m := receive(t, `{`+required102+`,"subject":"s","ext":"e","traceparent":"00-1-2-01"}`)
	got := send(t, m)
	for _, name := range []string{"specversion", "id", "source", "type", "subject", "ext", "traceparent"} {
		if got[name] == "" {
			t.Errorf("no member %s in %v", name, got)
		}
	}
}

func TestHTTPBinding3_3_2_OneSpecversionInABatch(t *testing.T) {
	h := headerOf("Content-Type", "application/cloudevents-batch+json")
	_, err := DecodeRequest(h, []byte(`[{`+required102+`},{"specversion":"0.3","id":"2","source":"/a","type":"T"}]`), Origin{}, 10)
	if err == nil || !strings.Contains(err.Error(), "events[1]") {
		t.Errorf("a batch of two versions: %v", err)
	}
}
