package api

import (
	"cmp"
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// call is what is said of one call of the API beside its types.
type call struct {
	method, path string
	id, tag      string
	summary      string
	text         string // more than the summary, in CommonMark
	status       int    // of success; 200 when 0
	problems     []int  // statuses it may refuse with, beside those of the guard
	maxBody      int64  // bytes; maxOrder when 0
	open         bool   // asks for no token
}

// register serves c with h and describes it from the types I and O.
func register[I, O any](s *service, c call, h func(context.Context, *I) (*O, error)) {
	huma.Register(s.api, *s.operation(c), h)
}

func (s *service) operation(c call) *huma.Operation {
	op := &huma.Operation{
		Method: c.method, Path: c.path, OperationID: c.id, Tags: []string{c.tag},
		Summary: c.summary, Description: c.text, DefaultStatus: c.status,
		MaxBodyBytes: cmp.Or(c.maxBody, maxOrder),
		Responses:    map[string]*huma.Response{"default": s.problemResponse("Error")},
	}
	for _, status := range c.problems {
		op.Responses[strconv.Itoa(status)] = s.problemResponse(http.StatusText(status))
	}
	if c.maxBody > maxOrder {
		op.Middlewares = huma.Middlewares{s.reserving}
	}
	if c.open && s.Token != nil {
		op.Security = []map[string][]string{{}}
	}
	return op
}

// reserving takes the room that a large body needs in memory.
func (s *service) reserving(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	free, p := s.reserve(r.ContentLength)
	if p != nil {
		p.write(w)
		return
	}
	defer free()
	next(ctx)
}

func (s *service) problemResponse(text string) *huma.Response {
	schema := s.api.OpenAPI().Components.Schemas.Schema(typeOf[wire.Problem](), true, "")
	return &huma.Response{
		Description: text,
		Content:     map[string]*huma.MediaType{problemType: {Schema: schema}},
	}
}

// described returns the description of a call that is registered already, to
// add what types cannot say.
func (s *service) described(c call) *huma.Operation {
	item := s.api.OpenAPI().Paths[c.path]
	switch c.method {
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	}
	return item.Get
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// tableParam is a table in a query.
type tableParam struct{ event.Table }

// Schema implements [huma.SchemaProvider].
func (tableParam) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, t := range event.Tables {
		s.Enum = append(s.Enum, t.String())
	}
	return s
}

// statusParam is a status in a query.
type statusParam struct{ event.Status }

// Schema implements [huma.SchemaProvider].
func (statusParam) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, st := range event.Statuses {
		s.Enum = append(s.Enum, st.String())
	}
	return s
}

// out is the answer of a call that has nothing but a JSON body.
type out[T any] struct{ Body T }

func answer[T any](v T) (*out[T], error) { //nolint:unparam // huma wants the error
	return &out[T]{Body: v}, nil
}
