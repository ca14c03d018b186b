package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type named struct {
	Name string `path:"name"`
}

// turn is one of [Switches].
type turn func(ctx context.Context, name string, paused bool) error

func (s *service) registerSwitches() {
	s.registerSwitch("handler", "pause", "Its events wait, and no attempt is charged.", true, s.Switches.SetHandlerPaused)
	s.registerSwitch("handler", "resume", "Its events go on, whatever it was paused for.", false, s.Switches.SetHandlerPaused)
	s.registerSwitch("source", "pause", "Its messages wait in the stream.", true, s.Switches.SetSourcePaused)
	s.registerSwitch("source", "resume", "", false, s.Switches.SetSourcePaused)
}

func (s *service) registerSwitch(what, verb, text string, paused bool, set turn) {
	c := call{method: http.MethodPost, path: "/v1/" + what + "s/{name}/" + verb, id: verb + "-" + what, tag: what + "s",
		summary: map[bool]string{true: "Pause a ", false: "Resume a "}[paused] + what, text: text, problems: []int{404, 503}}
	register(s, c, func(ctx context.Context, in *named) (*out[wire.Switched], error) {
		err := set(ctx, in.Name, paused)
		if errors.Is(err, event.ErrNotFound) {
			return nil, newProblem(http.StatusNotFound, "no %s is named %q", what, in.Name)
		}
		if err != nil {
			return nil, s.failure(verb+" a "+what, err)
		}
		return answer(wire.Switched{Name: in.Name, Paused: paused})
	})
}
