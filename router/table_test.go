package router

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/event"
	"pgregory.net/rapid"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"RQ_A", "RQ_A", true},
		{"RQ_A", "RQ_AB", false},
		{"RQ_A", "rq_a", false},
		{"DR_*", "DR_C_POST", true},
		{"DR_*", "DR_", true},
		{"DR_*", "CR_C_POST", false},
		{"*_POST", "DR_C_POST", true},
		{"*_POST", "DR_C_POSTED", false},
		{"DR_*_POST", "DR_C_POST", true},
		{"DR_*_POST", "DR_POST", false}, // the two ends do not overlap
		{"ab*ba", "aba", false},
		{"*", "", true},
		{"*", "anything", true},
		{"**", "", true},
		{"a**b", "ab", true},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "acb", false},
		{"*a*a*", "a", false},
		{"*a*a*", "aa", true},
		{"", "", true},
		{"", "a", false},
		{"?", "a", false}, // nothing but * is special
		{"[a]", "a", false},
		{"a.c", "abc", false},
		{`\*`, "*", false},
	} {
		if got := glob(c.pattern, c.name); got != c.want {
			t.Errorf("glob(%q, %q) = %t; want %t", c.pattern, c.name, got, c.want)
		}
	}
}

func TestGlobIsARegularExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*]{0,8}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "name")
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$")
		if got, want := glob(pattern, name), re.MatchString(name); got != want {
			t.Fatalf("glob(%q, %q) = %t; want %t", pattern, name, got, want)
		}
	})
}

func mustTable(t testing.TB, routes ...Route) *table {
	t.Helper()
	table, err := newTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func targetsOf(list []target) (s string) {
	for _, t := range list {
		s += t.route + ">" + t.handler + " "
	}
	return strings.TrimSpace(s)
}

func TestMatch(t *testing.T) {
	table := mustTable(t,
		Route{Name: "large", MessageTypes: []string{"RQ_*"}, When: "data.amount > 100", Handlers: []string{"desk"}},
		Route{Name: "audit", MessageTypes: []string{"*"}, Handlers: []string{"audit"}, Continue: true},
		Route{Name: "in", MessageTypes: []string{"RQ_A", "RQ_B"}, Table: event.Inbound, Handlers: []string{"a", "audit", "b"}},
		Route{Name: "out", MessageTypes: []string{"RQ_A"}, Table: event.Request, Handlers: []string{"c"}, Continue: true},
		Route{Name: "rest", MessageTypes: []string{"RQ_*"}, Handlers: []string{"a"}},
	)
	for _, c := range []struct {
		table               event.Table
		messageType, amount string
		want                string
	}{
		{event.Inbound, "RQ_A", "1000", "large>desk"},
		{event.Inbound, "RQ_A", "1", "audit>audit in>a in>b"},
		{event.Request, "RQ_A", "1", "audit>audit out>c rest>a"},
		{event.Response, "RQ_B", "1", "audit>audit rest>a"},
		{event.Inbound, "DR_B", "1000", "audit>audit"},
	} {
		m := &event.Message{Event: event.Event{Table: c.table, MessageType: c.messageType}, Payload: []byte(`{"amount":` + c.amount + `}`)}
		if got := targetsOf(table.match(m, &memory{}).targets); got != c.want {
			t.Errorf("%s %s of %s goes to %q; want %q", c.table, c.messageType, c.amount, got, c.want)
		}
	}
	if got := mustTable(t).match(&event.Message{}, &memory{}).targets; got != nil {
		t.Errorf("without routes it goes to %v", got)
	}
}

func TestExplain(t *testing.T) {
	table := mustTable(t,
		Route{Name: "type", MessageTypes: []string{"A", "B*"}, Handlers: []string{"h"}},
		Route{Name: "table", MessageTypes: []string{"*"}, Table: event.Response, Handlers: []string{"h"}},
		Route{Name: "false", MessageTypes: []string{"*"}, When: "data.n > 5", Handlers: []string{"h"}},
		Route{Name: "missing", MessageTypes: []string{"*"}, When: "data.none > 5", Handlers: []string{"h"}},
		Route{Name: "goes on", MessageTypes: []string{"C"}, Handlers: []string{"h", "i"}, Continue: true},
		Route{Name: "takes", MessageTypes: []string{"C"}, Handlers: []string{"j"}},
		Route{Name: "after", MessageTypes: []string{"*"}, Handlers: []string{"k"}},
	)
	got := table.explain(&event.Message{Event: event.Event{Table: event.Inbound, MessageType: "C"}, Payload: []byte(`{"n":1}`)}, &memory{})
	want := []event.Explanation{
		{Route: "type", Why: `message_type "C" is not A or B*`},
		{Route: "table", Why: "table is inbound, not response"},
		{Route: "false", Why: "when is false"},
		{Route: "missing", Why: "when cannot be evaluated: no such key: none"},
		{Route: "goes on", Matched: true, Handlers: []string{"h", "i"}, Why: "matched"},
		{Route: "takes", Matched: true, Handlers: []string{"j"}, Why: "matched"},
		{Route: "after", Why: "not asked: route takes took it and does not continue"},
	}
	for i := range want {
		if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			t.Errorf("explanation %d = %+v; want %+v", i, got[i], want[i])
		}
	}
}

// TestMatchDoesWhatExplainSays compares both with random routes and messages.
func TestMatchDoesWhatExplainSays(t *testing.T) {
	whens := []string{"", "data.n > 2", "data.missing == 1", `event.message_type == "AB"`, `headers["x"] == "1"`}
	handlers := []string{"h", "i", "j"}
	routes := rapid.Custom(func(t *rapid.T) Route {
		return Route{
			Name:         rapid.StringMatching(`r[0-9]{3}`).Draw(t, "name"),
			MessageTypes: rapid.SliceOfN(rapid.StringMatching(`[AB*]{1,3}`), 1, 2).Draw(t, "types"),
			Table:        rapid.SampledFrom([]event.Table{0, event.Inbound, event.Request}).Draw(t, "table"),
			When:         rapid.SampledFrom(whens).Draw(t, "when"),
			Handlers:     rapid.SliceOfNDistinct(rapid.SampledFrom(handlers), 1, 3, rapid.ID).Draw(t, "handlers"),
			Continue:     rapid.Bool().Draw(t, "continue"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		table, err := newTable(rapid.SliceOfN(routes, 0, 6).Draw(t, "routes"))
		if err != nil {
			t.Fatal(err)
		}
		m := &event.Message{Event: event.Event{
			Table:       rapid.SampledFrom(event.Tables).Draw(t, "table"),
			MessageType: rapid.StringMatching(`[AB]{0,3}`).Draw(t, "type"),
			Headers:     map[string]string{"x": rapid.StringMatching(`[12]`).Draw(t, "header")},
		}, Payload: []byte(rapid.SampledFrom([]string{`{"n":1}`, `{"n":3}`, "no JSON"}).Draw(t, "payload"))}

		var want []string
		for _, e := range table.explain(m, &memory{}) {
			for _, h := range e.Handlers {
				if e.Matched && !slices.Contains(want, h) {
					want = append(want, h)
				}
			}
		}
		var got []string
		for _, x := range table.match(m, &memory{}).targets {
			got = append(got, x.handler)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("match leads to %v; explain says %v", got, want)
		}
	})
}
