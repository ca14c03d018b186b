package router

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

func payment(payload string) *event.Message {
	return &event.Message{Event: event.Event{
		Table: event.Response, ID: "7f3a", MessageType: "RS_B", SourceService: "DOWNSTREAM_B", TargetService: "SERVICE_A",
		Topic: "RESPONSE_TOPIC_B", CorrelationID: "c1", CausationID: "c0", CreatedBy: "SERVICE_A",
		CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), ContentType: "application/json",
		Headers: map[string]string{"Priority": "high"},
	}, Payload: []byte(payload)}
}

// why returns why a condition does not hold; "" when it does.
func why(t *testing.T, when string, m *event.Message) string {
	t.Helper()
	list := mustTable(t, Route{Name: "r", MessageTypes: []string{"*"}, When: when}).explain(m, &memory{})
	if list[0].Matched {
		return ""
	}
	return list[0].Why
}

func TestWhen(t *testing.T) {
	const payload = `{"amount": 120.5, "n": 5, "name": "Ann", "tags": ["a","b"], "deep": {"x": null}, "ok": true}`
	const no = "when is false"
	for _, c := range []struct{ when, want string }{
		{`event.event_id == "7f3a" && event.message_type == "RS_B" && event.table == "response"`, ""},
		{`event.source_service == "DOWNSTREAM_B" && event.target_service == "SERVICE_A"`, ""},
		{`event.topic == "RESPONSE_TOPIC_B" && event.correlation_id == "c1" && event.causation_id == "c0"`, ""},
		{`event.created_by == "SERVICE_A" && event.content_type == "application/json"`, ""},
		{`event.created_dttm > timestamp("2026-03-01T11:59:59Z") && event.created_dttm.getDayOfWeek() == 0`, ""},
		{`event.table in ["inbound", "request"]`, no},
		{`headers["Priority"] == "high"`, ""},
		{`headers.Priority == "low"`, no},
		{`"Other" in headers`, no},
		{`headers.Other == "x"`, "when cannot be evaluated: no such key: Other"},
		{`data.amount > 100`, ""},
		{`data.amount > 120.5`, no},
		{`data.n == 5 && data.n >= 4.5 && int(data.n) % 2 == 1`, ""},
		{`data.name.startsWith("A") && data.name.matches("(?i)^ANN$") && data.name.matches("^A.n$")`, ""},
		{`data.tags.exists(x, x == "b") && size(data.tags) == 2 && data.tags[0] == "a"`, ""},
		{`data.deep.x == null`, ""},
		{`data.ok`, ""},
		{`has(data.none)`, no},
		{`has(data.none) && data.none > 1`, no},
		{`data.none > 1`, "when cannot be evaluated: no such key: none"},
		{`data.deep.none.more == 1`, "when cannot be evaluated: no such key: none"},
		{`data.tags[7] == "x"`, "when cannot be evaluated: index out of bounds: 7"},
		{`data.name > 5`, "when cannot be evaluated: no such overload"},
		{`data.name`, "when gives string, not true or false"},
		{`data.none > 1 || true`, ""}, // an error does not matter that decides nothing
		{`true`, ""},
		{`false`, no},
	} {
		if got := why(t, c.when, payment(payload)); got != c.want {
			t.Errorf("%s: %q; want %q", c.when, got, c.want)
		}
	}
}

func TestWhenOfOtherPayloads(t *testing.T) {
	for _, c := range []struct{ payload, when, want string }{
		{"plain text", `data == "plain text"`, ""},
		{"plain text", `data.amount > 0`, "when cannot be evaluated: no such key: amount"},
		{"\xff\xfe", `data == b"\xff\xfe"`, ""},
		{"", `data == ""`, ""},
		{"null", `data == null`, ""},
		{"[1,2]", `data[1] == 2`, ""},
		{"7", `data == 7`, ""},
		{`{"a":1} {"b":2}`, `data.a == 1`, "when cannot be evaluated: no such key: a"}, // two documents are none
		{strings.Repeat("[", 20_000), `size(data) == 20000`, ""},                       // too deep to be JSON
	} {
		if got := why(t, c.when, payment(c.payload)); got != c.want {
			t.Errorf("%s of %.20q: %q; want %q", c.when, c.payload, got, c.want)
		}
	}
	if got := why(t, `size(headers) == 0`, &event.Message{}); got != "" {
		t.Errorf("an event without headers: %q; want none", got)
	}
}

// TestWhenThatCostsTooMuch has conditions that would take minutes or gigabytes.
func TestWhenThatCostsTooMuch(t *testing.T) {
	payload, err := json.Marshal(map[string]any{"items": make([]int, 2000), "text": strings.Repeat("a", 1<<20)})
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{
		`data.items.all(a, data.items.all(b, data.items.all(c, a + b + c >= 0.0)))`,
		`data.items.map(a, data.items.map(b, data.items)).size() > 0`,
		`data.items.exists(a, data.text.contains("b"))`,
	} {
		if got := why(t, when, payment(string(payload))); !strings.Contains(got, "cost limit exceeded") {
			t.Errorf("%s: %q; want it to be ended", when, got)
		}
	}
	for _, when := range []string{
		`data.text.replace("a", data.text) == ""`, `data.tags.join(data.text) == ""`,
		`"%s".format([data.text]) == ""`, `data.text.indexOf(data.text) == 1`,
	} {
		if err := CheckWhen(when); err == nil || !strings.Contains(err.Error(), "undeclared reference") {
			t.Errorf("%s: %v; want it to be refused", when, err)
		}
	}
}

func TestWhenThatCannotBeCompiled(t *testing.T) {
	for _, c := range []struct{ when, want string }{
		{`data.amount >`, "column 14: "},
		{`event.message == "A"`, "column 6: undefined field 'message'"},
		{`evnt.message_type == "A"`, "column 1: undeclared reference to 'evnt'"},
		{`event.message_type == 1`, "column 20: found no matching overload"},
		{`headers["x"] == 1`, "column 14: found no matching overload"},
		{`working == 1`, "column 9: found no matching overload"},
		{`"text"`, "gives string, not true or false"},
		{`size(data)`, "gives int, not true or false"},
		{`event.topic.matches("[")`, "error parsing regexp"},
	} {
		err := CheckWhen(c.when)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v; want %s…", c.when, err, c.want)
		}
		if _, err := newTable([]Route{{Name: "r7", When: c.when}}); err == nil || !strings.HasPrefix(err.Error(), "route r7: when: "+c.want) {
			t.Errorf("a route with %s: %v; want it to be named", c.when, err)
		}
	}
	if err := CheckWhen("data.amount > 0"); err != nil {
		t.Error(err)
	}
}

// TestPayloadIsDecodedOnceAndOnlyWhenRead counts the allocations of decoding.
func TestPayloadIsDecodedOnceAndOnlyWhenRead(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, `,"key%d":"value %d"`, i, i)
	}
	m := payment(`{"n":1` + text.String() + `}`)
	allocations := func(whens ...string) float64 {
		var routes []Route
		for _, when := range whens {
			routes = append(routes, Route{MessageTypes: []string{"*"}, When: when, Handlers: []string{"h"}, Continue: true})
		}
		table := mustTable(t, routes...)
		return testing.AllocsPerRun(20, func() { table.match(m, &memory{}) })
	}
	decoding := testing.AllocsPerRun(20, func() { decodeData(m.Payload) })
	if n := allocations("", `event.table == "response"`, `headers.Priority == "high"`); n > decoding/10 {
		t.Errorf("%v allocations without reading data; decoding takes %v", n, decoding)
	}
	if n := allocations("data.n == 1", "data.n == 2", "data.n == 3", "data.n == 4"); n < decoding || n > 1.2*decoding {
		t.Errorf("%v allocations for four conditions; want the %v of decoding once", n, decoding)
	}
}

func BenchmarkMatch(b *testing.B) {
	var routes []Route
	for i := range 50 {
		routes = append(routes, Route{Name: fmt.Sprint(i), MessageTypes: []string{fmt.Sprint("RQ_", i), "DR_*"}, Handlers: []string{"h"}})
	}
	routes = append(routes, Route{Name: "last", MessageTypes: []string{"RS_*"}, Handlers: []string{"h"}})
	table, m := mustTable(b, routes...), payment("{}")
	for b.Loop() {
		table.match(m, &memory{})
	}
}
