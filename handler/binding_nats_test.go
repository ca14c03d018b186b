package handler

import (
	"strings"
	"testing"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// The rules of the NATS protocol binding, each by its section: structured mode as
// 1.0.2 has it, binary mode as the working draft of 1.0.3 adds it. Both ways of
// sending, requests and publications, make their messages in the same place.

// published returns the message that an event goes out as.
func published(t *testing.T, e *event.Event, payload string, f envelope.Format) event.Publication {
	t.Helper()
	p := &publisher{}
	a := &event.Attempt{Event: e, Payload: []byte(payload), Number: 1, Handler: "h", Route: "r"}
	newTopic(t, TopicOptions{Subject: "mySubject", Format: f, Source: "/e"}, p).Deliver(t.Context(), a)
	return p.published[0]
}

// natsEvent returns the event that a message comes in as.
func natsEvent(header map[string]string, body []byte) event.Message {
	h := map[string][]string{}
	for name, value := range header {
		h[name] = []string{value}
	}
	return envelope.Decode(h, body, envelope.Origin{Table: event.Inbound, Position: event.Position{Stream: "S", Sequence: 1, Stored: created}})
}

func cloudEvent() *event.Event {
	return &event.Event{
		Table: event.Inbound, ID: "1234", MessageType: "com.example.someevent", ContentType: "application/json; charset=utf-8", CreatedAt: created,
		Attributes: map[string]string{"specversion": "1.0", "source": "/mycontext/subcontext", "time": "2018-04-05T03:56:24Z", "subject": "Euro € 😀", "myext": "5"},
		Literals:   []string{"myext"},
	}
}

func TestNATSBinding3_StructuredPayloadIsTheJSONFormat(t *testing.T) {
	p := published(t, cloudEvent(), `{"a":1}`, envelope.Structured)
	if p.Header["Content-Type"] != "application/cloudevents+json" {
		t.Errorf("Content-Type %s", p.Header["Content-Type"])
	}
	for _, part := range []string{`"specversion":"1.0"`, `"id":"1234"`, `"type":"com.example.someevent"`, `"source":"/mycontext/subcontext"`, `"myext":5`, `"data":{"a":1}`} {
		if !strings.Contains(string(p.Body), part) {
			t.Errorf("no %s in %s", part, p.Body)
		}
	}
	if m := natsEvent(p.Header, p.Body); m.ID != "1234" || m.Attributes["subject"] != "Euro € 😀" || string(m.Payload) != `{"a":1}` {
		t.Errorf("received %+v", m)
	}
}

// TestNATSBinding3_StructuredWithoutHeaders: before binary mode there was one
// mode, and no header that told of it.
func TestNATSBinding3_StructuredWithoutHeaders(t *testing.T) {
	p := published(t, cloudEvent(), `{"a":1}`, envelope.Structured)
	for name, header := range map[string]map[string]string{"none": nil, "others": {"X": "y"}} {
		m := natsEvent(header, p.Body)
		if m.Problem != "" || m.ID != "1234" || m.MessageType != "com.example.someevent" || string(m.Payload) != `{"a":1}` {
			t.Errorf("%s: received %+v: %s", name, m.Event, m.Detail)
		}
	}
	// What only looks like one, and what says its type otherwise, is what it was.
	if m := natsEvent(nil, []byte(`{"specversion":"1.0","id":"1","type":"T"}`)); m.Problem != event.Undecodable {
		t.Errorf("without source: %+v", m.Event)
	}
	if m := natsEvent(nil, []byte(`{"specversion":"1.0","id":"1","source":"/a","type":"T","event_id":"e","message_type":"M"}`)); m.ID != "e" || m.MessageType != "M" {
		t.Errorf("with event_id and message_type: %+v", m.Event)
	}
}

func TestNATSBinding3_ModeIsToldInAnyCase(t *testing.T) {
	body := []byte(`{"specversion":"1.0","id":"1","source":"/a","type":"T"}`)
	for _, name := range []string{"Content-Type", "content-type", "CONTENT-TYPE"} {
		if m := natsEvent(map[string]string{name: "Application/CloudEvents+JSON"}, body); m.ID != "1" {
			t.Errorf("%s: %+v", name, m.Event)
		}
	}
	binary := map[string]string{"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/b", "ce-type": "U", "Content-Type": "application/json"}
	if m := natsEvent(binary, body); m.ID != "2" {
		t.Errorf("binary: %+v", m.Event)
	}
}

func TestNATSBinding3_1_1_DataIsTheBody(t *testing.T) {
	if p := published(t, cloudEvent(), "\x00\xff", envelope.Binary); string(p.Body) != "\x00\xff" {
		t.Errorf("body %q", p.Body)
	}
}

func TestNATSBinding3_1_2_EachAttributeIsAHeader(t *testing.T) {
	want := map[string]string{
		"ce-specversion": "1.0", "ce-id": "1234", "ce-type": "com.example.someevent", "ce-source": "/mycontext/subcontext",
		"ce-time": "2018-04-05T03:56:24Z", "ce-myext": "5", "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80",
		"ce-datacontenttype": "application/json;%20charset=utf-8",
	}
	p := published(t, cloudEvent(), "{}", envelope.Binary)
	for name, value := range want {
		if p.Header[name] != value {
			t.Errorf("%s: %s; want %s", name, p.Header[name], value)
		}
	}
	for name := range p.Header {
		if strings.HasPrefix(strings.ToLower(name), "ce-") && name != strings.ToLower(name) {
			t.Errorf("header %s; NATS minds the case", name)
		}
	}
	delete(want, "ce-subject")
	for _, drop := range []string{"", "Content-Type", "ce-datacontenttype"} { // either tells the content type
		header := map[string]string{}
		for name, value := range p.Header {
			if name != drop {
				header[name] = value
			}
		}
		m := natsEvent(header, p.Body)
		if m.ContentType != "application/json; charset=utf-8" || m.ID != "1234" || m.Attributes["subject"] != "Euro € 😀" || m.Attributes["myext"] != "5" {
			t.Errorf("without %s: received %+v", drop, m.Event)
		}
	}
}

func TestNATSBinding3_1_3_2_ReceivedValues(t *testing.T) {
	header := func(value string) map[string]string {
		return map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "T", "ce-x": value}
	}
	for value, want := range map[string]string{`"a \"b\""`: `a "b"`, "%e2%82%ac": "€", "%41": "A", "%2541": "%41"} {
		if m := natsEvent(header(value), nil); m.Attributes["x"] != want {
			t.Errorf("%s is received as %q; want %q", value, m.Attributes["x"], want)
		}
	}
	if m := natsEvent(header("%C0%A0"), nil); m.Problem != event.Undecodable {
		t.Errorf("%%C0%%A0 is received as %q", m.Attributes["x"])
	}
}
