package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

const (
	batch   = 1000 // events in a POST of the backlog; the API takes no more
	posters = 4    // at the same time
	lead    = 10   // batches that are handed in before those of before are finished
	ids     = 1 << 40
)

// backlogs compares an empty store with one full of finished events. Other builds get
// the full one alone: their ratios are to the empty store of this one.
//
// The full one is a copy, and a machine is slower for a while after gigabytes were copied,
// whatever runs then. So the copy is made for the empty store as well; what that costs
// shows beside one for which it is not.
func backlogs(b *bench) []variant {
	o := order{workers: b.workers}
	list := []variant{
		{"empty", func(ctx context.Context, w *world) (sample, error) { return w.drainBeside(ctx, b.own(), o) }},
		{"empty, no copy made", func(ctx context.Context, w *world) (sample, error) { return w.drain(ctx, b.own(), o) }},
	}
	for i, s := range b.eventds() {
		name := "stored"
		if i > 0 {
			name += ", " + s.name()
		}
		list = append(list, variant{name, func(ctx context.Context, w *world) (sample, error) { return w.drainStored(ctx, s, o) }})
	}
	return list
}

// drainBeside is a drain into an empty store, beside a copy of the backlog.
func (w *world) drainBeside(ctx context.Context, s system, o order) (sample, error) {
	if _, err := w.copyBacklog(ctx); err != nil {
		return nil, err
	}
	return w.drain(ctx, s, o)
}

// drainStored is a drain into a copy of the backlog, after which some of the old
// events are looked for.
func (w *world) drainStored(ctx context.Context, s system, o order) (sample, error) {
	var err error
	if o.data, err = w.copyBacklog(ctx); err != nil {
		return nil, err
	}
	result, err := w.drain(ctx, s, o)
	if err != nil {
		return nil, err
	}
	return result, w.findAgain(ctx, s, o, result)
}

func (w *world) copyBacklog(ctx context.Context) (folder string, err error) {
	if err := w.buildBacklog(ctx); err != nil {
		return "", err
	}
	folder = filepath.Join(w.dir, "backlog")
	return folder, copyFolder(w.backlog, folder)
}

// storedID is the id of the n-th event of the backlog. No message has it.
func storedID(n int) string { return string(appendID(nil, n+ids)) }

// buildBacklog makes the store once a run: through the API, as a service would.
func (w *world) buildBacklog(ctx context.Context) error {
	if w.backlog != "" {
		return nil
	}
	k := &kept{Stored: w.stored, Size: w.size}
	folder := cmp.Or(w.keep, filepath.Join(w.folder, "backlog"))
	data, err := k.find(folder)
	if err == nil && data == "" {
		data, err = k.fill(folder, func(data string) error { return w.storeAll(ctx, data) })
	}
	w.bench.backlog = data
	return err
}

func (w *world) storeAll(ctx context.Context, data string) error {
	builder, err := newWorld(w.bench, "backlog", filepath.Join(w.folder, "backlog-world"))
	if err != nil {
		return err
	}
	defer builder.close()
	progress("storing %d events…", w.stored)
	if err := builder.store(ctx, data); err != nil {
		return fmt.Errorf("store the backlog: %w", err)
	}
	return nil
}

func (w *world) store(ctx context.Context, data string) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	r, err := w.own().start(w, order{workers: w.workers, data: data})
	if err != nil {
		return err
	}
	if err := w.awaitReady(ctx, r); err != nil {
		return err
	}
	if err := w.postAll(ctx, r); err != nil {
		return fmt.Errorf("%w\n%s", err, r.tail())
	}
	if err := w.awaitFinished(ctx, r, w.stored); err != nil {
		return err
	}
	_, err = r.stop(ctx)
	return err
}

// awaitFinished waits until so many events are finished.
func (w *world) awaitFinished(ctx context.Context, r *running, n int) error {
	return wait(ctx, r.process, func() (bool, error) {
		var s status
		err := getJSON(ctx, r.api+"/v1/status", &s)
		return s.Counts["request"]["COMPLETED"] >= n, err
	})
}

// postAll hands in all events, in batches, several at a time. It waits now and
// then until they are finished: the history of a store was handled as it came.
func (w *world) postAll(ctx context.Context, r *running) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client := newClient(posters)
	defer client.CloseIdleConnections()
	firsts := make(chan int)
	var running sync.WaitGroup
	for range posters {
		running.Go(func() {
			var body []byte
			for first := range firsts {
				body = w.appendBatch(body[:0], first)
				if err := handIn(ctx, client, r.api+"/v1/events", body); err != nil {
					cancel(err)
				}
			}
		})
	}
	for first := 0; first < w.stored && ctx.Err() == nil; first += batch {
		if first%(lead*batch) == 0 {
			if err := w.awaitFinished(ctx, r, first-lead*batch); err != nil {
				cancel(err)
			}
		}
		firsts <- first
		if first%(500*batch) == 0 && first > 0 {
			progress("%d of %d", first, w.stored)
		}
	}
	close(firsts)
	running.Wait()
	return context.Cause(ctx)
}

// appendBatch adds a batch of events, the payload of each as large as a message.
func (w *world) appendBatch(b []byte, first int) []byte {
	b = append(b, '[')
	for n := first; n < min(first+batch, w.stored); n++ {
		if n > first {
			b = append(b, ',')
		}
		b = append(b, `{"message_type":"STORED","event_id":"`...)
		b = append(b, storedID(n)...)
		b = append(b, `","payload":`...)
		b = appendMessage(b, n+ids, 0, w.size)
		b = append(b, '}')
	}
	return append(b, ']')
}

// handIn posts a batch of events.
func handIn(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("POST %s: %s: %.500s", url, res.Status, text)
	}
	return nil
}

// copyFolder copies the files of a folder and syncs them, so that writing them
// back does not disturb what is measured next.
func copyFolder(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	list, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.IsDir() {
			err = copyFolder(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		} else {
			err = copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}
