package envelope

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/eventd-io/eventd/event"
)

// The rules of the JSON event format 1.0.2, each by its section. Receive is what
// comes in, send what goes out of it again.

var structured = headerOf("Content-Type", "application/cloudevents+json; charset=UTF-8")

func receive(t *testing.T, body string) event.Message {
	t.Helper()
	m := Decode(structured, []byte(body), origin())
	if m.Problem != "" {
		t.Fatalf("%s: %s", body, m.Detail)
	}
	return m
}

// send returns a message in structured form, its members as they stand there.
func send(t *testing.T, m event.Message) map[string]string {
	t.Helper()
	h, body := encoded(&event.Attempt{Event: &m.Event, Payload: m.Payload, Number: 1}, Structured, "/eventd")
	if got := h["Content-Type"][0]; got != "application/cloudevents+json" {
		t.Errorf("Content-Type = %s", got)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	text := make(map[string]string, len(members))
	for name, value := range members {
		text[name] = string(value)
	}
	return text
}

const required102 = `"specversion":"1.0","id":"1","source":"/a","type":"T"`

func TestJSONFormat2_ExtensionsAreTopLevelMembers(t *testing.T) {
	if got := send(t, receive(t, `{`+required102+`,"comexample":"x"}`))["comexample"]; got != `"x"` {
		t.Errorf("comexample = %s", got)
	}
}

func TestJSONFormat2_2_TypesAreMapped(t *testing.T) {
	m := receive(t, `{`+required102+`,"flag":true,"off":false,"n":-5,"zero":0,"s":"5","bin":"AP8=","uri":"http://x/y","time":"2018-04-05T17:31:00Z"}`)
	want := map[string]string{"flag": "true", "off": "false", "n": "-5", "zero": "0", "s": `"5"`, "bin": `"AP8="`, "uri": `"http://x/y"`, "time": `"2018-04-05T17:31:00Z"`}
	got := send(t, m)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s = %s; want %s", name, got[name], value)
		}
	}
	if want := []string{"flag", "n", "off", "zero"}; !slices.Equal(m.Literals, want) {
		t.Errorf("Literals = %v; want %v", m.Literals, want)
	}
	// As headers, all of them are text.
	h, _ := encoded(&event.Attempt{Event: &m.Event, Number: 1}, Binary, "/eventd")
	if h["Ce-Flag"][0] != "true" || h["Ce-N"][0] != "-5" {
		t.Errorf("headers: %v", h)
	}
}

func TestJSONFormat2_2_OnlyWholeNumbers(t *testing.T) {
	for _, value := range []string{"1.5", "1e3", "{}", "[1]"} {
		if m := Decode(structured, []byte(`{`+required102+`,"n":`+value+`}`), origin()); m.Problem != event.Undecodable {
			t.Errorf("n: %s is taken as %v", value, m.Attributes)
		}
	}
}

func TestJSONFormat2_2_NullIsUnset(t *testing.T) {
	m := receive(t, `{`+required102+`,"subject":null,"time":null,"ext":null,"datacontenttype":null,"data":1}`)
	if want := (map[string]string{"specversion": "1.0", "source": "/a"}); !maps.Equal(m.Attributes, want) || m.ContentType != "application/json" {
		t.Errorf("Attributes = %v, ContentType %s; want %v", m.Attributes, m.ContentType, want)
	}
	if m := Decode(structured, []byte(`{"specversion":"1.0","id":"1","source":null,"type":"T"}`), origin()); m.Problem != event.Undecodable {
		t.Error("a required attribute that is null is taken")
	}
}

func TestJSONFormat3_AllAttributesAreMembers(t *testing.T) {
	const all = `{` + required102 + `,"subject":"s","time":"2018-04-05T17:31:00Z","dataschema":"http://x/y","datacontenttype":"application/json","ext":"e","data":{}}`
	got := send(t, receive(t, all))
	for _, name := range []string{"specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype", "ext", "data"} {
		if got[name] == "" {
			t.Errorf("no member %s in %v", name, got)
		}
	}
}

func TestJSONFormat3_1_1_BinaryDataIsBase64(t *testing.T) {
	m := binaryMessage(t, "application/vnd.apache.thrift.binary", "\x00\xff")
	got := send(t, m)
	if got["data_base64"] != `"AP8="` || got["data"] != "" || got["datacontenttype"] != `"application/vnd.apache.thrift.binary"` {
		t.Errorf("members: %v", got)
	}
}

func binaryMessage(t *testing.T, contentType, body string) event.Message {
	t.Helper()
	m := Decode(binaryHeader("Content-Type", contentType), []byte(body), origin())
	if m.Problem != "" {
		t.Fatal(m.Detail)
	}
	return m
}

func TestJSONFormat3_1_1_JSONDataIsAValue(t *testing.T) {
	for _, contentType := range []string{"application/json", "Application/JSON; charset=utf-8", "text/json", "image/json", "application/vnd.x+json"} {
		got := send(t, binaryMessage(t, contentType, `{"a": [1.0]}`))
		if got["data"] != `{"a": [1.0]}` || got["data_base64"] != "" {
			t.Errorf("%s: members %v", contentType, got)
		}
	}
	if got := send(t, binaryMessage(t, "application/json", `"text"`))["data"]; got != `"text"` {
		t.Errorf("a JSON string becomes %s", got)
	}
}

func TestJSONFormat3_1_1_OtherDataIsAString(t *testing.T) {
	got := send(t, binaryMessage(t, "text/xml", `<much wow="xml"/>`))
	var text string
	if err := json.Unmarshal([]byte(got["data"]), &text); err != nil || text != `<much wow="xml"/>` || got["data_base64"] != "" {
		t.Errorf("members: %v", got)
	}
}

func TestJSONFormat3_1_1_DataNullIsNotNoData(t *testing.T) {
	if got := send(t, receive(t, `{`+required102+`,"data":null}`)); got["data"] != "null" {
		t.Errorf("members: %v", got)
	}
	if got, ok := send(t, receive(t, `{`+required102+`}`))["data"]; ok {
		t.Errorf("data = %s; want none", got)
	}
}

func TestJSONFormat3_1_1_DataIsThereOnce(t *testing.T) {
	if m := Decode(structured, []byte(`{`+required102+`,"data":1,"data_base64":"AA=="}`), origin()); m.Problem != event.Undecodable {
		t.Error("data and data_base64 are taken")
	}
}

func TestJSONFormat3_1_2_Base64IsDecoded(t *testing.T) {
	if m := receive(t, `{`+required102+`,"datacontenttype":"application/json","data_base64":"eyJhIjoxfQ=="}`); string(m.Payload) != `{"a":1}` {
		t.Errorf("payload = %s", m.Payload)
	}
	for _, value := range []string{`"?"`, "1", "null"} {
		if m := Decode(structured, []byte(`{`+required102+`,"data_base64":`+value+`}`), origin()); m.Problem != event.Undecodable {
			t.Errorf("data_base64: %s is taken", value)
		}
	}
}

func TestJSONFormat3_1_2_JSONStringIsNotDecodedAgain(t *testing.T) {
	if m := receive(t, `{`+required102+`,"datacontenttype":"application/json","data":"{\"a\":1}"}`); string(m.Payload) != `"{\"a\":1}"` {
		t.Errorf("payload = %s; want the string, in its quotes", m.Payload)
	}
}

func TestJSONFormat3_1_2_DataWithoutContentTypeIsJSON(t *testing.T) {
	m := receive(t, `{`+required102+`,"data":"I'm just a string"}`)
	if string(m.Payload) != `"I'm just a string"` || m.ContentType != "application/json" {
		t.Errorf("payload %s of %s", m.Payload, m.ContentType)
	}
	h, _ := encoded(&event.Attempt{Event: &m.Event, Payload: m.Payload, Number: 1}, Binary, "/eventd")
	if h["Content-Type"][0] != "application/json" {
		t.Errorf("Content-Type = %s", h["Content-Type"])
	}
}

func TestJSONFormat3_1_2_TextIsDecoded(t *testing.T) {
	if m := receive(t, `{`+required102+`,"datacontenttype":"application/xml","data":"<a b=\"c\"/>"}`); string(m.Payload) != `<a b="c"/>` {
		t.Errorf("payload = %s", m.Payload)
	}
}

func TestJSONFormat4_BatchIsAnArrayOfEvents(t *testing.T) {
	batch := headerOf("Content-Type", "application/cloudevents-batch+json; charset=UTF-8")
	msgs, err := DecodeRequest(batch, []byte(`[{`+required102+`,"datacontenttype":"a/b","data_base64":"AP8="},{"specversion":"1.0","id":"2","source":"/b","type":"U","n":5,"data":{"x":1}}]`), Origin{}, 10)
	if err != nil || len(msgs) != 2 || string(msgs[0].Payload) != "\x00\xff" || string(msgs[1].Payload) != `{"x":1}` || msgs[1].Attributes["n"] != "5" {
		t.Errorf("batch: %+v, %v", msgs, err)
	}
	if msgs, err := DecodeRequest(batch, []byte("[]"), Origin{}, 10); err != nil || len(msgs) != 0 {
		t.Errorf("empty batch: %d events, %v; want none and no error", len(msgs), err)
	}
	for _, body := range []string{`{` + required102 + `}`, `[1]`, `[{` + required102 + `}`, ``} {
		if _, err := DecodeRequest(batch, []byte(body), Origin{}, 10); err == nil {
			t.Errorf("batch %s is taken", body)
		}
	}
}
