package main

import (
	"fmt"
	"html"
	"os"
	"strings"
)

const (
	svgWidth  = 860
	svgLeft   = 300 // of the bars
	svgBars   = 330 // width of the bars
	svgRow    = 26
	svgHead   = 46
	svgSketch = `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" font-family="system-ui, sans-serif" font-size="13" fill="#768390">
<title>%s</title>
`
)

// chart draws ratios as bars, with a whisker from the lowest to the highest
// round. Its colours are legible on white and on black.
type chart struct {
	b strings.Builder
	y int
}

// bar is a line of the chart.
type bar struct {
	label string
	row   row
}

func writeSVG(file string, s *summary) error {
	return os.WriteFile(file, []byte(drawSVG(s)), 0o644)
}

func drawSVG(s *summary) string {
	more, less := barsOf(s)
	c := &chart{y: 24}
	const title = "Against the baseline of the same round (the loop by hand; retry: no failures; backlog: an empty store)"
	c.text(10, c.y, `font-size="14" font-weight="600"`, title)
	c.y += 4
	for part := range strings.SplitSeq(s.Setup, "; ") {
		c.y += 17
		c.text(10, c.y, `font-size="12"`, part)
	}
	c.y += 4
	c.group("Rate, as a share of the baseline's (×): more is better", more)
	c.group("Latency, as a multiple of the baseline's (×): less is better", less)
	height := c.y + 10
	return fmt.Sprintf(svgSketch, svgWidth, height, svgWidth, height, title) + c.b.String() + "</svg>\n"
}

// barsOf selects what is drawn: rates, and p50 and p99, that have a ratio.
func barsOf(s *summary) (more, less []bar) {
	for _, one := range s.Scenarios {
		for _, r := range one.Rows {
			if r.Ratio == nil {
				continue
			}
			line := bar{label: one.Name + ": " + r.Variant, row: r}
			switch r.Measure {
			case kRate:
				more = append(more, line)
			case kP50, kP99:
				line.label += ", " + strings.TrimSuffix(r.Title, ", ms")
				less = append(less, line)
			}
		}
	}
	return more, less
}

// group draws bars on a common scale, with a line at the baseline.
func (c *chart) group(title string, bars []bar) {
	if len(bars) == 0 {
		return
	}
	longest := 1.2
	for _, b := range bars {
		longest = max(longest, b.row.Ratio.Max)
	}
	scale := func(v float64) float64 { return svgLeft + v/longest*svgBars }
	c.y += svgHead - svgRow/2
	c.text(10, c.y, `font-weight="600"`, title)
	top := c.y + 8
	for _, b := range bars {
		c.y += svgRow
		c.bar(b, scale)
	}
	c.y += 12
	fmt.Fprintf(&c.b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#768390" stroke-dasharray="3 3"/>`+"\n", scale(1), top, scale(1), c.y)
	c.text(int(scale(1))-8, c.y+14, "", "1.00")
	c.y += 18
}

func (c *chart) bar(b bar, scale func(float64) float64) {
	r := *b.row.Ratio
	colour := "#539bf5"
	if b.row.Goal == "" {
		colour = "#8b949e"
	}
	c.text(10, c.y, "", b.label)
	fmt.Fprintf(&c.b, `<rect x="%d" y="%d" width="%.1f" height="14" rx="2" fill="%s"/>`+"\n", svgLeft, c.y-11, scale(r.Median)-svgLeft, colour)
	fmt.Fprintf(&c.b, `<path d="M%.1f %dv8m0-4H%.1fm0-4v8" stroke="#ae7c14" stroke-width="1.5" fill="none"/>`+"\n", scale(r.Min), c.y-8, scale(r.Max))
	unit := " events/s"
	if b.row.Measure != kRate {
		unit = " ms"
	}
	c.text(svgLeft+svgBars+12, c.y, "", fmt.Sprintf("%s×   %s%s", number(r.Median, 2), number(b.row.Value.Median, b.row.digits), unit))
}

func (c *chart) text(x, y int, attributes, text string) {
	fmt.Fprintf(&c.b, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(text))
}
