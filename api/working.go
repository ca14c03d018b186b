package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/eventd-io/eventd/event"
)

type workingOf struct {
	CorrelationID string `path:"correlation_id"`
	IfMatch       string `header:"If-Match" doc:"Only if the document has one of these ETags; * for any document."`
	IfNoneMatch   string `header:"If-None-Match" doc:"Only if the document has none of these ETags; * for no document."`
}

type putting struct {
	CorrelationID string          `path:"correlation_id"`
	IfMatch       string          `header:"If-Match" doc:"Only if the document has one of these ETags; * for any document."`
	IfNoneMatch   string          `header:"If-None-Match" doc:"Only if the document has none of these ETags; * for no document."`
	Service       string          `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who asks; the daemon's own service when left out."`
	Body          json.RawMessage `contentType:"application/json"`
}

type patching struct {
	CorrelationID string          `path:"correlation_id"`
	IfMatch       string          `header:"If-Match" doc:"Only if the document has one of these ETags; * for any document."`
	IfNoneMatch   string          `header:"If-None-Match" doc:"Only if the document has none of these ETags; * for no document."`
	Service       string          `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who asks; the daemon's own service when left out."`
	Body          json.RawMessage `contentType:"application/merge-patch+json"`
}

// documentOut is a document as its own answer.
type documentOut struct {
	Status      int
	ETag        string `header:"ETag"`
	ContentType string `header:"Content-Type"`
	Body        []byte
}

const workingPath = "/v1/working-data/{correlation_id}"

func (s *service) registerWorking() {
	get := call{method: http.MethodGet, path: workingPath, id: "get-working-data", tag: "working data",
		summary: "Get the working data of a conversation", problems: []int{404},
		text: "The answer is the document itself. 304 where If-None-Match has its ETag."}
	put := call{method: http.MethodPut, path: workingPath, id: "put-working-data", tag: "working data", maxBody: event.MaxDocument + 1,
		summary: "Put a document in its place", problems: []int{400, 404, 412, 413, 415, 422, 503},
		text: "It is on disk when this answers: 201 where there was none, 200 otherwise, with the document. " +
			"404 where no event has the correlation id."}
	patch := call{method: http.MethodPatch, path: workingPath, id: "patch-working-data", tag: "working data", maxBody: event.MaxDocument + 1,
		summary: "Merge values into it", problems: []int{400, 404, 412, 413, 415, 422, 503},
		text: "A JSON merge patch (RFC 7396): members of objects are merged, null takes one out, all else is replaced. " +
			"It is merged into what stands there at that moment, so that no change of another is lost."}
	register(s, get, s.getWorking)
	register(s, put, func(ctx context.Context, in *putting) (*documentOut, error) {
		return s.amend(ctx, conditions{in.IfMatch, in.IfNoneMatch}, event.Amendment{CorrelationID: in.CorrelationID, By: in.Service, Body: in.Body})
	})
	register(s, patch, func(ctx context.Context, in *patching) (*documentOut, error) {
		return s.amend(ctx, conditions{in.IfMatch, in.IfNoneMatch}, event.Amendment{CorrelationID: in.CorrelationID, By: in.Service, Body: in.Body, Merge: true})
	})
	object := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
	for _, c := range []call{get, put, patch} {
		op := s.described(c)
		op.Responses["200"].Content = map[string]*huma.MediaType{"application/json": {Schema: object}}
		if op.RequestBody != nil {
			for _, media := range op.RequestBody.Content {
				media.Schema = object
			}
		}
	}
}

func (s *service) getWorking(ctx context.Context, in *workingOf) (*documentOut, error) {
	d, err := s.Working.WorkingData(ctx, in.CorrelationID)
	if errors.Is(err, event.ErrNotFound) {
		return nil, newProblem(http.StatusNotFound, "there is no working data of %q", in.CorrelationID)
	}
	if err != nil {
		return nil, s.failure("get working data", err)
	}
	etag := etagOf(&d)
	if in.IfNoneMatch != "" && anyETag(in.IfNoneMatch, etag, false) {
		return &documentOut{Status: http.StatusNotModified, ETag: etag}, nil
	}
	if p := (conditions{in.IfMatch, in.IfNoneMatch}).problem(etag); p != nil {
		return nil, p
	}
	return documentOf(&d, http.StatusOK), nil
}

func documentOf(d *event.Document, status int) *documentOut {
	return &documentOut{Status: status, ETag: etagOf(d), ContentType: "application/json", Body: d.Body}
}

var errNoObject = errors.New("working data is one JSON object")

func (s *service) amend(ctx context.Context, asked conditions, a event.Amendment) (*documentOut, error) {
	if a.Body = bytes.TrimSpace(a.Body); len(a.Body) == 0 || a.Body[0] != '{' {
		return nil, invalid("body", nil, errNoObject)
	}
	a.By = cmp.Or(a.By, s.Service)
	var failed *problem
	a.Check = func(d event.Document) error {
		if failed = asked.problem(etagOf(&d)); failed != nil {
			return failed
		}
		return nil
	}
	d, err := s.Working.AmendWorkingData(ctx, a)
	switch {
	case failed != nil:
		return nil, failed
	case errors.Is(err, event.ErrNotFound):
		return nil, newProblem(http.StatusNotFound, "there is no event with the correlation id %q", a.CorrelationID)
	case errors.Is(err, event.ErrTooLarge):
		return nil, newProblem(http.StatusRequestEntityTooLarge, "%v", err)
	case err != nil:
		return nil, s.failure("change working data", err)
	case d.Version == 1:
		return documentOf(&d, http.StatusCreated), nil
	}
	return documentOf(&d, http.StatusOK), nil
}
