package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"

	"github.com/rs/zerolog"
)

// guard lets a request through to next when every check lets it pass. The
// order matters: who may not ask learns nothing about what is there.
func (s *service) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	hosts := newHosts(s.Listen, s.Hosts)
	checks := []func(*http.Request) *problem{
		func(r *http.Request) *problem { return hosts.check(r.Host) },
		func(r *http.Request) *problem { return checkOrigin(cross, r) },
		s.checkToken,
		s.checkLength,
	}
	return s.admitting(next, checks...)
}

// admitting lets a request through to next when it passes all checks, and bounds
// its body.
func (s *service) admitting(next http.Handler, checks ...func(*http.Request) *problem) http.Handler {
	return recovered(s.Log, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isHealth(r.URL.Path) {
			for _, check := range checks {
				if p := check(r); p != nil {
					p.write(w)
					return
				}
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.MaxBody)
		next.ServeHTTP(w, r)
	}))
}

func checkOrigin(cross *http.CrossOriginProtection, r *http.Request) *problem {
	if err := cross.Check(r); err != nil {
		return newProblem(http.StatusForbidden, "%v", err)
	}
	return nil
}

func (s *service) checkToken(r *http.Request) *problem {
	if s.Token == nil {
		return nil
	}
	want, err := s.Token()
	if err != nil || want == "" {
		return newProblem(http.StatusServiceUnavailable, "the token that requests must carry cannot be read")
	}
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "bearer") && same(strings.TrimSpace(got), want) {
		return nil
	}
	return newProblem(http.StatusUnauthorized, "a bearer token is needed").
		with("WWW-Authenticate", `Bearer realm="eventd"`)
}

// same compares the sums of both, so that the time it takes tells neither the
// content nor the length of the token.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// checkLength refuses what says of itself that it is too long, before a byte
// of it is read. What does not say is cut off while it is read.
func (s *service) checkLength(r *http.Request) *problem {
	if r.ContentLength > s.MaxBody {
		return tooLarge(s.MaxBody).with("Connection", "close")
	}
	return nil
}

func tooLarge(limit int64) *problem {
	return newProblem(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", limit)
}

// routed serves mux, but answers with a problem what mux would answer with a
// line of text or a redirect.
func routed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		if p := checkURL(r.URL); p != nil {
			p.write(w)
			return
		}
		h, pattern := mux.Handler(r)
		if pattern == "" {
			refusal(h, r).write(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// harden keeps browsers from guessing, running, framing, caching or lending
// out what is answered.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// checkURL refuses paths that the mux would redirect, and queries that would be
// understood in part: a filter lost on the way would show too much.
func checkURL(u *url.URL) *problem {
	p := u.EscapedPath()
	if !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		return newProblem(http.StatusNotFound, "there is nothing at %s", u.Path)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return newProblem(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	for name, values := range query {
		if len(values) > 1 {
			return newProblem(http.StatusBadRequest, "%s is given %d times", name, len(values)).at("query."+name, values)
		}
	}
	return nil
}

// refusal turns the mux's own answer for what it does not know into a problem.
func refusal(h http.Handler, r *http.Request) *problem {
	seen := &sink{header: http.Header{}}
	h.ServeHTTP(seen, r)
	if seen.status == http.StatusMethodNotAllowed {
		return newProblem(seen.status, "%s is not allowed on %s", r.Method, r.URL.Path).
			with("Allow", seen.header.Get("Allow"))
	}
	return newProblem(http.StatusNotFound, "there is nothing at %s", r.URL.Path)
}

// sink is a response of which only status and header are looked at.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// recovered keeps a panic from taking the connection, and hides it from the
// caller: what it says is for the log.
func recovered(log zerolog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &reply{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // a panic value, which is not wrapped
				panic(v)
			}
			log.Error().Any("panic", v).Bytes("stack", debug.Stack()).
				Str("method", r.Method).Str("path", r.URL.Path).Msg("request panicked")
			if out.started {
				// Half an answer must not look like a whole one.
				panic(http.ErrAbortHandler)
			}
			newProblem(http.StatusInternalServerError, "an unexpected error; the log has more").write(w)
		}()
		next.ServeHTTP(out, r)
	})
}

// reply knows whether an answer has begun, and takes the first status only:
// the framework sets another when the caller has hung up.
type reply struct {
	http.ResponseWriter
	started bool
}

func (w *reply) WriteHeader(status int) {
	if w.started {
		return
	}
	w.started = status >= http.StatusOK
	w.ResponseWriter.WriteHeader(status)
}

func (w *reply) Write(b []byte) (int, error) {
	w.started = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] find what is beneath.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }
