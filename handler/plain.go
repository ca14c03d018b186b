package handler

import (
	"bytes"
	"io"
	"net/http"
)

// plainReply reads the head of an answer that says nothing but that all is well:
// [http.ReadResponse], which every other answer is read by, takes a tenth of what a
// delivery costs. Something has come. It returns nil, and has read nothing, unless
//
//   - the status is 200, 201, 202 or 204, of HTTP/1.1,
//   - the whole answer has come, and nothing after it,
//   - every header is one of [plainNames], once, and
//   - Content-Length says how long the body is; a 204 has neither.
//
// The header of the response has Content-Type alone.
func (c *connection) plainReply() *http.Response {
	b, _ := c.reader.Peek(c.reader.Buffered())
	status, code := plainStatus(b)
	if status == 0 {
		return nil
	}
	h := plainHead{length: -1}
	head := status + h.read(b[status:])
	if head == status {
		return nil
	}
	if noBody := code == http.StatusNoContent; noBody != (h.length < 0) {
		return nil
	}
	length := max(h.length, 0)
	if len(b) != head+length {
		return nil
	}
	_, _ = c.reader.Discard(head)
	c.plain.response = http.Response{StatusCode: code, ContentLength: int64(length), Header: h.header()}
	c.plain.body = io.LimitedReader{R: c.reader, N: int64(length)}
	c.body = replyBody{Reader: &c.plain.body, ended: length == 0}
	return &c.plain.response
}

// plainSpace is what the plain answers of a connection share.
type plainSpace struct {
	response http.Response
	body     io.LimitedReader
}

// plainStatus returns the length of a status line and its code; zero for any other.
func plainStatus(b []byte) (length, code int) {
	const begin = "HTTP/1.1 20"
	end := bytes.Index(b, []byte("\r\n"))
	if end < len(begin)+2 || string(b[:len(begin)]) != begin || b[len(begin)+1] != ' ' || !plainValue(b[:end]) {
		return 0, 0
	}
	switch digit := b[len(begin)]; digit {
	case '0', '1', '2', '4':
		return end + 2, 200 + int(digit-'0')
	}
	return 0, 0
}

// plainHead are the headers of a plain answer.
type plainHead struct {
	length      int // -1 when it is not said
	contentType []byte
	seen        [len(plainNames)]bool
}

// plainNames are headers that change nothing, or, Connection, must say that nothing
// changes.
var plainNames = [...]string{
	"content-length", "content-type", "connection", "date", "server", "keep-alive", "x-powered-by", "vary", "cache-control",
}

// read reads headers to the empty line behind them and returns their length; zero
// when one is not plain.
func (h *plainHead) read(b []byte) (length int) {
	for {
		end := bytes.Index(b[length:], []byte("\r\n"))
		if end < 0 {
			return 0
		}
		line := b[length : length+end]
		length += end + 2
		if end == 0 {
			return length
		}
		if !h.add(line) {
			return 0
		}
	}
}

func (h *plainHead) add(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return false
	}
	i := plainName(line[:colon])
	if i < 0 || h.seen[i] {
		return false
	}
	h.seen[i] = true
	value := bytes.Trim(line[colon+1:], " \t")
	if !plainValue(value) {
		return false
	}
	switch plainNames[i] {
	case "content-length":
		var ok bool
		h.length, ok = plainLength(value)
		return ok
	case "connection":
		return bytes.EqualFold(value, []byte("keep-alive"))
	case "content-type":
		h.contentType = value
	}
	return true
}

func plainName(name []byte) int {
	for i, n := range plainNames {
		if len(n) == len(name) && bytes.EqualFold(name, []byte(n)) {
			return i
		}
	}
	return -1
}

func plainValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// plainLength reads a length of at most nine digits.
func plainLength(b []byte) (int, bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

func (h *plainHead) header() http.Header {
	if h.contentType == nil {
		return nil
	}
	return http.Header{"Content-Type": {string(h.contentType)}}
}
