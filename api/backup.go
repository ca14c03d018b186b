package api

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/eventd-io/eventd/event"
)

// patienceWithReader is how long a client of a backup may read nothing before it
// is cut off: until it has ended nobody else gets one.
const patienceWithReader = time.Minute

func (s *service) registerBackup() {
	c := call{method: http.MethodGet, path: "/v1/backup", id: "backup", tag: "store",
		summary: "Get a copy of the store", problems: []int{http.StatusConflict, http.StatusServiceUnavailable},
		text: "Of the moment it is asked for, while everything goes on. Content-Digest has its SHA-256. One at a time."}
	register(s, c, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			s.backup(w, r)
		}}, nil
	})
	s.described(c).Responses["200"] = &huma.Response{
		Description: "OK",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
}

// backup has the copy made before the answer begins, so that what goes wrong is
// a problem and not half a file.
func (s *service) backup(w http.ResponseWriter, r *http.Request) {
	deadline := http.NewResponseController(w)
	// How long the copy takes is a matter of its size. A server that knows no
	// deadlines has none to put off.
	_ = deadline.SetWriteDeadline(time.Time{})
	b, err := s.Backups.Backup(r.Context())
	if err != nil {
		var p *problem
		if !errors.As(s.failure("take a backup", err), &p) {
			p = s.internal("take a backup", err)
		}
		_ = deadline.SetWriteDeadline(time.Now().Add(patienceWithReader))
		p.write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="eventd-`+time.Now().UTC().Format("20060102T150405Z")+`.db"`)
	h.Set("Content-Length", strconv.FormatInt(b.Size, 10))
	h.Set("Content-Digest", digestOf(b))
	_, err = io.CopyBuffer(&patientWriter{w: w, deadline: deadline}, onlyReader{b}, make([]byte, 256<<10))
	if err = errors.Join(err, b.Close()); err != nil {
		s.Log.Warn().Err(err).Msg("a backup was not handed out to its end")
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
}

// digestOf writes the sum of a backup as RFC 9530 has it.
func digestOf(b *event.Backup) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(b.SHA256[:]) + ":"
}

// onlyReader hides what else a reader can do, so that it is read piece by piece.
type onlyReader struct{ io.Reader }

// patientWriter gives each piece a deadline of its own.
type patientWriter struct {
	w        io.Writer
	deadline *http.ResponseController
}

// Write implements [io.Writer].
func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.deadline.SetWriteDeadline(time.Now().Add(patienceWithReader)) // as above
	return p.w.Write(b)
}
