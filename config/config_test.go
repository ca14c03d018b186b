package config

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
)

// smallest is the smallest useful file.
const smallest = `service: SERVICE_A
sources:
  upstream: {subject: REQUEST_TOPIC_A1}
handlers:
  service-a: {http: "http://127.0.0.1:8080/events"}
routes:
  - {message_type: RQ_A_INIT, handler: service-a}
`

func mustParse(t *testing.T, text string, checks ...Check) *Config {
	t.Helper()
	c, err := Parse("routes.yaml", []byte(text), env, checks...)
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, text)
	}
	return c
}

func TestSmallestFile(t *testing.T) {
	c := mustParse(t, smallest)
	h := c.Handlers["service-a"]
	if h.Kind() != KindHTTP || h.Timeout != 10*time.Second || h.Service != "service-a" {
		t.Errorf("handler = %+v", h)
	}
	if p := c.Retry[h.Retry]; p.MaxAttempts != 15 || p.MaxElapsed != 24*time.Hour || p.Factor != 2 {
		t.Errorf("policy = %+v; want the built-in one", p)
	}
	if r := c.Routes[0]; !slices.Equal(r.Handlers, []string{"service-a"}) || r.Handler != "" || r.Name != "routes[0]" {
		t.Errorf("route = %+v", r)
	}
	if s := c.NATS.EffectiveStreams["REQUEST_TOPIC_A1"]; !slices.Equal(s.Subjects, []string{"REQUEST_TOPIC_A1"}) {
		t.Errorf("EffectiveStreams = %v; want one for the source", c.NATS.EffectiveStreams)
	}
	if c.NATS.External() || c.NATS.Embedded == nil || len(c.NATS.Streams) != 0 {
		t.Errorf("NATS = %+v; want the embedded server and no declared streams", c.NATS)
	}
}

func TestExternalServersGetNoStreamsOfOurs(t *testing.T) {
	c := mustParse(t, smallest+"nats: {url: 'nats://127.0.0.1:4222'}\ndead_letter: dead\n")
	if !c.NATS.External() || c.NATS.Embedded != nil || len(c.NATS.EffectiveStreams) != 0 {
		t.Errorf("NATS = %+v; want no streams and no embedded server", c.NATS)
	}
}

func TestThePolicyNamedDefaultReplacesTheBuiltIn(t *testing.T) {
	c := mustParse(t, smallest+"retry: {default: {max_attempts: 3}, other: {initial: 2s}}\n")
	if p := c.Retry[c.Handlers["service-a"].Retry]; p.MaxAttempts != 3 || p.Initial != time.Second {
		t.Errorf("default = %+v; want 3 attempts and the rest built in", p)
	}
	if p := c.Retry["other"]; p.MaxAttempts != 15 {
		t.Errorf("other = %+v; want what is missing from the built-in policy", p)
	}
}

// TestChecksAddToTheSameList: what the caller finds comes in the order of the
// file, and the check is asked though there are other problems.
func TestChecksAddToTheSameList(t *testing.T) {
	const text = `service: SERVICE_A
log: {level: loud}
handlers:
  a: {http: "http://127.0.0.1", headers: {Authorization: Bearer sesame42}}
routes:
  - {message_type: A, handler: a}
  - message_type: B
    when: data.amount >
    handler: b
`
	check := func(c *Config) []Issue {
		return []Issue{
			c.Issue("routes[1].when", errors.New("Syntax error:\nsesame42 is unexpected")),
			c.Issue("routes[0].when", errors.New("is not there")),
		}
	}
	_, err := Parse("routes.yaml", []byte(text), env, check)
	const want = `routes.yaml:2:14: log.level: "loud" is not debug, info, warn or error
routes.yaml:6:5: routes[0].when: is not there
routes.yaml:8:11: routes[1].when: Syntax error: <redacted> is unexpected
routes.yaml:9:14: routes[1].handler: no handler is named "b"; there is a`
	if err == nil || err.Error() != want {
		t.Errorf("Parse =\n%v\nwant\n%s", err, want)
	}
}

func TestAt(t *testing.T) {
	c := mustParse(t, smallest)
	for path, want := range map[string][2]int{
		"service":                   {1, 10},
		"routes[0].message_type":    {7, 20},
		"routes[0].when":            {7, 5},
		"handlers.service-a.http":   {5, 21},
		"handlers.other.http":       {5, 3},
		"nats.embedded.listen":      {1, 1},
		"":                          {1, 1},
		"routes[9].handlers[1].abc": {7, 3},
	} {
		if line, column := c.At(path); line != want[0] || column != want[1] {
			t.Errorf("At(%q) = %d:%d; want %d:%d", path, line, column, want[0], want[1])
		}
	}
}

func TestAFileThatCannotBeRead(t *testing.T) {
	for _, path := range []string{t.TempDir(), t.TempDir() + "/missing.yaml"} {
		var pe *fs.PathError
		if c, err := Load(path, env); c != nil || !errors.As(err, &pe) {
			t.Errorf("Load(%s) = %v, %v; want a PathError", path, c, err)
		}
	}
}

func TestNeedsRestart(t *testing.T) {
	const base = smallest + "nats: {streams: {X: {subjects: [x]}}}\n"
	replace := func(old, new string) string { return strings.Replace(base, old, new, 1) }
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", base, nil},
		{"a comment", "# new\n" + base, nil},
		{"a default written out", base + "data_dir: ./eventd-data\n", nil},
		{"a new source with a stream of its own", replace("sources:", "sources:\n  more: {subject: MORE}"), nil},
		{"handlers and routes", replace("events", "other") + "dead_letter: dead\n", nil},
		{"log and shutdown", base + "log: {level: debug}\nshutdown_timeout: 1s\n", nil},
		{"service", replace("SERVICE_A", "SERVICE_B"), []string{"service"}},
		{"data_dir", base + "data_dir: elsewhere\n", []string{"data_dir"}},
		{"store", base + "store: {dedupe_window: 1h, lock_timeout: 1s}\n", []string{"store.lock_timeout", "store.dedupe_window"}},
		{"listeners", base + "admin: {listen: 'localhost:1'}\nmetrics: {listen: ':2'}\n", []string{"admin.listen", "metrics.listen"}},
		{"a declared stream", replace("X: {subjects: [x]}", "X: {subjects: [y]}"), []string{"nats.streams.X.subjects"}},
		{"one more stream", replace("streams: {", "streams: {A: {subjects: [a]}, "), []string{"nats.streams.A"}},
		{"the server", replace("nats: {", "nats: {url: 'nats://127.0.0.1:1', "), []string{"nats.url", "nats.embedded"}},
		{"the embedded server", replace("nats: {", "nats: {embedded: {sync: 1s}, "), []string{"nats.embedded.sync"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := c.text
			if c.name == "the server" { // its sources then need a stream
				text = strings.Replace(text, "subject: REQUEST", "stream: S, subject: REQUEST", 1)
			}
			before, after := mustParse(t, base), mustParse(t, text)
			if got := NeedsRestart(before, after); !slices.Equal(got, c.want) {
				t.Errorf("NeedsRestart = %v; want %v", got, c.want)
			}
			if got := NeedsRestart(after, before); !slices.Equal(got, c.want) {
				t.Errorf("the other way round, NeedsRestart = %v; want %v", got, c.want)
			}
		})
	}
}

// TestDoesNotShareDefaults: a configuration is the caller's to change.
func TestDoesNotShareDefaults(t *testing.T) {
	mustParse(t, smallest).Handlers["service-a"].RetryOn[0] = "changed"
	if got := mustParse(t, smallest).Handlers["service-a"].RetryOn[0]; got != "5xx" {
		t.Errorf("RetryOn[0] = %s; want 5xx", got)
	}
}
