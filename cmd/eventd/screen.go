package main

import (
	"io"
	"os"
	"strconv"

	"github.com/mattn/go-isatty"
)

// screen is what is known of the place that output goes to.
type screen struct {
	terminal bool
	width    int // in columns; 0 for no limit, as in a file
	colours  bool
}

// fallbackWidth is the width of a terminal that does not say its own.
const fallbackWidth = 80

// newScreen looks at where w leads. Only a terminal has a width and colours: a
// program that reads the output gets all of it.
func newScreen(w io.Writer, env func(string) (string, bool)) screen {
	f, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return screen{}
	}
	s := screen{terminal: true, width: terminalWidth(f)}
	if columns, _ := env("COLUMNS"); columns != "" {
		if n, err := strconv.Atoi(columns); err == nil && n > 0 {
			s.width = n
		}
	}
	if s.width == 0 {
		s.width = fallbackWidth
	}
	none, _ := env("NO_COLOR")
	kind, _ := env("TERM")
	s.colours = none == "" && kind != "dumb"
	return s
}

// isTerminal reports whether a person types what is read from r.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// The colours of statuses, as SGR codes.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint puts a text into a colour, "" for none.
func (s screen) paint(text, code string) string {
	if !s.colours || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// statusColour returns the colour of a status.
func statusColour(status string) string {
	switch status {
	case "COMPLETED":
		return green
	case "RETRY":
		return yellow
	case "ERROR", "FAILED":
		return red
	case "IN_PROGRESS":
		return cyan
	}
	return ""
}
