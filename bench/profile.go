package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// profiling is how many seconds of a system's work a profile shows.
const profiling = 5

// profile fetches eventd's profiles while it works, into files named after
// scenario, variant and kind. It returns what waits for them; what a short run
// does not live to see is left out.
func (w *world) profile(ctx context.Context, r *running) (wait func()) {
	if w.profiles == "" || r.api == "" {
		return func() {}
	}
	var fetching sync.WaitGroup
	for kind, query := range map[string]string{
		"cpu":    fmt.Sprintf("profile?seconds=%d", profiling),
		"block":  fmt.Sprintf("block?seconds=%d", profiling),
		"allocs": fmt.Sprintf("allocs?seconds=%d", profiling),
	} {
		fetching.Go(func() {
			file := filepath.Join(w.profiles, fmt.Sprintf("%s-%s-%s.pprof", filepath.Base(w.dir), w.variant, kind))
			err := w.awaitReady(ctx, r)
			if err == nil {
				err = download(ctx, r.api+"/debug/pprof/"+query, file)
			}
			if err != nil {
				w.note("%s: no %s profile: %v", w.variant, kind, err)
			}
		})
	}
	return fetching.Wait
}

// download writes what an URL answers to a file, all or nothing.
func download(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o600)
}
