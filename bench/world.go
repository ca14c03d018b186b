package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName   = "BENCH"
	subjectIn    = "bench.in"
	subjectOut   = "bench.out"
	polling      = 10 * time.Millisecond
	asyncPending = 4000
)

// world is what one variant of one round happens in: a folder, a NATS server
// and a sink of its own.
type world struct {
	*bench
	variant   string
	dir       string
	nats      string // host:port
	sink      string // URL without path
	processes []*process
}

func newWorld(b *bench, variant, dir string) (*world, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	return &world{bench: b, variant: variant, dir: dir}, nil
}

// close ends what still runs and removes the folder.
func (w *world) close() {
	for _, p := range w.processes {
		p.kill()
	}
	_ = os.RemoveAll(w.dir)
}

// spawn starts a process that ends with the world at the latest.
func (w *world) spawn(name string, env []string, argv ...string) (*process, error) {
	p, err := spawn(w.dir, name, env, argv...)
	if err != nil {
		return nil, err
	}
	w.processes = append(w.processes, p)
	return p, nil
}

// part starts one of our own processes.
func (w *world) part(name string, args ...string) (*process, error) {
	return w.spawn(name, nil, append([]string{w.self, "part", name}, args...)...)
}

// begin starts the server, with an empty stream, and the sink.
func (w *world) begin(ctx context.Context, sinkArgs ...string) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	w.nats, w.sink = ports[0], "http://"+ports[1]
	server, err := w.part("nats", "-listen", ports[0], "-dir", filepath.Join(w.dir, "nats"))
	if err != nil {
		return err
	}
	if _, err := w.part("sink", append([]string{"-listen", ports[1]}, sinkArgs...)...); err != nil {
		return err
	}
	return w.jetStream(func(js jetstream.JetStream) error {
		for {
			_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: streamName, Subjects: []string{"bench.>"}})
			if err == nil || ctx.Err() != nil {
				return err
			}
			if err := server.gone(); err != nil {
				return err
			}
			time.Sleep(polling)
		}
	})
}

// jetStream calls f with a connection to the server.
func (w *world) jetStream(f func(jetstream.JetStream) error) error {
	nc, err := nats.Connect("nats://"+w.nats, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(polling))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(asyncPending))
	if err != nil {
		return err
	}
	return f(js)
}

// fill puts n messages into the stream.
func (w *world) fill(ctx context.Context, n int) error {
	return w.jetStream(func(js jetstream.JetStream) error {
		for i := range n {
			if _, err := js.PublishAsync(subjectIn, appendMessage(nil, i, 0, w.size)); err != nil {
				return err
			}
		}
		select {
		case <-js.PublishAsyncComplete():
		case <-ctx.Done():
			return ctx.Err()
		}
		s, err := js.Stream(ctx, streamName)
		if err != nil {
			return err
		}
		if got := s.CachedInfo().State.Msgs; got != uint64(n) {
			return fmt.Errorf("the stream has %d messages; want %d", got, n)
		}
		return nil
	})
}

// wait calls done until it is true. It fails when the process ends meanwhile, or
// the context does.
func wait(ctx context.Context, p *process, done func() (bool, error)) error {
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		if err := p.gone(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(polling)
	}
}

// getJSON reads a JSON answer.
func getJSON(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(v)
}

// sizes returns how long the files of a folder are together, and how many bytes
// they take on disk. A folder that is not there has none.
func sizes(dir string) (length, disk int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		length += info.Size()
		disk += allocated(info.Sys())
		return nil
	})
	return length, disk
}

// freePorts returns n free addresses on loopback.
func freePorts(n int) (list []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list, nil
}
