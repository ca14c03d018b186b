package api

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"sync"
)

const (
	defaultProfile = 30     // seconds
	maxProfile     = 50     // the server's WriteTimeout would cut off a longer one
	blockRate      = 10_000 // ns: waits at least so long are always seen, shorter ones by chance
	mutexFraction  = 10     // one in so many waits for a lock is seen
)

// serveProfiles serves Go's profiles of the process, for `go tool pprof`. They
// hold names of functions and no payloads, and are guarded as everything here.
func serveProfiles(mux *http.ServeMux) {
	var one sync.Mutex // their rates are the process's: the second waits for the first
	for _, name := range []string{"allocs", "heap", "goroutine", "threadcreate"} {
		mux.Handle("GET /debug/pprof/"+name, pprof.Handler(name))
	}
	mux.Handle("GET /debug/pprof/profile", timed(pprof.Profile))
	mux.Handle("GET /debug/pprof/trace", timed(pprof.Trace))
	mux.Handle("GET /debug/pprof/block", timed(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		runtime.SetBlockProfileRate(blockRate)
		defer runtime.SetBlockProfileRate(0)
		pprof.Handler("block").ServeHTTP(w, r) // what is added in the time that r asks for
	}))
	mux.Handle("GET /debug/pprof/mutex", timed(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		defer runtime.SetMutexProfileFraction(runtime.SetMutexProfileFraction(mutexFraction))
		pprof.Handler("mutex").ServeHTTP(w, r)
	}))
}

// timed checks how many seconds a profile shall take, and says the default where
// the request does not.
func timed(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if !query.Has("seconds") {
			query.Set("seconds", strconv.Itoa(defaultProfile))
		}
		text := query.Get("seconds")
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > maxProfile {
			newProblem(http.StatusBadRequest, "seconds is from 1 to %d", maxProfile).at("query.seconds", text).write(w)
			return
		}
		r.URL.RawQuery = query.Encode()
		serve(w, r)
	})
}
