package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// Bounds of what a claimer may ask for.
const (
	maxWait  = time.Minute // the server's WriteTimeout is longer
	maxLease = 12 * time.Hour
	maxDelay = 7 * 24 * time.Hour
)

type claiming struct {
	Name    string `path:"name"`
	Service string `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who claims; the handler's service when left out."`
	// MaxBytes is for claimers that can take an answer of some size only.
	MaxBytes int `query:"max_bytes" minimum:"1" doc:"The answer has at most so many bytes. Events that are too large for it are left to others."`
	Body     *wire.Claim
}

type claimRef struct {
	ID      string `path:"id"`
	Service string `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who has claimed; the handler's service when left out."`
}

type failing struct {
	ID      string `path:"id"`
	Service string `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who has claimed; the handler's service when left out."`
	Body    *wire.ClaimFailure
}

type extending struct {
	ID      string `path:"id"`
	Service string `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who has claimed; the handler's service when left out."`
	Body    *wire.Extension
}

type completing struct {
	ID      string `path:"id"`
	Service string `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who has claimed; the handler's service when left out."`
	request *http.Request
}

// Resolve implements [huma.Resolver].
func (in *completing) Resolve(ctx huma.Context) []error {
	in.request, _ = humago.Unwrap(ctx)
	return nil
}

func (s *service) registerClaims() {
	register(s, call{method: http.MethodPost, path: "/v1/handlers/{name}/claim", id: "claim", tag: "claims",
		summary: "Claim events of a polled handler", problems: []int{400, 404, 409, 413, 415, 422, 503},
		text: "An attempt of each is counted, and it is the claimer's alone until the lease runs out. The body may be left out."}, s.claim)
	c := call{method: http.MethodPost, path: "/v1/claims/{id}/complete", id: "complete-claim", tag: "claims",
		summary: "Say that a claimed event is handled", problems: []int{400, 404, 408, 409, 413, 415, 503},
		text: "The body may carry follow-up events, which are stored in the same transaction. " + eventForms}
	register(s, c, s.completeClaim)
	s.described(c).RequestBody = s.eventBody()
	s.described(c).RequestBody.Required = false
	register(s, call{method: http.MethodPost, path: "/v1/claims/{id}/fail", id: "fail-claim", tag: "claims",
		summary: "Say that a claimed event could not be handled", problems: []int{400, 404, 409, 413, 415, 422, 503},
		text: "It is tried again as the retry policy says, or becomes ERROR. The body may be left out."}, s.failClaim)
	register(s, call{method: http.MethodPost, path: "/v1/claims/{id}/extend", id: "extend-claim", tag: "claims",
		summary: "Keep a claimed event for longer", problems: []int{400, 404, 409, 413, 415, 422, 503}}, s.extendClaim)
	register(s, call{method: http.MethodPost, path: "/v1/claims/{id}/release", id: "release-claim", tag: "claims",
		summary: "Give a claimed event back", problems: []int{404, 409, 503},
		text: "It is due at once, as if it had not been claimed."}, s.releaseClaim)
}

func (s *service) claim(ctx context.Context, in *claiming) (*out[wire.Claims], error) {
	o := event.ClaimOrder{Max: 1, By: in.Service}
	if in.Body != nil {
		var err error
		if o.Lease, err = duration("body.lease", in.Body.Lease, time.Second, maxLease); err != nil {
			return nil, err
		}
		if o.Wait, err = duration("body.wait", in.Body.Wait, 0, maxWait); err != nil {
			return nil, err
		}
		o.Max = max(in.Body.Max, 1)
	}
	m := newMeasure(in)
	if m != nil {
		o.Room = &m.Room
	}
	claims, err := s.Claims.Claim(ctx, in.Name, o)
	if err != nil {
		return nil, s.unclaimed("claim events", err)
	}
	if err := ctx.Err(); err != nil {
		s.giveBack(context.WithoutCancel(ctx), claims)
		return nil, s.failure("claim events", err)
	}
	list := make([]wire.Claimed, len(claims))
	for i := range claims {
		list[i] = claimedOf(&claims[i])
	}
	return answer(wire.Claims{Claims: list, TooLarge: m.tooLarge()})
}

// giveBack releases claims of somebody who has hung up. One that cannot be has a
// lease that runs out.
func (s *service) giveBack(ctx context.Context, claims []event.Claim) {
	for i := range claims {
		if _, err := s.Claims.ReleaseClaim(ctx, claims[i].ID, s.Service); err != nil {
			s.Log.Warn().Err(err).Str("claim", claims[i].ID).Msg("a claim that nobody takes is not released; its lease runs out")
		}
	}
}

func claimedOf(c *event.Claim) wire.Claimed {
	value, encoding := inline(event.Payload{Body: c.Payload, ContentType: c.Record.ContentType}, math.MaxInt)
	return wire.Claimed{
		ClaimID: c.ID, LeaseUntil: wire.Time{Time: c.Until}, Attempt: c.Attempt,
		Event: rowOf(&c.Record), Payload: value, Encoding: encoding,
	}
}

// duration reads an optional duration within bounds; "" is 0.
func duration(at, text string, least, most time.Duration) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, newProblem(http.StatusUnprocessableEntity, "%q is no duration, such as 30s or 5m", text).at(at, text)
	}
	if d < least || d > most {
		return 0, newProblem(http.StatusUnprocessableEntity, "%s is not from %s to %s", text, least, most).at(at, text)
	}
	return d, nil
}

func (s *service) completeClaim(ctx context.Context, in *completing) (*out[wire.Changed], error) {
	var followUps []event.Message
	if in.request.ContentLength != 0 || envelope.IsCloudEvent(in.request.Header) {
		var err error
		if followUps, err = s.take(&sent{Service: in.Service, request: in.request}, event.Request); err != nil {
			return nil, err
		}
	}
	changed, err := s.Claims.CompleteClaim(ctx, in.ID, in.Service, followUps)
	return s.changed("complete a claim", &changed, err)
}

func (s *service) failClaim(ctx context.Context, in *failing) (*out[wire.Changed], error) {
	f := event.ClaimFailure{Retry: true}
	if in.Body != nil {
		var err error
		if f.Delay, err = duration("body.delay", in.Body.Delay, 0, maxDelay); err != nil {
			return nil, err
		}
		f.Detail, f.Retry = in.Body.Reason, in.Body.Retry == nil || *in.Body.Retry
	}
	changed, err := s.Claims.FailClaim(ctx, in.ID, in.Service, f)
	return s.changed("fail a claim", &changed, err)
}

func (s *service) extendClaim(ctx context.Context, in *extending) (*out[wire.Extended], error) {
	var lease time.Duration
	if in.Body != nil {
		var err error
		if lease, err = duration("body.lease", in.Body.Lease, time.Second, maxLease); err != nil {
			return nil, err
		}
	}
	until, err := s.Claims.ExtendClaim(ctx, in.ID, in.Service, lease)
	if err != nil {
		return nil, s.unclaimed("extend a claim", err)
	}
	return answer(wire.Extended{LeaseUntil: wire.Time{Time: until}})
}

func (s *service) releaseClaim(ctx context.Context, in *claimRef) (*out[wire.Changed], error) {
	changed, err := s.Claims.ReleaseClaim(ctx, in.ID, in.Service)
	return s.changed("release a claim", &changed, err)
}

func (s *service) changed(doing string, r *event.Record, err error) (*out[wire.Changed], error) {
	if err != nil {
		return nil, s.unclaimed(doing, err)
	}
	return answer(wire.Changed{Event: rowOf(r)})
}

// unclaimed says why a claim is not made, or is over.
func (s *service) unclaimed(doing string, err error) error {
	if errors.Is(err, event.ErrConflict) {
		return newProblem(http.StatusConflict, "%s", reason(err, 0))
	}
	return s.failure(doing, err)
}
