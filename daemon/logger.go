package daemon

import (
	"io"
	"os"
	"time"

	"github.com/eventd-io/eventd/config"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// newLogger returns the logger that a configuration asks for. Times are RFC
// 3339 UTC with milliseconds, durations in milliseconds.
func newLogger(c config.Log, w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	if c.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", TimeLocation: time.Local, NoColor: !colours(w)}
	}
	return zerolog.New(zerolog.SyncWriter(w)).Level(level).Hook(stamp{})
}

// colours reports whether a writer is a terminal whose user wants colours:
// see https://no-color.org.
func colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == ""
}

// stamp puts the time in front. zerolog's own keeps whole seconds unless a
// variable of its package is changed.
type stamp struct{}

// Run implements [zerolog.Hook].
func (stamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}
