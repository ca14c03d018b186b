package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// answerHeader is more than the headers of an answer have in bytes.
const answerHeader = 512

// poll answers requests for events of a handler. They may wait for long, so none
// waits for another one.
func (s *ClaimService) poll(handler string) micro.HandlerFunc {
	path := "/v1/handlers/" + url.PathEscape(handler) + "/claim"
	return func(r micro.Request) {
		if r.Reply() == "" {
			return // nobody would learn of the claims
		}
		if !s.enter() {
			s.say(r, stopping())
			return
		}
		select {
		case s.polls <- struct{}{}:
		default:
			defer s.running.Done()
			s.say(r, refused(http.StatusServiceUnavailable, "too many requests for events wait"))
			return
		}
		go func() {
			defer s.running.Done()
			defer func() { <-s.polls }()
			room := max(s.conn.nats.MaxPayload()-answerHeader, 1)
			s.give(r, s.call(s.ctx, path+"?max_bytes="+strconv.FormatInt(room, 10), headerOf(r), r.Data()))
		}()
	}
}

// give answers with claims. Those that nobody takes go back.
func (s *ClaimService) give(r micro.Request, a *reply) {
	var ids []string
	if a.code == http.StatusOK {
		ids = claimIDs(a.body.Bytes())
	}
	if err := s.answer(r.Reply(), a, ids); err != nil && len(ids) > 0 {
		s.log.Warn().Err(err).Int("claims", len(ids)).Msg("an answer with claims cannot be sent; they are released")
		s.release(ids)
		s.say(r, refused(http.StatusInternalServerError, err.Error()))
	}
}

// say answers where there is nothing to take back.
func (s *ClaimService) say(r micro.Request, a *reply) {
	if r.Reply() == "" {
		return
	}
	err := s.answer(r.Reply(), a, nil)
	if errors.Is(err, nats.ErrMaxPayload) {
		a.body.Reset() // that it is done is what counts
		err = s.answer(r.Reply(), a, nil)
	}
	if err != nil {
		s.log.Debug().Err(err).Msg("answer cannot be sent")
	}
}

// step answers requests about a claim.
func (s *ClaimService) step(verb string) micro.HandlerFunc {
	return func(r micro.Request) {
		if !s.enter() {
			s.say(r, stopping())
			return
		}
		select {
		case s.steps <- struct{}{}:
		case <-s.ctx.Done():
			defer s.running.Done()
			s.say(r, stopping())
			return
		}
		go func() {
			defer s.running.Done()
			defer func() { <-s.steps }()
			id := strings.TrimSuffix(strings.TrimPrefix(r.Subject(), s.subject("claims.")), "."+verb)
			// What is begun is not left half-way at the end.
			s.say(r, s.call(context.WithoutCancel(s.ctx), claimPath(id, verb), headerOf(r), r.Data()))
		}()
	}
}

func claimPath(id, verb string) string { return "/v1/claims/" + url.PathEscape(id) + "/" + verb }

// giveBack releases claims that nobody has taken, unless it is the end.
func (s *ClaimService) giveBack(ids []string) {
	if !s.enter() {
		return
	}
	go func() {
		defer s.running.Done()
		s.log.Debug().Int("claims", len(ids)).Msg("who asked for events is gone; they are released")
		s.release(ids)
	}()
}

// release gives claims back. One that cannot be has a lease that runs out.
func (s *ClaimService) release(ids []string) {
	header := http.Header{"Eventd-Service": {s.options.Service}}
	for _, id := range ids {
		if a := s.call(context.WithoutCancel(s.ctx), claimPath(id, "release"), header, nil); a.code != http.StatusOK {
			s.log.Warn().Int("code", a.code).Str("claim", id).Msg("a claim that nobody takes is not released; its lease runs out")
			continue
		}
		s.counts.released.Add(1)
	}
}

// headerOf returns the headers of a request as HTTP has them. A body is JSON
// unless they say otherwise.
func headerOf(r micro.Request) http.Header {
	h := make(http.Header)
	for name, values := range r.Headers() {
		for _, v := range values {
			h.Add(name, v)
		}
	}
	if len(r.Data()) > 0 && h.Get("Content-Type") == "" && h.Get("Ce-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	return h
}

// call has a request answered.
func (s *ClaimService) call(ctx context.Context, target string, header http.Header, body []byte) *reply {
	a := &reply{header: make(http.Header)}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return refused(http.StatusBadRequest, err.Error())
	}
	r.Header = header
	s.calls.ServeHTTP(a, r)
	if ctx.Err() != nil && a.code != http.StatusOK {
		return stopping()
	}
	return a
}

// reply is an answer on its way out. It implements [http.ResponseWriter].
type reply struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *reply) Header() http.Header { return a.header }

func (a *reply) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *reply) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// problem is what is read of a problem of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func refused(code int, detail string) *reply {
	a := &reply{header: http.Header{"Content-Type": {"application/problem+json"}}, code: code}
	body, _ := json.Marshal(problem{http.StatusText(code), code, detail}) // always has a JSON form
	a.body.Write(body)
	return a
}

func stopping() *reply { return refused(http.StatusServiceUnavailable, "eventd is stopping") }

// answer sends an answer. With claims in it, they go back when nobody takes it.
func (s *ClaimService) answer(to string, a *reply, ids []string) error {
	s.counts.requests.Add(1)
	m := &nats.Msg{Subject: to, Header: make(nats.Header), Data: a.body.Bytes()}
	if t := a.header.Get("Content-Type"); t != "" {
		m.Header.Set("Content-Type", t)
	}
	if a.code >= http.StatusBadRequest {
		s.counts.errors.Add(1)
		m.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(a.code))
		m.Header.Set(micro.ErrorHeader, explained(a))
	}
	if len(ids) > 0 {
		m.Reply = s.unread.expect(ids)
	}
	if err := s.conn.nats.PublishMsg(m); err != nil {
		s.unread.forget(m.Reply)
		return fmt.Errorf("answer of %d bytes: %w", len(m.Data), err)
	}
	return nil
}

// explained returns the detail of a problem, as a header can have it.
func explained(a *reply) string {
	var p problem
	text := http.StatusText(a.code)
	if json.Unmarshal(a.body.Bytes(), &p) == nil && p.Detail != "" {
		text = p.Detail
	}
	const most = 1024
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// claimIDs returns the claims in an answer.
func claimIDs(body []byte) []string {
	var got struct {
		Claims []struct {
			ID string `json:"claim_id"`
		} `json:"claims"`
	}
	if json.Unmarshal(body, &got) != nil {
		return nil
	}
	ids := make([]string, len(got.Claims))
	for i := range got.Claims {
		ids[i] = got.Claims[i].ID
	}
	return ids
}
