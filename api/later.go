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
