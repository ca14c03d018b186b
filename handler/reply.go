package handler

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

const (
	// MaxReply is how many bytes of an answer's body are read.
	MaxReply = 1 << 20
	// MaxFollowUps is how many events an answer may hold.
	MaxFollowUps = 1000
	// firstRead is the room for a body of unknown length to begin with, in bytes.
	firstRead = 512
)

// readDetail returns the beginning of a body as text, and reads on to its end
// so that the connection can be used again. A body over [MaxReply] costs the
// connection. An error is one of the connection.
func readDetail(response *http.Response, body io.Reader) (string, error) {
	if response.ContentLength == 0 {
		return redirect(response), nil
	}
	head, err := readUpTo(body, response.ContentLength, event.MaxDetail)
	if err == nil && len(head) == event.MaxDetail {
		_, err = io.CopyN(io.Discard, body, MaxReply-event.MaxDetail)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(head) == 0 {
		return redirect(response), err
	}
	return detailOf(head), err
}

// readUpTo reads n bytes of a body, or all of it when it has less. A negative
// length is unknown.
func readUpTo(body io.Reader, length int64, n int) ([]byte, error) {
	size := firstRead
	if length >= 0 {
		size = int(min(length, int64(n-1))) + 1 // one more to meet the end
	}
	b := make([]byte, 0, size)
	for len(b) < n {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		m, err := body.Read(b[len(b):min(cap(b), n)])
		b = b[:len(b)+m]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// redirect explains an answer without body that wants to be followed.
func redirect(response *http.Response) string {
	location := response.Header.Get("Location")
	if response.StatusCode < 300 || response.StatusCode > 399 || location == "" {
		return ""
	}
	return detailOf([]byte("redirects are not followed; it leads to " + location))
}

// detailOf returns text that is safe to keep and to show: valid UTF-8 of at most
// [event.MaxDetail] bytes, no control characters but tabs and line ends, nothing
// that changes the direction of what stands beside it.
func detailOf(b []byte) string {
	text := strings.ToValidUTF8(string(b[:min(len(b), event.MaxDetail)]), "\uFFFD")
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\r':
			return -1
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return '\uFFFD'
		}
		return r
	}, text)
	if len(text) <= event.MaxDetail {
		return text
	}
	cut := event.MaxDetail
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// readFollowUps reads the events of an answer. Those that cannot be taken make
// it a bad reply. An error is one of the connection.
func readFollowUps(response *http.Response, body io.Reader, answer *event.Answer) error {
	data, err := readUpTo(body, response.ContentLength, MaxReply+1)
	if err != nil {
		return err
	}
	takeFollowUps(response.Header, data, answer)
	return nil
}

// takeFollowUps reads the events of an answer. Those that cannot be taken make it
// a bad reply.
func takeFollowUps(header http.Header, body []byte, answer *event.Answer) {
	list, err := followUps(header, body)
	if err != nil {
		answer.Outcome, answer.Reason = event.Never, event.BadReply
		answer.Detail = detailOf([]byte(err.Error()))
		return
	}
	answer.FollowUps = list
}

func followUps(header http.Header, body []byte) ([]event.Message, error) {
	if len(body) > MaxReply {
		return nil, fmt.Errorf("the follow-up events have more than %d bytes", MaxReply)
	}
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("the follow-up events come with Content-Encoding %q, which was not asked for", coding)
	}
	origin := envelope.Origin{Table: event.Request, At: time.Now().UTC()}
	return envelope.DecodeReply(header, body, origin, MaxFollowUps)
}
