package handler

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	// idleTimeout is below the five seconds after which common servers close an
	// idle connection: a request that meets the closing one fails, since it is
	// never sent twice.
	idleTimeout = 4 * time.Second
	// maxReplyHeader bounds the headers of an answer, in bytes.
	maxReplyHeader = 256 << 10
)

// newTransport returns a transport of the handler's own, for HTTP/1.1 only:
// over HTTP/2 a request may be sent again when the server refuses its stream.
// With a socket, all connections go there, whatever the URL says.
func newTransport(socket string, concurrency int, timeout time.Duration) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}
	dial := dialer.DialContext
	if socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return &http.Transport{
		Proxy:                  nil, // never from the environment
		DialContext:            dial,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxConnsPerHost:        concurrency,
		MaxIdleConnsPerHost:    concurrency,
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    timeout,
		MaxResponseHeaderBytes: maxReplyHeader,
	}
}

// preventResend makes the transport see a request that it must not repeat. It
// repeats one whose connection turned out to be closed when the body can be had
// again, which [io.NopCloser] hides, or is empty, and a header of this very
// spelling says that repeating does no harm. HTTP ignores the case of names.
func preventResend(header http.Header) {
	respell(header, "Idempotency-Key", "idempotency-key")
	respell(header, "X-Idempotency-Key", "x-idempotency-key")
}

func respell(header http.Header, name, other string) {
	if values, ok := header[name]; ok {
		delete(header, name)
		header[other] = values
	}
}
