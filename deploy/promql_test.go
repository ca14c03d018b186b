package deploy_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
)

// The parser knows more than Prometheus does. These are what Prometheus knows
// of it and what is used here; true stands for a function over a time range.
var functions = map[string]bool{
	"rate": true, "increase": true, "delta": true, "deriv": true, "changes": true,
	"min_over_time": true, "max_over_time": true, "avg_over_time": true,
	"histogram_quantile": false, "absent": false, "time": false, "clamp_min": false, "clamp_max": false,
}

var (
	aggregations = []string{"sum", "min", "max", "avg", "count", "topk", "bottomk"}
	operators    = []string{"+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless"}
)

// check returns what is wrong with an expression, and the labels that its
// result has.
func check(expr string, known map[string]*metric) (labels, problems []string) {
	parsed, err := metricsql.Parse(strings.ReplaceAll(expr, "$__rate_interval", "5m"))
	if err != nil {
		return nil, []string{err.Error()}
	}
	c := &checker{known: known}
	labels = c.walk(parsed, false)
	return labels, c.problems
}

type checker struct {
	known    map[string]*metric
	problems []string
}

func (c *checker) complain(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// walk returns the labels that the expression's result has. ranged tells that a
// time range is asked for here.
func (c *checker) walk(e metricsql.Expr, ranged bool) []string {
	if r, ok := e.(*metricsql.RollupExpr); ok {
		if (r.Window != nil) != ranged {
			c.complain("%s: a time range is there and not asked for, or the other way round", text(e))
		}
		return c.walk(r.Expr, false)
	}
	if ranged {
		c.complain("%s: has no time range", text(e))
	}
	switch e := e.(type) {
	case *metricsql.MetricExpr:
		return c.selector(e)
	case *metricsql.FuncExpr:
		return c.function(e)
	case *metricsql.AggrFuncExpr:
		return c.aggregation(e)
	case *metricsql.BinaryOpExpr:
		return c.operation(e)
	case *metricsql.NumberExpr:
		return nil
	default:
		c.complain("%s: a %T is not understood", text(e), e)
		return nil
	}
}

func (c *checker) selector(e *metricsql.MetricExpr) []string {
	if len(e.LabelFilterss) != 1 || len(e.LabelFilterss[0]) == 0 || e.LabelFilterss[0][0].Label != "__name__" {
		c.complain("%s: is no plain selector", text(e))
		return nil
	}
	name, filters := e.LabelFilterss[0][0].Value, e.LabelFilterss[0][1:]
	m := c.known[name]
	if m == nil {
		c.complain("no metric is named %s", name)
		return nil
	}
	for _, f := range filters {
		if !slices.Contains(m.labels, f.Label) && !slices.Contains(targetLabels, f.Label) {
			c.complain("%s has no label %s", name, f.Label)
			continue
		}
		for _, alternative := range strings.Split(f.Value, "|") {
			f.Value = alternative
			if !slices.ContainsFunc(m.series, func(s map[string]string) bool { return matches(f, s) }) {
				c.complain("no series of %s fits %s", name, f.AppendString(nil))
			}
		}
	}
	return slices.Concat(m.labels, targetLabels)
}

// matches takes every value for right of what only a running Grafana or
// Prometheus knows.
func matches(f metricsql.LabelFilter, series map[string]string) bool {
	if strings.HasPrefix(f.Value, "$") || slices.Contains(targetLabels, f.Label) {
		return true
	}
	same := f.Value == series[f.Label]
	if f.IsRegexp {
		same = regexp.MustCompile("^(?:" + f.Value + ")$").MatchString(series[f.Label])
	}
	return same != f.IsNegative
}

func (c *checker) function(e *metricsql.FuncExpr) []string {
	ranged, ok := functions[e.Name]
	if !ok || e.KeepMetricNames {
		c.complain("%s: Prometheus does not know it, or it is not in the list of this test", text(e))
		return nil
	}
	if len(e.Args) == 0 {
		return nil
	}
	vector := e.Args[0]
	if e.Name == "histogram_quantile" {
		vector = e.Args[1]
	}
	c.suits(e.Name, vector)
	labels := c.walk(vector, ranged)
	switch e.Name {
	case "absent":
		return nil
	case "histogram_quantile":
		name := firstName(vector)
		if strings.HasSuffix(name, "_bucket") != slices.Contains(labels, "le") {
			c.complain("%s: classic buckets need le, native ones have none", text(e))
		}
		return slices.DeleteFunc(labels, func(l string) bool { return l == "le" })
	}
	return labels
}

// suits: rate is for what only rises, delta for what does not.
func (c *checker) suits(function string, vector metricsql.Expr) {
	m := c.known[firstName(vector)]
	if m == nil {
		return
	}
	rises := function == "rate" || function == "increase"
	if rises && !m.counter || (function == "delta" || function == "deriv") && m.counter {
		c.complain("%s does not suit %s", function, firstName(vector))
	}
}

func (c *checker) aggregation(e *metricsql.AggrFuncExpr) []string {
	if !slices.Contains(aggregations, e.Name) || e.Limit != 0 {
		c.complain("%s: Prometheus does not know it, or it is not in the list of this test", text(e))
		return nil
	}
	labels := c.walk(e.Args[len(e.Args)-1], false)
	for _, l := range e.Modifier.Args {
		if !slices.Contains(labels, l) {
			c.complain("%s: there is no label %s", text(e), l)
		}
	}
	switch {
	case e.Name == "topk" || e.Name == "bottomk":
		return labels
	case e.Modifier.Op == "without":
		return slices.DeleteFunc(labels, func(l string) bool { return slices.Contains(e.Modifier.Args, l) })
	default:
		return slices.Clone(e.Modifier.Args)
	}
}

func (c *checker) operation(e *metricsql.BinaryOpExpr) []string {
	if !slices.Contains(operators, e.Op) || e.KeepMetricNames || e.FillLeft != nil || e.FillRight != nil {
		c.complain("%s: Prometheus does not know this operation", text(e))
	}
	left, right := c.walk(e.Left, false), c.walk(e.Right, false)
	if firstName(e.Left) == "" {
		return right
	}
	if plain := e.GroupModifier.Op == ""; plain && firstName(e.Right) != "" && !slices.Equal(set(left), set(right)) {
		c.complain("%s: the sides have labels %v and %v", text(e), set(left), set(right))
	}
	return left
}

func set(labels []string) []string { return slices.Compact(slices.Sorted(slices.Values(labels))) }

// firstName is the name of the first metric in an expression; "" for none.
func firstName(e metricsql.Expr) (name string) {
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		if m, ok := e.(*metricsql.MetricExpr); ok && name == "" && len(m.LabelFilterss) > 0 {
			name = m.LabelFilterss[0][0].Value
		}
	})
	return name
}

func text(e metricsql.Expr) string { return string(e.AppendString(nil)) }

// names are the metrics that an expression asks for, those of a histogram under
// the histogram's own name.
func names(expr string, known map[string]*metric) []string {
	found := map[string]bool{}
	for _, word := range regexp.MustCompile(`[a-z_]+`).FindAllString(expr, -1) {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(word, "_bucket"), "_count"), "_sum")
		if known[base] != nil {
			found[base] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// The check itself can fail: each of these is wrong in its own way.
func TestCheckFindsMistakes(t *testing.T) {
	known := exposed(t)
	for expr, want := range map[string]string{
		`sum(eventd_eventz)`:                           "no metric is named eventd_eventz",
		`eventd_events{state="FAILED"}`:                "has no label state",
		`eventd_events{status="failed"}`:               "no series",
		`eventd_events{status=~"ERROR|FALED"}`:         "no series",
		`eventd_deliveries_total{outcome="COMPLETED"}`: "no series",
		`sum by (handlers) (eventd_in_flight)`:         "no label handlers",
		`sum without (type) (eventd_in_flight)`:        "no label type",
		`rate(eventd_events_received_total)`:           "no time range",
		`eventd_events[5m]`:                            "time range",
		`rate(eventd_events[5m])`:                      "does not suit",
		`delta(eventd_deliveries_total[5m])`:           "does not suit",
		`median(eventd_events)`:                        "does not know",
		`rate_over_sum(eventd_events[5m])`:             "does not know",
		`eventd_outbox_length default 0`:               "does not know",
		`sum(eventd_events) by (table) limit 3`:        "does not know",
		`histogram_quantile(0.9, sum by (handler) (rate(eventd_delivery_duration_seconds_bucket[5m])))`: "need le",
		`eventd_source_pending > 0 and eventd_outbox_length > 0`:                                        "the sides have labels",
		`eventd_outbox_length >`: "",
		`eventd_outbox_length{`:  "",
		`eventd_delivery_duration_seconds_bucket{handler="h"} + eventd_no`: "no metric is named eventd_no",
	} {
		_, problems := check(expr, known)
		if got := strings.Join(problems, "\n"); got == "" || !strings.Contains(got, want) {
			t.Errorf("check(%s) = %q; want a problem that says %q", expr, got, want)
		}
	}
}
