package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

const eventForms = "An event comes in one of these forms: CloudEvents in binary mode (`ce-id`, `ce-type` and so on as headers, " +
	"the body is the payload), CloudEvents structured (`application/cloudevents+json`), a batch of them " +
	"(`application/cloudevents-batch+json`), or plain JSON with `message_type`, `event_id` and `payload`, one object or an array of them."

// sent is a request that carries events. The framework would insist on JSON,
// so the body is read here.
type sent struct {
	Service string `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"The service that sends the events, where they do not say it themselves."`
	request *http.Request
}

// Resolve implements [huma.Resolver].
func (in *sent) Resolve(ctx huma.Context) []error {
	in.request, _ = humago.Unwrap(ctx)
	return nil
}

func (s *service) registerSend() {
	c := call{method: http.MethodPost, path: "/v1/events", id: "send-events", tag: "events",
		summary: "Take events in", status: http.StatusAccepted, problems: []int{400, 408, 413, 415, 503},
		text: eventForms + " They stand in the table `request`, on disk, when this answers. " +
			"Either all events of a request are taken or none is."}
	register(s, c, s.send)
	s.described(c).RequestBody = s.eventBody()
}

func (s *service) send(ctx context.Context, in *sent) (*out[wire.Accepted], error) {
	msgs, err := s.take(in, event.Request)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		if err := complete(&msgs[i]); err != nil {
			return nil, s.internal("make an event id", err)
		}
	}
	receipts, err := s.Intake.Accept(ctx, msgs)
	if err != nil {
		return nil, s.failure("accept events", err)
	}
	return answer(wire.Accepted{Events: receiptsOf(receipts)})
}

// complete gives an event what it did not say of itself.
func complete(m *event.Message) error {
	m.CreatedBy = cmp.Or(m.CreatedBy, m.SourceService)
	if m.ID != "" {
		return nil
	}
	id, err := uuid.NewV7()
	m.ID = id.String()
	return err
}

func receiptsOf(receipts []event.Receipt) []wire.Receipt {
	list := make([]wire.Receipt, len(receipts))
	for i, r := range receipts {
		list[i] = wire.Receipt{Table: r.Table.String(), EventID: r.ID, Duplicate: r.Duplicate}
	}
	return list
}

// take reads the body of a request and decodes the events in it.
func (s *service) take(in *sent, table event.Table) ([]event.Message, error) {
	if p := checkEncoding(in.request.Header); p != nil {
		return nil, p
	}
	free, p := s.reserve(in.request.ContentLength)
	if p != nil {
		return nil, p
	}
	defer free()
	content, err := s.read(in.request)
	if err != nil {
		return nil, err
	}
	msgs, err := envelope.DecodeRequest(in.request.Header, content, envelope.Origin{
		Table:         table,
		SourceService: cmp.Or(in.Service, s.Service),
		At:            time.Now().UTC(),
	}, s.MaxEvents)
	if errors.Is(err, envelope.ErrTooMany) {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "%v", err)
	}
	if err != nil {
		return nil, newProblem(http.StatusBadRequest, "%v", err)
	}
	return msgs, nil
}

func checkEncoding(h http.Header) *problem {
	coding := h.Get("Content-Encoding")
	if coding == "" || strings.EqualFold(coding, "identity") {
		return nil
	}
	return newProblem(http.StatusUnsupportedMediaType, "a body with Content-Encoding %s is not taken", coding).
		with("Accept-Encoding", "identity")
}

// reserve takes the room that a body of the given length needs in memory, all
// a body may have when the length is not known. The caller gives it back.
func (s *service) reserve(length int64) (free func(), p *problem) {
	if length < 0 {
		length = s.MaxBody
	}
	if s.bodies.Add(length) > bodiesAtOnce*s.MaxBody {
		s.bodies.Add(-length)
		return nil, newProblem(http.StatusServiceUnavailable, "too many large bodies at once").with("Retry-After", "1")
	}
	return func() { s.bodies.Add(-length) }, nil
}

// read returns the whole body, which the guard has limited.
func (s *service) read(r *http.Request) ([]byte, error) {
	var content bytes.Buffer
	if r.ContentLength > 0 {
		content.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := io.Copy(&content, r.Body)
	var over *http.MaxBytesError
	var slow net.Error
	switch {
	case err == nil:
		return content.Bytes(), nil
	case errors.As(err, &over):
		return nil, tooLarge(over.Limit)
	case errors.As(err, &slow) && slow.Timeout():
		return nil, newProblem(http.StatusRequestTimeout, "the body did not come in time")
	}
	return nil, newProblem(http.StatusBadRequest, "the body cannot be read: %v", err)
}

// eventBody describes a body that carries events.
func (s *service) eventBody() *huma.RequestBody {
	one := s.api.OpenAPI().Components.Schemas.Schema(typeOf[wire.NewEvent](), true, "")
	plain := &huma.Schema{OneOf: []*huma.Schema{one, {Type: huma.TypeArray, Items: one}}}
	cloud := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true,
		Description: "An event in the JSON format of CloudEvents 1.0.", Required: []string{"specversion", "id", "source", "type"}}
	batch := &huma.Schema{Type: huma.TypeArray, Items: cloud}
	bytes := &huma.Schema{Type: huma.TypeString, Format: "binary", Description: "The payload, when the headers are those of a CloudEvent."}
	return &huma.RequestBody{Required: true, Description: eventForms, Content: map[string]*huma.MediaType{
		"application/json":                   {Schema: plain},
		"application/cloudevents+json":       {Schema: cloud},
		"application/cloudevents-batch+json": {Schema: batch},
		"*/*":                                {Schema: bytes},
	}}
}
