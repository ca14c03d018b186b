package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// columns are the heads of a scenario's table.
func columns(s section) []string {
	ratio := "ratio"
	if s.Baseline != "" {
		ratio = "of " + s.Baseline
	}
	return []string{"measure", "variant", "median", "spread", ratio, "spread", "goal", ""}
}

// cells are a row as text.
func (r row) cells() []string {
	list := []string{r.Title, r.Variant, number(r.Value.Median, r.digits), r.Value.text(r.digits), "", "", r.Goal, r.Verdict}
	if r.Ratio != nil {
		list[4], list[5] = number(r.Ratio.Median, 2), r.Ratio.text(2)
	}
	return list
}

func (s spread) text(digits int) string {
	return number(s.Min, digits) + "–" + number(s.Max, digits)
}

// writeText writes the report for people at a terminal.
func writeText(w io.Writer, s *summary) error {
	fmt.Fprintf(w, "%s\n", s.Setup)
	for _, one := range s.Scenarios {
		fmt.Fprintf(w, "\n%s: %s\n\n", one.Name, one.About)
		t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
		fmt.Fprintf(t, "  %s\n", strings.Join(columns(one), "\t"))
		last := ""
		for _, r := range one.Rows {
			cells := r.cells()
			if r.Title == last {
				cells[0] = ""
			}
			last = r.Title
			fmt.Fprintf(t, "  %s\n", strings.Join(cells, "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, n := range one.Notes {
			fmt.Fprintf(w, "  * %s\n", n)
		}
	}
	return nil
}
