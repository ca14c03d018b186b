// Package schedule makes events at set times.
//
// # Invariants
//
//   - A run is made once. Its event and the mark that says so are one transaction,
//     and the id of the event depends on the schedule and the time alone.
//   - Marks only go forward, but when the clock was ahead by more than a day.
//   - Nothing waits but one timer. It never sleeps for more than a minute, as the
//     wall clock may be set meanwhile.
//
// # Reading order
//
// rule.go (when: cron, time zone, changing clocks), decide.go (which runs are to be
// made now), runner.go (the loop that makes them).
package schedule
