package api

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/eventd-io/eventd/event"
)

type bytesOf struct {
	ID            string     `path:"event_id"`
	Table         tableParam `query:"table" doc:"Which one, when several events have the id."`
	SourceService string     `query:"source_service" doc:"Which one, when several events have the id."`
	N             int        `query:"n" minimum:"0" doc:"Number of the payload within the row; 0 is what was received."`
}

type bytesOut struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (s *service) registerPayload() {
	c := call{method: http.MethodGet, path: "/v1/events/{event_id}/payload", id: "get-payload", tag: "events",
		summary: "Get a payload as it was received or sent", problems: []int{404, 409, 410, 422},
		text: "Served with the content type it came with, as a download that no browser runs."}
	register(s, c, s.payload)
	s.described(c).Responses["200"].Content = map[string]*huma.MediaType{
		"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}
}

func (s *service) payload(ctx context.Context, in *bytesOf) (*bytesOut, error) {
	r, err := s.choose(ctx, choice{in.ID, in.Table.Table, in.SourceService})
	if err != nil {
		return nil, err
	}
	payloads, err := s.Reader.Payloads(ctx, r.Seq)
	if err != nil {
		return nil, s.failure("read payloads", err)
	}
	if in.N >= len(payloads) {
		return nil, newProblem(http.StatusNotFound, "event %q has %d payloads, counted from 0", in.ID, len(payloads))
	}
	if payloads[in.N].Removed {
		return nil, newProblem(http.StatusGone, "event %q: %v", in.ID, event.ErrPayloadRemoved)
	}
	return download(payloads[in.N]), nil
}

// download never lets the stored content type or id into a header unchecked:
// both come from outside.
func download(p event.Payload) *bytesOut {
	contentType := "application/octet-stream"
	if media, params, err := mime.ParseMediaType(p.ContentType); err == nil && strings.Contains(media, "/") {
		if t := mime.FormatMediaType(media, params); t != "" {
			contentType = t
		}
	}
	return &bytesOut{
		ContentType: contentType,
		Disposition: `attachment; filename="` + fileName(p.EventID) + `"`,
		Body:        p.Body,
	}
}

// fileName keeps of an id what is harmless in every file system.
func fileName(id string) string {
	const most = 100
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", r) {
			return r
		}
		return '_'
	}, id)
	return "payload-" + name[:min(len(name), most)]
}
