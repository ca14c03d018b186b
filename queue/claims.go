package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"
)

// ClaimOptions say under which name claims are offered.
type ClaimOptions struct {
	Service  string // the application: part of the subjects
	Instance string // which eventd of it: the part of its claims' ids before the dot
	Version  string // of the program
}

// ClaimService offers the calls about claims over NATS, as a service in the sense
// of the NATS micro protocol:
//
//	eventd.SERVICE.claim.HANDLER         claim events of a handler
//	eventd.SERVICE.claims.CLAIM-ID.VERB  complete, fail, extend, release
//
// Of several eventd of one service, one gets the request for events; the id of a
// claim begins with the name of the eventd that gave it, so that what is done with
// it gets there. It knows neither events nor claims: calls answers.
type ClaimService struct {
	conn    *Conn
	options ClaimOptions
	calls   http.Handler
	log     zerolog.Logger
	polls   chan struct{} // holds one for each request for events that waits
	steps   chan struct{} // holds one for each other request that is at work
	unread  *unread       // nil before the first handler is offered
	counts  claimCounts

	ctx     context.Context // of every call
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	handlers []string
	service  micro.Service // nil before the first handler is offered
}

// claimCounts is what the statistics of the service show beside those of the
// protocol, which count a request as over when it begins to wait.
type claimCounts struct {
	requests, errors, released atomic.Int64
}

// Bounds of what is at work at once. A request for events beyond them is refused,
// any other one waits.
const (
	maxPolls = 4096
	maxSteps = 256
)

// claimVerbs are what can be done with a claim.
func claimVerbs() []string { return []string{"complete", "fail", "extend", "release"} }

// NewClaimService returns a service that offers nothing before
// [ClaimService.Offer]. calls answers what would have come over HTTP: POST to
// /v1/handlers/HANDLER/claim and /v1/claims/ID/VERB.
func (c *Conn) NewClaimService(o ClaimOptions, calls http.Handler) *ClaimService {
	s := &ClaimService{
		conn: c, options: o, calls: calls, log: c.log.With().Str("part", "claims").Logger(),
		polls: make(chan struct{}, maxPolls), steps: make(chan struct{}, maxSteps),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Offer lets services claim events of these handlers, and no others. What is
// claimed already can be completed all the same.
func (s *ClaimService) Offer(handlers []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || slices.Equal(handlers, s.handlers) {
		return nil
	}
	// The new one takes over before the old one ends: they share their queue groups.
	now, err := s.start(handlers)
	if err != nil {
		return fmt.Errorf("claims over NATS: %w", err)
	}
	if s.conn.Connected() {
		_ = s.conn.nats.FlushTimeout(bindTimeout) // or else the connection is lost, and made anew with both
	}
	s.stopService()
	s.service, s.handlers = now, slices.Clone(handlers)
	s.log.Info().Strs("handlers", handlers).Str("subject", s.subject("claim.*")).Msg("claims are offered over NATS")
	return nil
}

func (s *ClaimService) subject(rest string) string { return "eventd." + s.options.Service + "." + rest }

// start registers the service with its endpoints.
func (s *ClaimService) start(handlers []string) (_ micro.Service, err error) {
	if s.unread == nil {
		if s.unread, err = s.conn.newUnread(s.giveBack); err != nil {
			return nil, err
		}
	}
	service, err := micro.AddService(s.conn.nats, micro.Config{
		Name: "eventd", Version: semantic(s.options.Version), Description: "claims of events of " + s.options.Service,
		Metadata:     map[string]string{"service": s.options.Service, "instance": s.options.Instance},
		StatsHandler: func(*micro.Endpoint) any { return s.stats() },
	})
	if err != nil {
		return nil, err
	}
	var failed []error
	add := func(name, subject string, h micro.HandlerFunc) {
		failed = append(failed, service.AddEndpoint(name, h, micro.WithEndpointSubject(s.subject(subject))))
	}
	for _, name := range handlers {
		add("claim-"+name, "claim."+name, s.poll(name))
	}
	for _, verb := range claimVerbs() {
		add(verb, "claims."+s.options.Instance+".*."+verb, s.step(verb))
	}
	if err := errors.Join(failed...); err != nil {
		return nil, errors.Join(err, service.Stop())
	}
	return service, nil
}

// stopService lets the service end; requests that are here already are answered.
// The caller holds mu.
func (s *ClaimService) stopService() {
	if s.service == nil {
		return
	}
	if err := s.service.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.log.Warn().Err(err).Msg("service does not end cleanly")
	}
	s.service = nil
}

// Close offers nothing any more. Requests that wait for events are refused, and
// it returns when nothing is at work, or ctx ends.
func (s *ClaimService) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.stopService()
	s.mu.Unlock()
	s.cancel()
	idle := make(chan struct{})
	go func() { s.running.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.unread == nil || again {
		return nil
	}
	return s.unread.close()
}

// enter reports whether something may begin, which calls running.Done when it ends.
func (s *ClaimService) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// claimStats is what STATS shows of all endpoints together.
type claimStats struct {
	Waiting  int   `json:"waiting"`  // requests for events
	Working  int   `json:"working"`  // other requests
	Requests int64 `json:"requests"` // that were answered
	Errors   int64 `json:"errors"`   // of these
	Released int64 `json:"released"` // claims that nobody has taken
}

func (s *ClaimService) stats() claimStats {
	return claimStats{
		Waiting: len(s.polls), Working: len(s.steps), Requests: s.counts.requests.Load(),
		Errors: s.counts.errors.Load(), Released: s.counts.released.Load(),
	}
}

// semantic makes a semantic version of what the program says of itself, which the
// protocol insists on.
func semantic(version string) string {
	version = strings.TrimPrefix(version, "v")
	if parts := strings.SplitN(version, ".", 3); len(parts) == 3 && isNumber(parts[0]) && isNumber(parts[1]) {
		patch, more, _ := strings.Cut(parts[2], "-")
		if isNumber(patch) {
			return strings.TrimSuffix(parts[0]+"."+parts[1]+"."+patch+"+"+buildName(more), "+")
		}
	}
	return strings.TrimSuffix("0.0.0+"+buildName(version), "+")
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// buildName keeps of a text what a version may have behind its plus sign.
func buildName(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, text)
}
