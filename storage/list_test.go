package storage

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

func listed(t *testing.T, db *DB, f event.Filter, p event.Page) (seqs []uint64, next uint64) {
	t.Helper()
	list, next, err := db.List(ctx, f, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range list {
		seqs = append(seqs, rec.Seq)
	}
	return seqs, next
}

// TestPageAtEveryBorder continues behind each event of several segments, and
// behind what is not there, in both directions, with and without the index.
func TestPageAtEveryBorder(t *testing.T) {
	const events = 25
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents = 5 })
	for i := range events {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		a.Event.CorrelationID = "conversation"
		accept(t, db, a)
	}
	for _, f := range []event.Filter{{}, {CorrelationID: "conversation"}} {
		for after := uint64(0); after <= events+2; after++ {
			for _, limit := range []int{1, 3, 5, events} {
				var up, down []uint64
				for seq := uint64(1); seq <= events; seq++ {
					if seq > after {
						up = append(up, seq)
					}
					if seq < after || after == 0 {
						down = append([]uint64{seq}, down...)
					}
				}
				for _, c := range []struct {
					oldest bool
					want   []uint64
				}{{true, up}, {false, down}} {
					got, next := listed(t, db, f, event.Page{Limit: limit, After: after, OldestFirst: c.oldest})
					want := c.want[:min(limit, len(c.want))]
					if !slices.Equal(got, want) || (next != 0) != (len(c.want) > limit) {
						t.Errorf("List(%+v) behind %d, oldest first %t, limit %d = %v, next %d; want %v", f, after, c.oldest, limit, got, next, want)
					}
				}
			}
		}
	}
}

// TestListBetweenTimes includes its beginning and excludes its end, also where a
// segment begins or ends with that very time.
func TestListBetweenTimes(t *testing.T) {
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents = 3 })
	at := func(i int) time.Time { return t0.Add(time.Duration(i) * time.Minute) }
	for i := range 9 {
		a := newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		a.Event.CreatedAt = at(i)
		accept(t, db, a)
	}
	for since := range 10 {
		for until := range 10 {
			var want []uint64
			for i := since; i < until; i++ {
				want = append(want, uint64(i+1))
			}
			got, _ := listed(t, db, event.Filter{Since: at(since), Until: at(until)}, event.Page{Limit: 20, OldestFirst: true})
			if !slices.Equal(got, want) {
				t.Errorf("List from %d to %d = %v; want %v", since, until, got, want)
			}
		}
	}
}

// TestListOfALargeSegment takes more than one read transaction for a page.
func TestListOfALargeSegment(t *testing.T) {
	const events, every = 2*slice + 700, 997
	db := openTest(t, storePath(t), func(o *Options) { o.segmentEvents = segmentEvents })
	list := make([]*event.Admission, events)
	var want []uint64
	for i := range list {
		list[i] = newAdmission(event.Inbound, fmt.Sprint("id-", i), "h")
		list[i].Event.CorrelationID = "conversation"
		if i%every == 0 {
			list[i].Event.MessageType = "RARE"
			want = append(want, uint64(i+1))
		}
	}
	accept(t, db, list...)
	for _, f := range []event.Filter{{MessageType: "RARE"}, {MessageType: "RARE", CorrelationID: "conversation"}} {
		for _, oldest := range []bool{true, false} {
			var got []uint64
			for p := (event.Page{Limit: 4, OldestFirst: oldest}); ; {
				part, next := listed(t, db, f, p)
				got = append(got, part...)
				if p.After = next; next == 0 {
					break
				}
			}
			if !oldest {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("List(%+v), oldest first %t = %v; want %v", f, oldest, got, want)
			}
		}
	}
	for _, oldest := range []bool{true, false} {
		all, next := listed(t, db, event.Filter{}, event.Page{Limit: events + 1, OldestFirst: oldest})
		if len(all) != events || next != 0 {
			t.Errorf("List of all, oldest first %t = %d, next %d; want %d", oldest, len(all), next, events)
		}
	}
}
