package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestMain(m *testing.M) {
	// The parts of a run are this very program.
	if len(os.Args) > 2 && os.Args[1] == "part" {
		os.Exit(execute())
	}
	os.Exit(m.Run())
}

func TestMessage(t *testing.T) {
	seen := map[string]bool{}
	for n := range 1000 {
		b := appendMessage(nil, n, 17, 1024)
		var m struct {
			ID   string `json:"event_id"`
			N    int    `json:"n"`
			At   int64  `json:"at"`
			Type string `json:"message_type"`
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if len(b) != 1024 || m.N != n || m.At != 17 || len(m.ID) != 36 || seen[m.ID] {
			t.Fatalf("message %d = %s", n, b)
		}
		seen[m.ID] = true
		if got, ok := field(b, `"n":`); !ok || got != int64(n) {
			t.Fatalf("field n = %d, %v; want %d", got, ok, n)
		}
	}
	if b := appendMessage(nil, math.MaxInt32, time.Now().UnixNano(), minSize); len(b) != minSize || !json.Valid(b) {
		t.Errorf("the smallest message has %d bytes: %s", len(b), b)
	}
	if _, ok := field([]byte(`{"n":x}`), `"n":`); ok {
		t.Error("a letter was read as a number")
	}
}

// TestStallCounts is what correction for coordinated omission means: a stall of
// one second at 1,000 messages/s shows in all the messages that should have been
// sent meanwhile, not in one.
func TestStallCounts(t *testing.T) {
	plan := schedule{start: time.Unix(0, 0), rate: 1000}
	r := newRecorder()
	for n := range plan.count(10 * time.Second) {
		intended := plan.at(n)
		arrived := intended.Add(time.Millisecond)
		if stalled := plan.start.Add(6 * time.Second); intended.After(plan.start.Add(5*time.Second)) && arrived.Before(stalled) {
			arrived = stalled
		}
		r.record(arrived.Sub(intended))
	}
	p := r.percentiles()
	if p.Count != 10_000 || p.P50 > 1.01 || p.P99 < 880 || p.P99 > 910 || p.P999 < 980 {
		t.Errorf("percentiles = %+v; want 1 ms at p50, about 900 ms at p99", p)
	}
}

func TestSchedule(t *testing.T) {
	plan := schedule{start: time.Unix(100, 0), rate: 30_000}
	if got := plan.at(30_000 * 60).Sub(plan.start); (got - time.Minute).Abs() > time.Microsecond {
		t.Errorf("message 1,800,000 is sent after %s; want a minute", got)
	}
	if got := plan.count(1500 * time.Millisecond); got != 45_000 {
		t.Errorf("count = %d; want 45000", got)
	}
}

func TestRecorderKeepsTheLongest(t *testing.T) {
	r := newRecorder()
	r.record(time.Hour)
	r.record(-time.Second)
	if p := r.percentiles(); p.Count != 2 || p.P999 < 59_000 {
		t.Errorf("percentiles = %+v; want both counted", p)
	}
}

func TestSpread(t *testing.T) {
	cases := []struct {
		list []float64
		want spread
		ok   bool
	}{
		{nil, spread{}, false},
		{[]float64{math.NaN()}, spread{}, false},
		{[]float64{3, 1, 2}, spread{2, 1, 3}, true},
		{[]float64{4, 1, 2, 3, math.NaN()}, spread{2.5, 1, 4}, true},
	}
	for _, c := range cases {
		if got, ok := spreadOf(c.list); got != c.want || ok != c.ok {
			t.Errorf("spreadOf(%v) = %v, %v; want %v, %v", c.list, got, ok, c.want, c.ok)
		}
	}
}

// TestRatioWithinARound takes rounds whose machine was twice as fast each time:
// the ratio stays.
func TestRatioWithinARound(t *testing.T) {
	r := twoRounds()
	out, _ := r.row(r.scenario.measures[0], "eventd")
	if *out.Ratio != (spread{0.5, 0.5, 0.5}) || out.Verdict != "below" || out.Goal != "≥ 1.00×" {
		t.Errorf("row = %+v, ratio %v; want 0.5 in each round, below", out, *out.Ratio)
	}
	r.scenario.ceiling = 150
	if out, _ = r.row(r.scenario.measures[0], "eventd"); out.Ratio.Max != 100.0/150 {
		t.Errorf("ratio %v; want one of the ceiling", *out.Ratio)
	}
}

func twoRounds() *result {
	r := &result{scenario: scenarios()[0], variants: []string{"loop", "eventd"}}
	r.scenario.measures = r.scenario.measures[:1]
	r.samples = map[string][]sample{"loop": {{kRate: 100}, {kRate: 200}}, "eventd": {{kRate: 50}, {kRate: 100}}}
	return r
}

func twoRoundsSummary() *summary {
	return summarize(&options{messages: 50_000, size: 1024, rounds: 2, workers: 64}, []*result{twoRounds()})
}

func TestGuard(t *testing.T) {
	s := twoRoundsSummary()
	if err := guard(map[string]float64{"drain": 0.5}, s); err != nil {
		t.Error(err)
	}
	if err := guard(map[string]float64{"drain": 0.51}, s); err == nil || !strings.Contains(err.Error(), "0.50") {
		t.Errorf("guard at 0.51 = %v; want an error that names 0.50", err)
	}
	s.Scenarios[0].main = math.NaN()
	if guard(map[string]float64{"drain": 0.1}, s) == nil {
		t.Error("no ratio passed the guard")
	}
}

func TestGoal(t *testing.T) {
	cases := []struct {
		g    goal
		v    float64
		want string
	}{
		{goal{min: 1}, 1, "ok"}, {goal{min: 1}, 0.99, "below"}, {goal{max: 3}, 3, "ok"}, {goal{max: 3}, 3.01, "above"}, {goal{min: 1}, math.NaN(), "?"},
	}
	for _, c := range cases {
		if got := c.g.verdict(c.v); got != c.want {
			t.Errorf("%+v of %v = %s; want %s", c.g, c.v, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for want, v := range map[string]float64{"999": 999, "1,000": 1000, "1,234,568": 1234567.8, "-1,000": -1000, "0": 0} {
		if got := number(v, 0); got != want {
			t.Errorf("number(%v) = %s; want %s", v, got, want)
		}
	}
	if got := number(12345.678, 2); got != "12,345.68" {
		t.Errorf("number = %s", got)
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-rounds", "1", "drain", "-messages", "7", "slow", "-min-ratio", "drain=0.5"})
	if err != nil || len(o.scenarios) != 2 || o.messages != 7 || o.minRatio["drain"] != 0.5 || o.stored != 200_000 {
		t.Fatalf("parse = %+v, %v", o, err)
	}
	if o, err = parse([]string{"all"}); err != nil || len(o.scenarios) != len(scenarios()) || o.stored != 5_000_000 {
		t.Fatalf("parse all = %+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"drian"}, {"-min-ratio", "drain"}, {"-min-ratio", "slow=1"}, {"latency-1k", "-min-ratio", "latency-1k=1"}, {"-size", "10"}, {"-rounds", "0"}, {"-also", "x"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse(%v) has no error", args)
		}
	}
}

// TestScenarios holds the table to what the report takes for granted.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios() {
		b := &bench{options: &options{}}
		names := map[string]bool{"": true}
		for _, v := range s.variants(b) {
			names[v.name] = true
		}
		if !names[s.baseline] || !names[s.subject] {
			t.Errorf("%s: baseline %q or subject %q is no variant of %v", s.name, s.baseline, s.subject, names)
		}
		keys := map[string]bool{}
		for _, m := range s.measures {
			keys[m.key] = true
		}
		for _, g := range s.goals {
			if !keys[g.key] || !names[g.variant] || g.min+g.max <= 0 {
				t.Errorf("%s: goal %+v is about nothing", s.name, g)
			}
		}
	}
}

func TestReplaceMarked(t *testing.T) {
	got, err := replaceMarked([]byte("a\n"+markBegin+"\nold\n"+markEnd+"\nb\n"), "new")
	if want := "a\n" + markBegin + "\n\nnew\n" + markEnd + "\nb\n"; err != nil || string(got) != want {
		t.Errorf("replaceMarked = %q, %v; want %q", got, err, want)
	}
	for _, text := range []string{"", markBegin, markEnd + markBegin, markBegin + markEnd + markEnd, markBegin + markBegin + markEnd} {
		if _, err := replaceMarked([]byte(text), "new"); err == nil {
			t.Errorf("replaceMarked(%q) has no error", text)
		}
	}
}

func TestMarkdownTwiceIsTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(file, []byte("# P\n\n"+markBegin+markEnd+"\n\nrest\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var texts [2][]byte
	for i := range texts {
		if err := writeMarkdown(file, twoRoundsSummary()); err != nil {
			t.Fatal(err)
		}
		texts[i], _ = os.ReadFile(file)
	}
	if !bytes.Equal(texts[0], texts[1]) || !bytes.HasSuffix(texts[0], []byte("\n\nrest\n")) {
		t.Errorf("first\n%s\nthen\n%s", texts[0], texts[1])
	}
	if !bytes.Contains(texts[0], []byte("| events/s | eventd | 75 | 50–100 | 0.50 | 0.50–0.50 | ≥ 1.00× | below |")) {
		t.Errorf("no row of eventd in\n%s", texts[0])
	}
}

func TestSVG(t *testing.T) {
	s := twoRoundsSummary()
	s.Scenarios[0].Rows[1].Variant = `<&"'>`
	text := drawSVG(s)
	d := xml.NewDecoder(strings.NewReader(text))
	elements := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok {
			elements[e.Name.Local]++
		}
	}
	if elements["rect"] != 1 || elements["title"] != 1 || elements["line"] != 1 {
		t.Errorf("elements = %v; want one bar, a title, a line at the baseline", elements)
	}
}

func TestAdapterFile(t *testing.T) {
	a, err := readAdapter("adapters/benthos.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{bench: &bench{options: &options{}}, nats: "127.0.0.1:4", sink: "http://127.0.0.1:5"}
	text := a.values(w, order{workers: 64}, "/d", "/c").Replace(a.Config)
	var config struct {
		Input struct {
			JetStream struct {
				URLs   []string `yaml:"urls"`
				Stream string   `yaml:"stream"`
			} `yaml:"nats_jetstream"`
		} `yaml:"input"`
		Output struct {
			HTTP struct {
				URL         string `yaml:"url"`
				MaxInFlight int    `yaml:"max_in_flight"`
			} `yaml:"http_client"`
		} `yaml:"output"`
	}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if config.Input.JetStream.URLs[0] != "nats://127.0.0.1:4" || config.Input.JetStream.Stream != "BENCH" ||
		config.Output.HTTP.URL != "http://127.0.0.1:5/" || config.Output.HTTP.MaxInFlight != 64 {
		t.Errorf("config = %+v", config)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	for _, text := range []string{"name: x", "name: x\ncommand: [a]\nnope: 1", "{"} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readAdapter(bad); err == nil {
			t.Errorf("readAdapter of %q has no error", text)
		}
	}
}

func TestSinkFailsOnce(t *testing.T) {
	s := &sink{latency: newRecorder(), failed: map[int64]bool{}, failEvery: 5}
	refused := 0
	for range 2 {
		for n := range 100 {
			if string(s.post(nil, appendMessage(nil, n, 0, 200))) == answerRefused {
				refused++
			}
		}
	}
	if refused != 20 || s.count.Load() != 180 || s.refused.Load() != 20 {
		t.Errorf("%d refused, %d counted; want 20 and 180", refused, s.count.Load())
	}
}

// TestSmoke drains a few messages through the loop, an adapter that is the loop
// once more, and eventd, as the command does.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds eventd and starts processes")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "adapter.yaml")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := "name: again\ncommand: [sh, -c, 'exec \"$SELF\" part loop -nats \"${AT#nats://}\" -sink \"${TO%/}\" -workers {concurrency}']\n" +
		"env: {SELF: \"" + self + "\", AT: \"{nats}\", TO: \"{sink}\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.json")
	if err := run(t.Context(), []string{"-dir", dir, "-messages", "200", "-rounds", "1", "-adapter", file, "-json", out, "drain", "-min-ratio", "drain=0.0001"}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	samples := s.Scenarios[0].Samples
	for _, name := range []string{"loop", "watermill", "eventd", "again"} {
		if len(samples[name]) != 1 || samples[name][0][kRate] <= 0 || samples[name][0][kCPU] <= 0 {
			t.Errorf("%s = %v; want one round with a rate and CPU time", name, samples[name])
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "eventd-bench-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeptBacklog(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "kept")
	want := kept{Stored: 3, Size: 1024}
	failed := errors.New("ended half way")
	store := func(err error) func(string) error {
		return func(data string) error {
			return errors.Join(os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "eventd.db"), nil, 0o600), err)
		}
	}
	k := want
	if data, err := k.find(folder); data != "" || err != nil {
		t.Fatalf("find where nothing is = %q, %v; want neither", data, err)
	}
	if _, err := k.fill(folder, store(failed)); !errors.Is(err, failed) {
		t.Fatalf("fill = %v; want %v", err, failed)
	}
	if data, err := k.find(folder); data != "" || err != nil {
		t.Fatalf("find after half a store = %q, %v; want neither", data, err)
	}
	made, err := k.fill(folder, store(nil))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := k.find(folder); data != made || err != nil {
		t.Fatalf("find = %q, %v; want %q", data, err, made)
	}
	for name, other := range map[string]kept{"fewer": {Stored: 2, Size: 1024}, "smaller": {Stored: 3, Size: 512}} {
		if _, err := other.find(folder); err == nil {
			t.Errorf("%s: find has no error", name)
		}
	}
	k.Built = time.Now().Add(-keptFor - time.Minute)
	text, _ := json.Marshal(k)
	if err := os.WriteFile(filepath.Join(folder, "kept.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := want.find(folder); err == nil {
		t.Error("an old one is taken")
	}
	if err := os.Remove(filepath.Join(folder, "kept.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := want.find(folder); err == nil {
		t.Error("a folder of someone else's is taken")
	}
}
