package storage

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// commits counts commits by how many operations shared them.
type commits struct {
	mu   sync.Mutex
	list []int
}

func (c *commits) Commit(_ time.Duration, operations int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, operations)
}

func (c *commits) last() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list[len(c.list)-1]
}

func touch(seq uint64) *event.Update {
	return &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
		s.UpdatedBy = "someone"
		return nil, nil
	}}
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &commits{}
		db := openTest(t, storePath(t), func(o *Options) { o.Observer = c })
		accept(t, db, newAdmission(event.Inbound, "e1", "h"))
		began := time.Now()
		if err := db.UpdateWithin(context.Background(), time.Minute, touch(1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Minute || c.last() != 1 {
			t.Errorf("stored after %s with %d operations; want 1m and 1", took, c.last())
		}
	})
}

// TestCompanyEndsPatience: patient operations wait together, as long as the first
// of them does, and none of them any longer once one comes that does not wait.
func TestCompanyEndsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &commits{}
		db := openTest(t, storePath(t), func(o *Options) { o.Observer = c })
		accept(t, db, newAdmission(event.Inbound, "e1", "h"))
		var patient sync.WaitGroup
		wait := func(patience time.Duration) {
			patient.Go(func() {
				if err := db.UpdateWithin(context.Background(), patience, touch(1)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		began := time.Now()
		wait(time.Minute)
		time.Sleep(time.Second)
		wait(time.Hour)
		patient.Wait()
		if took := time.Since(began); took != time.Minute || c.last() != 2 {
			t.Errorf("two patient ones are stored after %s with %d operations; want 1m and 2", took, c.last())
		}
		began = time.Now()
		wait(time.Hour)
		wait(time.Minute)
		patient.Wait()
		if took := time.Since(began); took != time.Minute || c.last() != 2 {
			t.Errorf("two patient ones are stored after %s with %d operations; want 1m and 2", took, c.last())
		}
		began = time.Now()
		wait(time.Minute)
		wait(time.Minute)
		accept(t, db, newAdmission(event.Inbound, "e2", "h"))
		patient.Wait()
		if took := time.Since(began); took != 0 || c.last() != 3 {
			t.Errorf("two beside an event are stored after %s with %d operations; want at once, with 3", took, c.last())
		}
	})
}

// TestCloseEndsPatience: what was handed over is stored.
func TestCloseEndsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := storePath(t)
		db := openTest(t, path)
		accept(t, db, newAdmission(event.Inbound, "e1", "h"))
		began, stored := time.Now(), make(chan error, 1)
		go func() { stored <- db.UpdateWithin(context.Background(), time.Minute, touch(1)) }()
		synctest.Wait()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-stored; err != nil || time.Since(began) != 0 {
			t.Errorf("stored after %s: %v; want at once", time.Since(began), err)
		}
		db = openTest(t, path)
		if r, err := db.Get(context.Background(), 1); err != nil || r.UpdatedBy != "someone" {
			t.Errorf("updated by %q, %v; want someone", r.UpdatedBy, err)
		}
	})
}
