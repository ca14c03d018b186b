package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// later lists the calls that have their place but no work behind them yet.
// They answer 501, so that a client can tell them from a mistyped path.
var later = []call{
	{method: http.MethodPost, path: "/v1/redrives", id: "start-redrive", tag: "redrives"},
	{method: http.MethodGet, path: "/v1/redrives/{id}", id: "show-redrive", tag: "redrives"},
	{method: http.MethodDelete, path: "/v1/redrives/{id}", id: "stop-redrive", tag: "redrives"},
	{method: http.MethodGet, path: "/v1/correlations/{id}", id: "show-correlation", tag: "working data"},
	{method: http.MethodGet, path: "/v1/working-data/{id}", id: "get-working-data", tag: "working data"},
	{method: http.MethodPut, path: "/v1/working-data/{id}", id: "put-working-data", tag: "working data"},
	{method: http.MethodPatch, path: "/v1/working-data/{id}", id: "patch-working-data", tag: "working data"},
	{method: http.MethodPost, path: "/v1/handlers/{name}/claim", id: "claim", tag: "claims"},
	{method: http.MethodPost, path: "/v1/claims/{id}/complete", id: "complete-claim", tag: "claims"},
	{method: http.MethodPost, path: "/v1/claims/{id}/fail", id: "fail-claim", tag: "claims"},
	{method: http.MethodPost, path: "/v1/claims/{id}/extend", id: "extend-claim", tag: "claims"},
	{method: http.MethodPost, path: "/v1/claims/{id}/release", id: "release-claim", tag: "claims"},
	{method: http.MethodGet, path: "/v1/stream", id: "stream", tag: "events"},
}

func (s *service) registerLater() {
	for _, c := range later {
		c.summary = "Not supported yet"
		c.problems = []int{http.StatusNotImplemented}
		op := s.operation(c)
		op.SkipValidateParams = true
		if name, ok := parameter(c.path); ok {
			op.Parameters = []*huma.Param{{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}}
		}
		what := strings.ReplaceAll(c.id, "-", " ")
		huma.Register(s.api, *op, func(context.Context, *struct{}) (*struct{}, error) {
			return nil, newProblem(http.StatusNotImplemented, "%s is not supported yet", what)
		})
		delete(op.Responses, "204") // the framework's guess of a success
	}
}

// parameter returns the name of the one parameter in a path, {id} for one.
func parameter(path string) (name string, ok bool) {
	_, rest, ok := strings.Cut(path, "{")
	name, _, _ = strings.Cut(rest, "}")
	return name, ok
}
