package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// hollowStore makes a store of which more than half is free, closed.
func hollowStore(t testing.TB) (path string) {
	t.Helper()
	path = deepStore(t)
	free := bytes.Repeat([]byte{1}, 1<<20)
	editStore(t, path, func(tx *bolt.Tx) error {
		for i := range uint64(8) {
			if err := tx.Bucket(bucketMeta).Put(key8(i), free); err != nil {
				return err
			}
		}
		return nil
	})
	editStore(t, path, func(tx *bolt.Tx) error {
		for i := range uint64(8) {
			if err := tx.Bucket(bucketMeta).Delete(key8(i)); err != nil {
				return err
			}
		}
		return nil
	})
	return path
}

func TestCompact(t *testing.T) {
	path := hollowStore(t)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	want := dumpOfFile(t, path)
	var stages []string
	c, err := Compact(ctx, CommandOptions{Path: path, Progress: func(stage string, done, total int64) {
		if done > total {
			t.Errorf("%s: %d of %d", stage, done, total)
		}
		if len(stages) == 0 || stages[len(stages)-1] != stage {
			stages = append(stages, stage)
		}
	}})
	if err != nil || c.After > c.Before/3 || c.Before < 8<<20 {
		t.Fatalf("Compact = %+v, %v; want a third at most", c, err)
	}
	if len(stages) != 2 || stages[0] != "copying" || stages[1] != "verifying" {
		t.Errorf("progress of %q; want copying and verifying", stages)
	}
	checkFile(t, path)
	wantAlone(t, path, "eventd.db")
	if got := dumpOfFile(t, path); got != want {
		t.Error("what is in it is not what was")
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode = %v, %v; want what it was", fi.Mode(), err)
	}
	again, err := Compact(ctx, CommandOptions{Path: path})
	if err != nil || again.After > again.Before {
		t.Errorf("Compact again = %+v, %v; want it no larger", again, err)
	}
}

// TestCompactKeepsPagesAsFull as where they were written first.
func TestCompactKeepsPagesAsFull(t *testing.T) {
	path := deepStore(t)
	used := metaOf(t, path).pages
	if _, err := Compact(ctx, CommandOptions{Path: path}); err != nil {
		t.Fatal(err)
	}
	if got := metaOf(t, path).pages; got > used {
		t.Errorf("%d pages; want no more than the %d there were", got, used)
	}
}

func TestCompactAtStart(t *testing.T) {
	path := hollowStore(t)
	want := dumpOfFile(t, path)
	before, err := sizeOf(path)
	if err != nil {
		t.Fatal(err)
	}
	db := openTest(t, path, func(o *Options) { o.compactAbove = before + 1 })
	if fi, err := os.Stat(path); err != nil || fi.Size() < before {
		t.Errorf("a small store was compacted: %v, %v", fi, err)
	}
	_ = db.Close()
	db = openTest(t, path, func(o *Options) { o.compactAbove = 1 << 20 })
	if fi, err := os.Stat(path); err != nil || fi.Size() > before/3 {
		t.Errorf("%d bytes of %d, %v; want a third at most", fi.Size(), before, err)
	}
	wantRefused(t, path, ErrUnavailable, "is locked") // the new file is
	accept(t, db, newAdmission(event.Inbound, "after", "h"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := dumpOfFile(t, path); !strings.HasPrefix(withoutHeader(got), withoutHeader(want)[:100]) || !strings.Contains(got, `"event_id":"after"`) {
		t.Error("what is in it is not what was, and one more")
	}
}

// TestCompactGivesUp leaves the file as it was.
func TestCompactGivesUp(t *testing.T) {
	path := hollowStore(t)
	before := digest(t, path)
	ended, end := context.WithCancel(ctx)
	_, err := Compact(ended, CommandOptions{Path: path, Progress: func(string, int64, int64) { end() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Compact: %v; want %v", err, context.Canceled)
	}
	if digest(t, path) != before {
		t.Error("the file was changed")
	}
	wantAlone(t, path, "eventd.db")
	db := openTest(t, path)
	if _, err := Compact(ctx, CommandOptions{Path: path, LockTimeout: 50 * time.Millisecond}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Compact of a store at work: %v; want %v", err, ErrUnavailable)
	}
	if _, err := Compact(ctx, CommandOptions{Path: path + "-none"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Compact of no file: %v; want %v", err, ErrUnavailable)
	}
	accept(t, db, newAdmission(event.Inbound, "after", "h"))
}

// TestWaitingForACompaction: who waits for the lock of the old file gets the new
// one. What it stores would go to a file without name otherwise.
func TestWaitingForACompaction(t *testing.T) {
	path := hollowStore(t)
	b, f, err := openExisting(&Options{Path: path, LockTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := handles(path); err != nil || n != 1 {
		t.Skipf("nobody tells who waits: %d, %v", n, err)
	}
	opened := make(chan *bolt.DB, 1)
	go func() {
		waiter, _, err := openFile(path, &bolt.Options{Timeout: 20 * time.Second})
		if err != nil {
			t.Error(err)
		}
		opened <- waiter
	}()
	await(t, "someone to wait", func() bool { n, _ := handles(path); return n == 2 })
	if err := compact(ctx, path, b, f, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	waiter := <-opened
	if err := errors.Join(waiter.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketPaused).Put([]byte("handler/h"), []byte("manual")) }), waiter.Close()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(dumpOfFile(t, path), `{"what":"handler/h","reason":"manual"}`) {
		t.Error("what was stored is not there")
	}
}

// handles returns how many handles this process has on a file.
func handles(path string) (n int, err error) {
	const own = "/proc/self/fd"
	list, err := os.ReadDir(own)
	for _, f := range list {
		if to, err := os.Readlink(filepath.Join(own, f.Name())); err == nil && to == path {
			n++
		}
	}
	return n, err
}

// TestKilledWhileCompacting: one of the two files is there, and the next start
// removes what is left of the other.
func TestKilledWhileCompacting(t *testing.T) {
	path := hollowStore(t)
	want, before := dumpOfFile(t, path), digest(t, path)
	c := startChild(t, "compact", path)
	c.await(t, "midway")
	_ = c.Process.Kill()
	_ = c.Wait()
	if digest(t, path) != before {
		t.Error("the file was changed")
	}
	parts, err := filepath.Glob(path + partCompact + "*")
	if err != nil || len(parts) != 1 {
		t.Fatalf("leftovers = %q, %v; want one", parts, err)
	}
	if err := openTest(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	wantAlone(t, path, "eventd.db")
	for round := range 8 {
		c := startChild(t, "compact again and again", path)
		c.await(t, "ready")
		kill := time.AfterFunc(time.Duration(1+rand.IntN(80))*time.Millisecond, func() { _ = c.Process.Kill() }) // any moment will do
		for c.lines.Scan() {
		}
		kill.Stop()
		checkFile(t, path)
		if got := dumpOfFile(t, path); got != want {
			t.Fatalf("round %d: what is in it is not what was", round)
		}
	}
}

// childCompact stops in the middle of a compaction.
func childCompact(t *testing.T, path string) {
	_, err := Compact(ctx, CommandOptions{Path: path, Progress: func(stage string, _, _ int64) {
		if stage == "verifying" {
			fmt.Println("midway")
			untilEnd()
		}
	}})
	t.Fatal("it was not killed", err)
}

func childCompactAgain(t *testing.T, path string) {
	fmt.Println("ready")
	for {
		if _, err := Compact(ctx, CommandOptions{Path: path}); err != nil {
			t.Fatal(err)
		}
	}
}
