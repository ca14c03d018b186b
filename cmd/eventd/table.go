package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// column is how one column of a table is shown.
type column struct {
	head string
	// least is the width it may be cut down to where the screen is too narrow;
	// 0 for never: what is to be copied must be whole.
	least int
	// rank orders what goes first when cutting was not enough: the lowest; 0
	// stays whatever happens.
	rank   int
	right  bool // numbers
	colour func(string) string
}

// table is text in rows and columns. Its widths only grow, so that the pages of
// a long list stay below each other.
type table struct {
	columns []column
	rows    [][]string
	widths  []int
	headed  bool // the head is written
	// sparse tables leave out, on a screen, the columns that say nothing. It is
	// for tables that are written at once.
	sparse bool
}

// add appends a row; its cells are made fit for a terminal.
func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// write writes the rows that were added since the last time, below a head the
// first time.
func (t *table) write(w io.Writer, s screen) error {
	t.measure()
	widths := t.fit(s.width)
	var b strings.Builder
	if !t.headed {
		t.headed = true
		t.line(&b, widths, func(i int) (string, string) { return t.columns[i].head, bold }, s)
	}
	for _, row := range t.rows {
		t.line(&b, widths, func(i int) (string, string) {
			if c := t.columns[i].colour; c != nil {
				return row[i], c(row[i])
			}
			return row[i], ""
		}, s)
	}
	t.rows = t.rows[:0]
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) measure() {
	if t.widths == nil {
		t.widths = make([]int, len(t.columns))
		for i, c := range t.columns {
			t.widths[i] = utf8.RuneCountInString(c.head)
		}
	}
	for _, row := range t.rows {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
}

// gap is the space between columns.
const gap = 2

// fit returns the widths with which a line has at most so many columns, -1 for
// a column left out: first what may be cut is cut, then columns go by their
// rank. Nothing is done where there is no limit.
func (t *table) fit(limit int) []int {
	widths := append([]int(nil), t.widths...)
	if limit <= 0 {
		return widths
	}
	for i := range widths {
		if t.sparse && t.empty(i) {
			widths[i] = -1
		}
	}
	for over(widths, limit) > 0 && leaveOut(t.columns, widths, limit) {
	}
	for i := len(widths) - 1; i >= 0; i-- {
		if least := t.columns[i].least; least > 0 && widths[i] > least {
			widths[i] = max(least, widths[i]-max(0, over(widths, limit)))
		}
	}
	return widths
}

// empty reports whether a column has no text in any row.
func (t *table) empty(i int) bool {
	for _, row := range t.rows {
		if row[i] != "" {
			return false
		}
	}
	return true
}

// leaveOut takes the column of the lowest rank out unless cutting suffices.
func leaveOut(columns []column, widths []int, limit int) bool {
	spare, lowest := 0, -1
	for i, c := range columns {
		if widths[i] < 0 {
			continue
		}
		if c.least > 0 {
			spare += max(0, widths[i]-c.least)
		}
		if c.rank > 0 && (lowest < 0 || c.rank < columns[lowest].rank) {
			lowest = i
		}
	}
	if over(widths, limit) <= spare || lowest < 0 {
		return false
	}
	widths[lowest] = -1
	return true
}

// over returns by how many columns a line is too long.
func over(widths []int, limit int) int {
	total := -gap
	for _, w := range widths {
		if w >= 0 {
			total += w + gap
		}
	}
	return total - limit
}

// line writes one line; cell gives the text of a column and its colour.
func (t *table) line(b *strings.Builder, widths []int, cell func(int) (text, colour string), s screen) {
	pending := 0 // spaces not written yet: a line does not end in any
	for i, width := range widths {
		if width < 0 {
			continue
		}
		text, colour := cell(i)
		text = cut(text, width)
		space := width - utf8.RuneCountInString(text)
		if t.columns[i].right {
			pending, space = pending+space, 0
		}
		if text != "" {
			b.WriteString(strings.Repeat(" ", pending))
			b.WriteString(s.paint(text, colour))
			pending = 0
		}
		pending += space + gap
	}
	b.WriteByte('\n')
}
