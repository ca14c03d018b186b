package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// smallDisk mounts a file system of 16 MiB on a folder until the test ends.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system cannot be mounted, which takes the rights of root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

// fillDisk writes a file until there is no more space.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

// unique is a handler that counts the events it was given.
func unique(t *testing.T) (url string, count func() int) {
	t.Helper()
	var seen sync.Map
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if _, known := seen.LoadOrStore(r.Header.Get("webhook-id"), true); !known {
			n.Add(1)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() int { return int(n.Load()) }
}

// publisher publishes events of 1 KiB until it is stopped, and says how many.
func publisher(t *testing.T, address string) (published *atomic.Int64, stop func()) {
	t.Helper()
	nc, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	published = &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil && n < 6000; n++ {
			body := fmt.Sprintf(`{"event_id":"e%d","message_type":"RQ_A","payload":%q}`, n, strings.Repeat("x", 1000))
			if _, err := js.Publish(context.Background(), "IN", []byte(body)); err != nil {
				t.Error(err)
				return
			}
			published.Add(1)
		}
	}()
	return published, sync.OnceFunc(func() { cancel(); <-done; nc.Close() })
}

// TestDiskFilledBySomeoneElse: under load the disk gets full. Sources stop,
// readiness says why, what is stored is finished, and when space is back all the
// rest is handled: nothing is lost, and the process goes on all the time.
func TestDiskFilledBySomeoneElse(t *testing.T) {
	ctx := context.Background()
	url, handled := unique(t)
	address := freeAddress(t)
	natsServer(t, address, t.TempDir())
	p := prepare(t, fmt.Sprintf("nats: {url: \"nats://%s\", streams: {S: {subjects: [IN]}}}", address)+routes(url))
	data := filepath.Join(p.dir, "data")
	smallDisk(t, data)
	p.start()
	p.eventually(func() error { return p.Ready(ctx) })
	published, stop := publisher(t, address)
	defer stop()
	p.eventually(func() error { return atLeast("handled", handled(), 100) })
	filler := filepath.Join(data, "someone-elses")
	fillDisk(t, filler)
	p.eventually(func() error {
		if err := p.Ready(ctx); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			return fmt.Errorf("Ready on a full disk: %v", err)
		}
		return nil
	})
	var refused *client.Error
	_, err := p.Send(ctx, wire.NewEvent{EventID: "x", MessageType: "RQ_A"})
	if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("Send to a full disk: %v; want 503", err)
	}
	p.eventually(func() error {
		s, err := p.Sources(ctx)
		if err != nil || !s[0].Held || s[0].Connected {
			return fmt.Errorf("source %+v, %v; want it held", s, err)
		}
		return nil
	})
	more := int(published.Load()) + 200
	p.eventually(func() error { return atLeast("published", int(published.Load()), more) })
	p.eventually(func() error { // what was stored is finished, on the full disk
		if open := openEvents(t, p); open > 0 {
			return fmt.Errorf("%d events are open", open)
		}
		return nil
	})
	if n := handled(); n >= int(published.Load()) {
		t.Fatalf("%d of %d events were handled: the disk was not full", n, published.Load())
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	stop()
	p.eventually(func() error { return p.Ready(ctx) })
	all := int(published.Load())
	p.eventually(func() error { return atLeast("COMPLETED", count(t, p, "COMPLETED"), all) })
	if n := handled(); n != all {
		t.Errorf("%d events reached the handler; %d were published", n, all)
	}
}

func atLeast(what string, got, want int) error {
	if got < want {
		return fmt.Errorf("%d are %s; want %d", got, what, want)
	}
	return nil
}

func count(t *testing.T, p *product, status string) int {
	t.Helper()
	s, err := p.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s.Counts["inbound"][status]
}

func openEvents(t *testing.T, p *product) int {
	t.Helper()
	return count(t, p, "UNPROCESSED") + count(t, p, "IN_PROGRESS") + count(t, p, "RETRY")
}
