package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type configuring struct {
	Accept string `header:"Accept" doc:"application/json for the text within JSON; YAML otherwise."`
}

type configOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *service) registerControl() {
	register(s, call{method: http.MethodPost, path: "/v1/reload", id: "reload", tag: "configuration",
		summary: "Put the configuration file in force", problems: []int{422, 503},
		text: "When anything in it is wrong, every fault is listed and the old configuration goes on."}, s.reload)
	c := call{method: http.MethodGet, path: "/v1/config", id: "config", tag: "configuration",
		summary: "The configuration in force, secrets redacted"}
	register(s, c, s.config)
	asJSON := s.api.OpenAPI().Components.Schemas.Schema(typeOf[wire.Config](), true, "")
	s.described(c).Responses["200"].Content = map[string]*huma.MediaType{
		"application/yaml": {Schema: &huma.Schema{Type: huma.TypeString}},
		"application/json": {Schema: asJSON},
	}
}

func (s *service) reload(ctx context.Context, _ *struct{}) (*out[wire.Reloaded], error) {
	err := s.Control.Reload(ctx)
	if errors.Is(err, event.ErrUnavailable) {
		return nil, s.failure("reload", err)
	}
	if err != nil {
		p := newProblem(http.StatusUnprocessableEntity, "the configuration was not reloaded, the old one is still in force")
		p.Errors = faultsOf(err)
		return nil, p
	}
	return answer(wire.Reloaded{Reloaded: true})
}

// faultsOf takes apart an error that stands for several.
func faultsOf(err error) []wire.Fault {
	var faults []wire.Fault
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range several.Unwrap() {
			faults = append(faults, faultsOf(e)...)
		}
		return faults
	}
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			faults = append(faults, wire.Fault{Message: line})
		}
	}
	return faults
}

func (s *service) config(_ context.Context, in *configuring) (*configOut, error) {
	text, err := s.Control.Config()
	if err != nil {
		return nil, s.failure("show the configuration", err)
	}
	if !asksForJSON(in.Accept, "application/yaml") {
		return &configOut{ContentType: "application/yaml", Body: text}, nil
	}
	asJSON, err := json.Marshal(wire.Config{YAML: string(text)})
	if err != nil {
		return nil, s.internal("show the configuration", err)
	}
	return &configOut{ContentType: "application/json", Body: asJSON}, nil
}
