package api_test

import (
	"bytes"
	"testing"

	"github.com/eventd-io/eventd/api"
)

var gzipped = []byte{0x1f, 0x8b}

func TestProfiles(t *testing.T) {
	h := serve(newFake())
	for _, target := range []string{
		"/debug/pprof/heap", "/debug/pprof/allocs", "/debug/pprof/goroutine",
		"/debug/pprof/block?seconds=1", "/debug/pprof/mutex?seconds=1", "/debug/pprof/profile?seconds=1",
	} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			if w := ask(h, "GET", target, ""); w.Code != 200 || !bytes.HasPrefix(w.Body.Bytes(), gzipped) {
				t.Errorf("%d %.80s; want 200 and a profile", w.Code, w.Body)
			}
		})
	}
}

func TestProfilesAreRefused(t *testing.T) {
	for _, seconds := range []string{"0", "51", "-1", "x", "", "1e9"} {
		wantProblem(t, ask(serve(newFake()), "GET", "/debug/pprof/profile?seconds="+seconds, ""), 400, "seconds is from 1 to 50")
	}
	o := options(newFake())
	o.Token = func() (string, error) { return "secret", nil }
	for _, name := range []string{"heap", "profile", "block"} {
		if w := ask(api.New(o), "GET", "/debug/pprof/"+name, ""); w.Code != 401 {
			t.Errorf("%s without the token: %d; want 401", name, w.Code)
		}
	}
}
