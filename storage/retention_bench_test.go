package storage

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// durations keeps how long each commit took.
type durations struct{ took []time.Duration }

func (c *durations) Commit(took time.Duration, _ int) { c.took = append(c.took, took) }

func p99(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)*99/100]
}

// BenchmarkRetention stores small events without a pause and keeps them for a
// second or a minute after they have ended, or for ever. fileMB is the size of the file at the
// end, liveMB what of it is in use, p99a and p99z those of the first and the
// last quarter of the commits.
func BenchmarkRetention(b *testing.B) {
	for name, kept := range map[string]time.Duration{"1s": time.Second, "1m": time.Minute, "8s": 8 * time.Second, "for ever": 0} {
		b.Run(name, func(b *testing.B) {
			var c durations
			db := openTest(b, filepath.Join(b.TempDir(), "eventd.db"), func(o *Options) {
				o.segmentEvents, o.Observer = segmentEvents, &c
				o.DedupeWindow, o.Retention, o.MaxSize = 1, Retention{Completed: kept}, 1<<40
			})
			const group = 200
			for n := 0; n < b.N; n += group {
				list, updates := make([]*event.Admission, group), make([]*event.Update, group)
				for i := range list {
					list[i] = fresh(fmt.Sprintf("0191-%032x", n+i))
				}
				accept(b, db, list...)
				for _, status := range []event.Status{event.InProgress, event.Completed} {
					for i := range updates {
						updates[i] = &event.Update{Seq: list[i].Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
							s.Deliveries[0].Status, s.UpdatedAt = status, time.Now()
							return nil, nil
						}}
					}
					if err := db.Update(ctx, updates...); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			info, err := db.Info(ctx)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size)/(1<<20), "fileMB")
			b.ReportMetric(float64(db.occupied.Load())/(1<<20), "liveMB")
			b.ReportMetric(float64(p99(c.took[:len(c.took)/4+1]).Microseconds())/1000, "p99a-ms")
			b.ReportMetric(float64(p99(c.took[3*len(c.took)/4:]).Microseconds())/1000, "p99z-ms")
		})
	}
}
