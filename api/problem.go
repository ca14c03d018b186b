package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

const problemType = "application/problem+json"

// problem is a refusal on its way out. It is an error, so that handlers return
// it, and it knows its status, so that the framework writes it as it is.
type problem struct {
	wire.Problem
	header http.Header
}

func newProblem(status int, format string, args ...any) *problem {
	return &problem{Problem: wire.Problem{
		Title:  http.StatusText(status),
		Status: status,
		Detail: fmt.Sprintf(format, args...),
	}}
}

func (p *problem) Error() string { return p.Detail }

// GetStatus, GetHeaders and ContentType are what the framework asks an error for.
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.header }
func (p *problem) ContentType(string) string { return problemType }

// with adds a header to the response.
func (p *problem) with(name, value string) *problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(name, value)
	return p
}

// at says which part of the request is meant.
func (p *problem) at(location string, value any) *problem {
	p.Errors = append(p.Errors, wire.Fault{Message: p.Detail, Location: location, Value: value})
	return p
}

// write answers with p where no framework does it.
func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"title":"Internal Server Error","status":500}`)
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// ownProblem turns the framework's own refusals into ours: with a detail that
// says what is wrong, and without sending a whole body back.
func ownProblem(_ huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := newProblem(model.Status, "%s", model.Detail)
	for i, e := range model.Errors {
		fault := wire.Fault{Message: e.Message, Location: e.Location, Value: e.Value}
		if e.Location == "body" {
			fault.Value = nil
		}
		p.Errors = append(p.Errors, fault)
		if i == 0 {
			p.Detail = strings.TrimPrefix(fmt.Sprintf("%s: %s", e.Location, e.Message), ": ")
		}
	}
	return p, nil
}

// invalid refuses a value that was understood but is not allowed.
func invalid(location string, value any, err error) *problem {
	return newProblem(http.StatusUnprocessableEntity, "%v", err).at(location, value)
}

// failure turns what an interface answered into a problem. Only what nobody
// foresaw is logged: everything else is the caller's to deal with.
func (s *service) failure(doing string, err error) error {
	switch {
	case errors.Is(err, event.ErrNotFound):
		return newProblem(http.StatusNotFound, "%v", err)
	case errors.Is(err, event.ErrConflict), errors.Is(err, event.ErrPayloadRemoved):
		return newProblem(http.StatusConflict, "%v", err)
	case errors.Is(err, event.ErrUnavailable):
		return newProblem(http.StatusServiceUnavailable, "%v", err).with("Retry-After", "1")
	case errors.Is(err, context.Canceled):
		// The caller has hung up: nobody reads this.
		return newProblem(http.StatusServiceUnavailable, "%v", err)
	}
	return s.internal(doing, err)
}

func (s *service) internal(doing string, err error) *problem {
	s.Log.Error().Err(err).Msg(doing)
	return newProblem(http.StatusInternalServerError, "%s: %v", doing, err)
}
