package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// summary is what a run came to: for text, JSON and the chart alike.
type summary struct {
	Setup     string    `json:"setup"`
	CPUs      int       `json:"cpus"`
	Go        string    `json:"go"`
	Messages  int       `json:"messages"`
	Size      int       `json:"size"`
	Rounds    int       `json:"rounds"`
	Workers   int       `json:"workers"`
	Stored    int       `json:"stored"`
	Scenarios []section `json:"scenarios"`
}

// section is one scenario.
type section struct {
	Name     string              `json:"name"`
	About    string              `json:"about"`
	Baseline string              `json:"baseline"`
	Rows     []row               `json:"rows"`
	Notes    []string            `json:"notes"`
	Samples  map[string][]sample `json:"samples"` // by variant, one a round
	main     float64             // ratio of the subject's first measure
}

// row is one measure of one variant.
type row struct {
	Measure string  `json:"measure"`
	Title   string  `json:"title"`
	Variant string  `json:"variant"`
	Value   spread  `json:"value"`
	Ratio   *spread `json:"ratio,omitempty"` // to the baseline of the same round
	Goal    string  `json:"goal,omitempty"`
	Verdict string  `json:"verdict,omitempty"` // ok, below or above
	More    bool    `json:"more_is_better"`
	digits  int
}

// spread is what a figure came to over the rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of a list; ok is false when it is empty.
func spreadOf(list []float64) (s spread, ok bool) {
	list = slices.DeleteFunc(slices.Clone(list), math.IsNaN)
	if len(list) == 0 {
		return s, false
	}
	slices.Sort(list)
	half := len(list) / 2
	median := list[half]
	if len(list)%2 == 0 {
		median = (list[half-1] + list[half]) / 2
	}
	return spread{Median: median, Min: list[0], Max: list[len(list)-1]}, true
}

func summarize(o *options, results []*result) *summary {
	s := &summary{
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Messages: o.messages, Size: o.size,
		Rounds: o.rounds, Workers: o.workers, Stored: o.stored,
	}
	s.Setup = fmt.Sprintf("%s messages of %s bytes, %d requests at the same time, %d interleaved rounds, medians (lowest–highest); %d CPUs, %s/%s, %s.",
		number(float64(o.messages), 0), number(float64(o.size), 0), o.workers, o.rounds, s.CPUs, runtime.GOOS, runtime.GOARCH, s.Go)
	for _, r := range results {
		s.Scenarios = append(s.Scenarios, summarizeScenario(o, r))
	}
	return s
}

func summarizeScenario(o *options, r *result) section {
	s := section{
		Name: r.scenario.name, About: r.scenario.about, Baseline: r.scenario.baseline,
		Notes: r.notes, Samples: r.samples, main: r.mainRatio(),
	}
	if r.scenario.subject == "stored" {
		s.Notes = append(s.Notes, fmt.Sprintf("stored: %s finished events before it begins", number(float64(o.stored), 0)))
	}
	for _, m := range r.scenario.measures {
		for _, variant := range r.variants {
			if one, ok := r.row(m, variant); ok {
				s.Rows = append(s.Rows, one)
			}
		}
	}
	return s
}

// row returns a measure of a variant; ok is false when it has none.
func (r *result) row(m measure, variant string) (out row, ok bool) {
	var values, ratios []float64
	for round, s := range r.samples[variant] {
		if v, has := s[m.key]; has {
			values = append(values, v)
			ratios = append(ratios, r.ratio(m, variant, round))
		}
	}
	out = row{Measure: m.key, Title: m.title, Variant: variant, More: m.more, digits: m.digits}
	if out.Value, ok = spreadOf(values); !ok {
		return out, false
	}
	if ratio, ok := spreadOf(ratios); ok && (variant != r.scenario.baseline || r.capped(m)) {
		out.Ratio = &ratio
	}
	r.judge(&out, m)
	return out, true
}

// judge adds the goals of a row and how it stands to them.
func (r *result) judge(out *row, m measure) {
	var goals []string
	for _, g := range r.scenario.goals {
		of := g.variant
		if of == "" {
			of = r.scenario.subject
		}
		if g.key != m.key || of != out.Variant {
			continue
		}
		value := out.Value.Median
		if g.ratio {
			value = math.NaN()
			if out.Ratio != nil {
				value = out.Ratio.Median
			}
		}
		goals = append(goals, g.text(m))
		if v := g.verdict(value); out.Verdict == "" || out.Verdict == "ok" {
			out.Verdict = v
		}
	}
	out.Goal = strings.Join(goals, ", ")
}

// mainRatio is the ratio that the scenario is about. NaN is none.
func (r *result) mainRatio() float64 {
	out, ok := r.row(r.scenario.measures[0], r.scenario.subject)
	if !ok || out.Ratio == nil {
		return math.NaN()
	}
	return out.Ratio.Median
}

// guard fails when a ratio is below what was asked for.
func guard(want map[string]float64, s *summary) error {
	var errs []error
	for _, one := range s.Scenarios {
		if least, ok := want[one.Name]; ok && !(one.main >= least) {
			errs = append(errs, fmt.Errorf("%s: the ratio is %.2f; want at least %.2f", one.Name, one.main, least))
		}
	}
	return errors.Join(errs...)
}

func writeJSON(file string, s *summary) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// number shows a figure with commas between the thousands.
func number(v float64, digits int) string {
	text := strconv.FormatFloat(v, 'f', digits, 64)
	whole, fraction, has := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if has {
		return whole + "." + fraction
	}
	return whole
}
