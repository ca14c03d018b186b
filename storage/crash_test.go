package storage

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestCrash kills a child that stores and steps as fast as it can, again and
// again on the same file. Whatever it had acknowledged is there, and all that
// is there fits together.
func TestCrash(t *testing.T) {
	const rounds = 10
	path := storePath(t)
	accepted, stepped := map[string]uint64{}, map[uint64]int{}
	for round := range rounds {
		c := startChild(t, "load", path)
		c.await(t, "ready")
		alive := time.Duration(5+rand.IntN(300)) * time.Millisecond // any moment will do
		kill := time.AfterFunc(alive, func() { _ = c.Process.Kill() })
		for c.lines.Scan() {
			readAcknowledged(c.lines.Text(), accepted, stepped)
		}
		kill.Stop()
		if err := c.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		problems, err := Inconsistencies(path)
		if err != nil || len(problems) > 0 {
			t.Fatalf("round %d: check after %s: %v, %q", round, alive, err, problems)
		}
		wantAcknowledged(t, path, accepted, stepped)
	}
	t.Logf("%d events and %d steps of them were acknowledged in %d rounds", len(accepted), len(stepped), rounds)
	if len(accepted) == 0 || len(stepped) == 0 {
		t.Error("nothing was acknowledged")
	}
}

// readAcknowledged takes note of a line of the child's: "a SEQ ID ." or
// "s SEQ ATTEMPTS .". One cut short by the end of the child has no dot.
func readAcknowledged(line string, accepted map[string]uint64, stepped map[uint64]int) {
	f := strings.Fields(line)
	if len(f) != 4 || f[3] != "." {
		return
	}
	seq, _ := strconv.ParseUint(f[1], 10, 64)
	if f[0] == "a" {
		accepted[f[2]] = seq
		return
	}
	n, _ := strconv.Atoi(f[2])
	stepped[seq] = max(stepped[seq], n)
}

func wantAcknowledged(t *testing.T, path string, accepted map[string]uint64, stepped map[uint64]int) {
	t.Helper()
	db := openTest(t, path)
	defer db.Close()
	for id, seq := range accepted {
		found, err := db.Find(ctx, id)
		if err != nil || len(found) != 1 || found[0].Seq != seq {
			t.Fatalf("Find(%s) = %+v, %v; it was acknowledged as %d", id, found, err, seq)
		}
		if body, err := db.Payload(ctx, seq); err != nil || string(body) != strings.Repeat(id, 20) {
			t.Fatalf("Payload of %s = %q, %v", id, body, err)
		}
		if got := found[0].Deliveries[0].Attempts; got < stepped[seq] {
			t.Fatalf("event %d has %d attempts; %d were acknowledged", seq, got, stepped[seq])
		}
	}
	again := newAdmission(event.Inbound, "", "h")
	for id, seq := range accepted { // the index knows them too
		again.Event.ID, again.Event.CorrelationID = id, id
		if accept(t, db, again); !again.Duplicate || again.Event.Seq != seq {
			t.Fatalf("%s was stored twice: %d and %d", id, seq, again.Event.Seq)
		}
		return
	}
}

// childLoad stores and steps, and prints what was acknowledged, until it is killed.
func childLoad(t *testing.T, path string) {
	o := Options{Path: path, segmentEvents: 40}
	calm := rand.IntN(2) == 0
	if calm { // and commits are so slow that most kills come in one
		o.beforeCommit = func() error {
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			return nil
		}
	}
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	out := &acknowledger{w: bufio.NewWriter(os.Stdout)}
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ; i++ {
				loadOnce(t, db, out, fmt.Sprintf("p%d-%d-%d", os.Getpid(), w, i), calm)
			}
		})
	}
	writers.Wait()
}

type acknowledger struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (a *acknowledger) print(kind byte, seq uint64, what any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.w, "%c %d %v .\n", kind, seq, what)
	_ = a.w.Flush()
}

// loadOnce takes one event through a life with a retry. With calm it begins at once, and its
// steps can wait: as under light load most goes through the journal, also beside commits.
func loadOnce(t *testing.T, db *DB, out *acknowledger, id string, calm bool) {
	a := newAdmission(event.Inbound, id, "h", "h2")
	a.Payload = bytes.Repeat([]byte(id), 20)
	begun, patience := calm || rand.IntN(2) == 0, time.Duration(0)
	if calm {
		patience = lingerTime
	}
	if begun { // which the journal takes
		for i := range a.State.Deliveries {
			a.State.Deliveries[i].Status = event.InProgress
		}
	} else {
		a.Outbox = []event.Publication{{Subject: "s"}}
	}
	if err := db.Accept(ctx, []*event.Admission{a}); err != nil {
		t.Error(err)
		return
	}
	seq := a.Event.Seq
	out.print('a', seq, id)
	if calm && rand.IntN(4) > 0 { // its handler is slow; the next one comes while another commits
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		return
	}
	for attempt, status := range []event.Status{event.InProgress, event.Retry, event.InProgress, event.Failed} {
		if begun && attempt == 0 {
			continue
		}
		u := &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
			d := &s.Deliveries[0]
			d.Status, d.Attempts, d.NextAttempt = status, attempt+1, t0.Add(time.Duration(seq)*time.Second)
			s.Timeline = append(s.Timeline, event.Entry{At: t0, Status: status, Detail: strings.Repeat("d", 50*attempt)})
			return &event.Effects{Outbox: []event.Publication{{Subject: "dead"}}}, nil
		}}
		if err := db.UpdateWithin(ctx, patience, u); err != nil || u.Err != nil {
			t.Error(err, u.Err)
			return
		}
		out.print('s', seq, attempt+1)
	}
}
