package client

import (
	"cmp"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/eventd-io/eventd/api/wire"
)

// Error is a refusal by the daemon.
type Error struct {
	wire.Problem
}

// Error returns the detail, and every single fault on a line of its own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(cmp.Or(e.Detail, e.Title))
	for _, f := range e.Errors {
		if f.Message == e.Detail {
			continue
		}
		b.WriteString("\n  ")
		if f.Location != "" {
			b.WriteString(f.Location + ": ")
		}
		b.WriteString(f.Message)
	}
	return b.String()
}

// errorOf reads the problem in an answer, or makes one of what some other
// server in between has said.
func errorOf(resp *http.Response, body []byte) *Error {
	e := &Error{}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != "application/problem+json" || json.Unmarshal(body, &e.Problem) != nil {
		const most = 200
		text := strings.TrimSpace(string(body[:min(len(body), most)]))
		e.Problem = wire.Problem{Detail: strings.ToValidUTF8(text, "")}
	}
	e.Status = resp.StatusCode
	e.Title = cmp.Or(e.Title, http.StatusText(resp.StatusCode), resp.Status)
	return e
}
