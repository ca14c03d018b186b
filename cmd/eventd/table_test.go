package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/eventd-io/eventd/api/wire"
)

var (
	noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	rows = []wire.Row{
		{EventID: "0199d7a4-5c1e-7b52-8d5f-3f4a0c6b9e21", Table: "inbound", MessageType: "RQ_A_INIT", Status: "COMPLETED",
			Handler: "service-a", Attempts: 1, CreatedDttm: wire.Time{Time: noon}},
		{EventID: "order-17", Table: "request", MessageType: "A_RATHER_LONG_TYPE_OF_MESSAGE", Status: "RETRY", Reason: "http_503",
			Handler: "a-handler-with-a-long-name", Attempts: 12, CreatedDttm: wire.Time{Time: noon.Add(time.Minute)},
			NextAttemptDttm: wire.Time{Time: noon.Add(3 * time.Minute)}},
	}
)

// listed returns the table of rows as it stands on a screen.
func listed(t *testing.T, s screen) string {
	t.Helper()
	var b strings.Builder
	table := rowTable()
	for _, r := range rows {
		addRow(table, r, s, noon.Add(2*time.Minute))
	}
	if err := table.write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTableInAFile(t *testing.T) {
	want := `CREATED               EVENT_ID                              TABLE    MESSAGE_TYPE                   STATUS     HANDLER                     ATTEMPTS  REASON
2026-01-31T12:00:00Z  0199d7a4-5c1e-7b52-8d5f-3f4a0c6b9e21  inbound  RQ_A_INIT                      COMPLETED  service-a                          1
2026-01-31T12:01:00Z  order-17                              request  A_RATHER_LONG_TYPE_OF_MESSAGE  RETRY      a-handler-with-a-long-name        12  http_503, in 1m0s
`
	if got := listed(t, screen{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTableAt80(t *testing.T) {
	want := `CREATED         EVENT_ID                              MESSAGE_TYPE     STATUS
01-31 12:00:00  0199d7a4-5c1e-7b52-8d5f-3f4a0c6b9e21  RQ_A_INIT        COMPLETED
01-31 12:01:00  order-17                              A_RATHER_LONG_…  RETRY
`
	if got := listed(t, screen{terminal: true, width: 80}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTableFits holds at every width that lines are no longer than the screen,
// that ids stay whole, and that what is left out was too much.
func TestTableFits(t *testing.T) {
	const smallest = 14 + gap + 36 + gap + 9 // time, id, status: they always stay
	columns := 0
	for width := smallest; width < 180; width++ {
		out := listed(t, screen{terminal: true, width: width})
		for line := range strings.Lines(out) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Fatalf("at width %d a line has %d columns: %s", width, n, line)
			}
		}
		for _, r := range rows {
			if !strings.Contains(out, r.EventID+"  ") {
				t.Fatalf("at width %d the id %s is not whole:\n%s", width, r.EventID, out)
			}
		}
		head, _, _ := strings.Cut(out, "\n")
		n := len(strings.Fields(head))
		if n < columns && width != narrow {
			t.Errorf("at width %d there are %d columns, fewer than %d before", width, n, columns)
		}
		columns = n
	}
	if columns != 8 {
		t.Errorf("a wide screen shows %d columns; want 8", columns)
	}
}

func TestTableColours(t *testing.T) {
	out := listed(t, screen{terminal: true, width: 200, colours: true})
	for _, want := range []string{"\x1b[32mCOMPLETED\x1b[0m", "\x1b[33mRETRY\x1b[0m", "\x1b[1mEVENT_ID\x1b[0m"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	plain := listed(t, screen{terminal: true, width: 200})
	strip := strings.NewReplacer("\x1b[32m", "", "\x1b[33m", "", "\x1b[1m", "", "\x1b[0m", "")
	if strip.Replace(out) != plain {
		t.Errorf("colours move the columns:\n%q\n%q", strip.Replace(out), plain)
	}
}

// TestTablePages keeps the second page below the first, without another head.
func TestTablePages(t *testing.T) {
	var b strings.Builder
	table := &table{columns: []column{{head: "A"}, {head: "B"}}}
	table.add("long text", "1")
	if err := table.write(&b, screen{}); err != nil {
		t.Fatal(err)
	}
	table.add("x\x1b[2J", "2")
	if err := table.write(&b, screen{}); err != nil {
		t.Fatal(err)
	}
	want := "A          B\nlong text  1\nx\ufffd[2J      2\n"
	if b.String() != want {
		t.Errorf("got %q; want %q", b.String(), want)
	}
}

func TestWhy(t *testing.T) {
	at := func(d time.Duration) wire.Time { return wire.Time{Time: noon.Add(d)} }
	for _, c := range []struct {
		row  wire.Row
		want string
	}{
		{wire.Row{Status: "COMPLETED"}, ""},
		{wire.Row{Status: "FAILED", Reason: "exhausted", NextAttemptDttm: at(time.Hour)}, "exhausted"},
		{wire.Row{Status: "RETRY", Reason: "timeout", NextAttemptDttm: at(4 * time.Second)}, "timeout, in 4s"},
		{wire.Row{Status: "RETRY", Reason: "timeout", NextAttemptDttm: at(-time.Second)}, "timeout, due"},
		{wire.Row{Status: "UNPROCESSED", DeliverAtDttm: at(time.Hour)}, "in 1h0m0s"},
		{wire.Row{Status: "UNPROCESSED", DeliverAtDttm: at(-time.Hour)}, ""},
	} {
		if got := why(c.row, noon); got != c.want {
			t.Errorf("why(%+v) = %q; want %q", c.row, got, c.want)
		}
	}
}

// TestTableSparse leaves out what says nothing, but only for people.
func TestTableSparse(t *testing.T) {
	for _, c := range []struct {
		s    screen
		want string
	}{
		{screen{terminal: true, width: 80}, "A  C\n1  2\n"},
		{screen{}, "A  B  C\n1     2\n"},
	} {
		var b strings.Builder
		table := &table{sparse: true, columns: []column{{head: "A"}, {head: "B"}, {head: "C"}}}
		table.add("1", "", "2")
		if err := table.write(&b, c.s); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("at width %d: %q; want %q", c.s.width, b.String(), c.want)
		}
	}
}
