package router

import (
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestSureUpTo: an event that was planned before a search and is stored after it
// lies before the end of the search, which must not pass it over for ever.
func TestSureUpTo(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		reached, want event.DuePlace
	}{
		{event.DuePlace{}, event.DuePlace{}},
		{event.DuePlace{At: now.Add(-time.Hour), Seq: 7, Index: 1}, event.DuePlace{At: now.Add(-time.Hour), Seq: 7, Index: 1}},
		{event.DuePlace{At: now.Add(-commitLag), Seq: 7}, event.DuePlace{At: now.Add(-commitLag)}},
		{event.DuePlace{At: now, Seq: 7}, event.DuePlace{At: now.Add(-commitLag)}},
	} {
		if got := sureUpTo(c.reached, now); got != c.want {
			t.Errorf("sureUpTo(%v) = %v; want %v", c.reached, got, c.want)
		}
	}
}
