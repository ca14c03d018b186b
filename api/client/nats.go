package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// RequestFunc sends a request over NATS and returns the answer to it. With nats.go:
//
//	func(ctx context.Context, subject string, header map[string][]string, body []byte) (map[string][]string, []byte, error) {
//		m, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
//		if err != nil {
//			return nil, nil, err
//		}
//		return m.Header, m.Data, nil
//	}
type RequestFunc func(ctx context.Context, subject string, header map[string][]string, body []byte) (answerHeader map[string][]string, answer []byte, err error)

// NewNATS returns a client that claims over NATS, from any eventd of the given
// application whose handlers have `poll: {nats: true}`. Its [Client.Claim],
// [Client.Complete], [Client.Fail], [Client.Extend], [Client.Release] and
// [Client.Process] work as over HTTP; everything else is an error, and nothing is
// sent.
func NewNATS(application string, request RequestFunc) *Client {
	c := &Client{base: "http://nats"}
	c.http.Transport = &natsTransport{prefix: "eventd." + application + ".", request: request}
	return c
}

// natsTransport takes calls about claims to NATS. It implements [http.RoundTripper].
type natsTransport struct {
	prefix  string
	request RequestFunc
}

// answerWithin is how long an answer may take beside what it was asked to wait.
const answerWithin = 10 * time.Second

var errNotOverNATS = errors.New("over NATS there are claims alone")

func (t *natsTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	subject, err := t.subject(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), waiting(body)+answerWithin)
	defer cancel()
	header, answer, err := t.request(ctx, subject, r.Header, body)
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", subject, err)
	}
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(answer)), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(answer)),
	}
	for name, values := range header {
		resp.Header[http.CanonicalHeaderKey(name)] = values
	}
	if code := resp.Header.Get("Nats-Service-Error-Code"); code != "" {
		n, err := strconv.Atoi(code)
		if err != nil || n < http.StatusBadRequest {
			return nil, fmt.Errorf("request to %s: answer with the error %s %s", subject, code, resp.Header.Get("Nats-Service-Error"))
		}
		resp.StatusCode = n
	}
	resp.Status = strconv.Itoa(resp.StatusCode) + " " + cmp.Or(http.StatusText(resp.StatusCode), "Unknown")
	return resp, nil
}

// subject returns where a call goes.
func (t *natsTransport) subject(r *http.Request) (string, error) {
	parts := strings.Split(r.URL.Path, "/") // "", v1, handlers, NAME, claim; or "", v1, claims, ID, VERB
	if r.Method != http.MethodPost || len(parts) != 5 || strings.ContainsAny(parts[3], " *>\t\r\n") {
		return "", errNotOverNATS
	}
	switch {
	case parts[2] == "handlers" && parts[4] == "claim":
		return t.prefix + "claim." + parts[3], nil
	case parts[2] == "claims":
		return t.prefix + "claims." + parts[3] + "." + parts[4], nil
	}
	return "", errNotOverNATS
}

// waiting returns how long a call may wait for events.
func waiting(body []byte) time.Duration {
	var c wire.Claim
	if json.Unmarshal(body, &c) != nil {
		return 0
	}
	wait, err := time.ParseDuration(c.Wait)
	if err != nil {
		return 0
	}
	return wait
}
