package storage

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestCrashWhileRemoving kills a child that removes all that has ended while it
// stores more, again and again on the same file. What waits is there, and what is
// there fits together.
func TestCrashWhileRemoving(t *testing.T) {
	const rounds = 8
	path := storePath(t)
	accepted := map[string]uint64{}
	removed, dropped := 0, 0
	for round := 0; round < rounds || dropped == 0 && round < 10*rounds; round++ {
		c := startChild(t, "remove", path)
		c.await(t, "ready")
		alive := time.Duration(50+rand.IntN(250+30*round)) * time.Millisecond // any moment will do; a busy machine needs longer
		kill := time.AfterFunc(alive, func() { _ = c.Process.Kill() })
		for c.lines.Scan() {
			var events, segments int
			if n, _ := fmt.Sscanf(c.lines.Text(), "r %d %d .", &events, &segments); n == 2 {
				removed, dropped = removed+events, dropped+segments
				continue
			}
			readAcknowledged(c.lines.Text(), accepted, map[uint64]int{})
		}
		kill.Stop()
		if err := c.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		problems, err := inconsistencies(path, true)
		if err != nil || len(problems) > 0 {
			t.Fatalf("round %d: check after %s: %v, %q", round, alive, err, problems)
		}
		wantWaiting(t, path, accepted)
	}
	t.Logf("%d events that wait were acknowledged, %d events and of them %d segments were removed", len(accepted), removed, dropped)
	if len(accepted) == 0 || dropped == 0 || removed <= 100*dropped {
		t.Error("nothing was acknowledged, or not removed in both ways")
	}
}

func wantWaiting(t *testing.T, path string, accepted map[string]uint64) {
	t.Helper()
	db := openTest(t, path, keeping(Retention{Completed: time.Hour}, time.Hour))
	defer db.Close()
	for id, seq := range accepted {
		found, err := db.Find(ctx, id)
		if err != nil || len(found) != 1 || found[0].Seq != seq || found[0].Status != event.Unprocessed {
			t.Fatalf("Find(%s) = %+v, %v; it waits as %d", id, found, err, seq)
		}
		if body, err := db.Payload(ctx, seq); err != nil || len(body) != 3000 {
			t.Fatalf("Payload of %s: %d bytes, %v", id, len(body), err)
		}
	}
}

// childRemove stores events, ends most of them and removes those that have
// ended, until it is killed. Of every other hundred events none waits, so that
// whole segments are dropped.
func childRemove(t *testing.T, path string) {
	db, err := Open(Options{Path: path, segmentEvents: 100, DedupeWindow: 1, Retention: Retention{Completed: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	out := &acknowledger{w: bufio.NewWriter(os.Stdout)}
	var running sync.WaitGroup
	for w := range 6 {
		running.Go(func() {
			for i := 0; ; i++ {
				a := fresh(fmt.Sprintf("p%d-%d-%d", os.Getpid(), w, i))
				a.Payload = make([]byte, 3000)
				accept(t, db, a)
				if i/100%2 == 0 && i%20 == 7 {
					out.print('a', a.Event.Seq, a.Event.ID)
					continue
				}
				end(t, db, a.Event.Seq, []event.Status{event.Completed, event.Failed}[i%2], nil)
			}
		})
	}
	running.Go(func() {
		p := &policy{prompt: true}
		p.rows[event.Completed], p.rows[event.Failed] = 1, 1
		k := &keeper{db: db, next: map[uint64]time.Time{}, damaged: map[uint64]bool{}}
		for {
			before := k.removed
			if err := k.look(p); err != nil {
				t.Error(err)
			}
			out.print('r', uint64(k.removed.events-before.events), k.removed.segments-before.segments)
		}
	})
	running.Wait()
}
