package handler

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/envelope"
)

// readBoth reads an answer as a connection does, and as the library does. plain says
// that the library was not asked by the connection.
func readBoth(raw []byte) (c *connection, ours *http.Response, theirs *http.Response, plain bool, err error) {
	c = &connection{in: limitedReader{Reader: bytes.NewReader(raw), left: -1}}
	c.reader = bufio.NewReader(&c.in)
	if _, err := c.reader.Peek(1); err == nil {
		if ours = c.plainReply(); ours != nil {
			plain = true
		}
	}
	theirs, err = http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), post)
	return c, ours, theirs, plain, err
}

func TestPlainReplies(t *testing.T) {
	for raw, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                                      true,
		"HTTP/1.1 204 No Content\r\nDate: Sat, 28 Nov 2026 02:00:00 GMT\r\n\r\n":                            true,
		"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nconnection: keep-alive\r\nserver: uvicorn\r\n\r\nok": true,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nKeep-Alive: 5\r\n\r\n{}": true,
		"HTTP/1.1 200 OK\r\n\r\n":                                                         false, // up to the end of the connection
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok":                                  false, // not all of it
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok":                                  false, // more than it
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n":                                        false,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n":               false,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n":               false,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nce-type: x\r\n\r\n":                      false,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n":                  false,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n": false,
		"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n":                                   false,
		"HTTP/1.1 200 OK\r\nContent-Length: -0\r\n\r\n":                                   false,
		"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n":                            false,
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n":                                    false,
		"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n":                         false,
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n":                   false,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":       false,
	} {
		if _, _, _, plain, _ := readBoth([]byte(raw)); plain != want {
			t.Errorf("plain = %t for %q; want %t", plain, raw, want)
		}
	}
}

// TestPlainRepliesAreAsTheLibraryReads: what is read without the library is what it
// reads, of answers that are right and of such that are not.
func TestPlainRepliesAreAsTheLibraryReads(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	plainOnes := 0
	for range 20_000 {
		raw := drawReply(r)
		c, ours, theirs, plain, err := readBoth(raw)
		if !plain {
			continue
		}
		plainOnes++
		if err != nil {
			t.Fatalf("%q: the library says %v", raw, err)
		}
		if problem := differ(c, ours, theirs); problem != "" {
			t.Fatalf("%q: %s", raw, problem)
		}
	}
	if plainOnes < 1000 {
		t.Errorf("only %d answers were plain", plainOnes)
	}
}

// differ says what a plain answer has otherwise than the library reads it.
func differ(c *connection, ours, theirs *http.Response) string {
	now := time.Now()
	a := classify(ours.StatusCode, ours.Header, nil, now)
	b := classify(theirs.StatusCode, theirs.Header, nil, now)
	switch {
	case ours.StatusCode != theirs.StatusCode, a.Outcome != b.Outcome, a.Rest != b.Rest:
		return fmt.Sprintf("status %d, %v; want %d, %v", ours.StatusCode, a, theirs.StatusCode, b)
	case ours.ContentLength != theirs.ContentLength:
		return fmt.Sprintf("length %d; want %d", ours.ContentLength, theirs.ContentLength)
	case theirs.Close, len(theirs.TransferEncoding) > 0, theirs.Header.Get("Location") != "":
		return "it is not plain"
	case ours.Header.Get("Content-Type") != theirs.Header.Get("Content-Type"):
		return fmt.Sprintf("content type %q; want %q", ours.Header.Get("Content-Type"), theirs.Header.Get("Content-Type"))
	case envelope.IsCloudEvent(ours.Header) != envelope.IsCloudEvent(theirs.Header):
		return "it is a CloudEvent to one of them alone"
	}
	body, err := io.ReadAll(&c.body)
	want, wantErr := io.ReadAll(theirs.Body)
	if err != nil || wantErr != nil || !bytes.Equal(body, want) {
		return fmt.Sprintf("body %q, %v; want %q, %v", body, err, want, wantErr)
	}
	if !c.reusable(ours) {
		return "the connection cannot be used again"
	}
	return ""
}

// drawReply returns an answer of parts that servers send, some of them spoilt.
func drawReply(r *rand.Rand) []byte {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	body := strings.Repeat("x", r.IntN(4))
	b := pick("HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 202 Accepted", "HTTP/1.1 204 No Content", "HTTP/1.1 201 ",
		"HTTP/1.1 200", "HTTP/1.1 2000 OK", "HTTP/1.1 206 x", "HTTP/1.1 302 Found", "HTTP/1.0 200 OK", "HTTP/1.1  200 OK") + "\r\n"
	if r.IntN(8) > 0 {
		b += fmt.Sprintf("%s: %d\r\n", pick("Content-Length", "content-length", "CONTENT-LENGTH"), len(body))
	}
	for range r.IntN(4) {
		b += pick("Date: now", "Server: x", "Connection: keep-alive", "Connection: Keep-Alive", "connection: close", "Connection: upgrade",
			"Content-Type: application/json", "content-type:application/cloudevents+json", "Content-Type:\ttext/plain ", "Content-Length: 2",
			"Transfer-Encoding: chunked", "Trailer: x", "Retry-After: 3", "ce-specversion: 1.0", "Location: /x", "X-Powered-By: Express",
			"Vary: *", " folded", "bad name: x", "nothing", "Content-Type: a\x00b", "Server: \xff", "Cache-Control:") + "\r\n"
	}
	raw := []byte(b + "\r\n" + body)
	if r.IntN(5) == 0 { // one byte more, less or another
		i := r.IntN(len(raw))
		switch r.IntN(3) {
		case 0:
			raw = append(raw[:i], raw[i+1:]...)
		case 1:
			raw[i] = "\r\n :;0a\x00"[r.IntN(8)]
		default:
			raw = append(raw[:i], append([]byte{"\r\n :;0a\x00"[r.IntN(8)]}, raw[i:]...)...)
		}
	}
	return raw
}
