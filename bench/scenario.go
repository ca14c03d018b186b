package main

import (
	"context"
	"fmt"
	"math"
)

// scenario is a setup, who is measured in it, and by what.
type scenario struct {
	name, about string
	baseline    string  // the variant that ratios refer to; "" when there are none
	subject     string  // the variant that goals and -min-ratio are about
	ceiling     float64 // the most that the first measure can be; 0 is no limit
	measures    []measure
	goals       []goal
	variants    func(b *bench) []variant
}

// variant is one of the things that a scenario compares.
type variant struct {
	name string
	run  func(ctx context.Context, w *world) (sample, error)
}

// measure is a figure and how it is shown.
type measure struct {
	key    string // in a sample, and in JSON
	title  string // with unit
	digits int
	more   bool // more is better
}

// sample is what one variant showed in one round, by key of a measure. What does
// not apply to it is missing.
type sample map[string]float64

// goal is what a measure should come to.
type goal struct {
	key      string
	variant  string // "" is the scenario's subject
	ratio    bool   // of the ratio, not of the figure
	min, max float64
}

// text shows the goal of a measure.
func (g goal) text(m measure) string {
	digits, unit := m.digits, ""
	if g.ratio {
		digits, unit = 2, "×"
	}
	if g.max > 0 {
		return fmt.Sprintf("≤ %s%s", number(g.max, digits), unit)
	}
	return fmt.Sprintf("≥ %s%s", number(g.min, digits), unit)
}

// verdict says how a figure stands to the goal.
func (g goal) verdict(v float64) string {
	switch {
	case math.IsNaN(v):
		return "?"
	case g.max > 0 && v > g.max:
		return "above"
	case g.min > 0 && v < g.min:
		return "below"
	}
	return "ok"
}

// result is what a scenario came to: samples by variant, one a round.
type result struct {
	scenario scenario
	variants []string // in the order they ran
	samples  map[string][]sample
	notes    []string
}

// ratio returns a measure of a variant as a share of the baseline's, or of the
// ceiling where that is lower, in one round. NaN is no ratio.
func (r *result) ratio(m measure, variant string, round int) float64 {
	base, ok := r.samples[r.scenario.baseline]
	if !ok || round >= len(base) {
		return math.NaN()
	}
	of, ok := base[round][m.key]
	value, has := r.samples[variant][round][m.key]
	if !ok || !has || of == 0 {
		return math.NaN()
	}
	if r.capped(m) {
		of = min(of, r.scenario.ceiling)
	}
	return value / of
}

// capped tells whether the ceiling applies to a measure.
func (r *result) capped(m measure) bool {
	return r.scenario.ceiling > 0 && m.key == r.scenario.measures[0].key
}
