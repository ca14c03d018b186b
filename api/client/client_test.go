package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/api/wire"
)

func TestNewRefuses(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:9180", "localhost", "ftp://x", "http://", "http://x/?a=b", "http://x/#y", "http://[::1", "unix:///x"} {
		if _, err := New(address, "", nil); err == nil {
			t.Errorf("New(%q) is accepted", address)
		}
	}
	for _, address := range []string{"http://127.0.0.1:9180", "https://eventd.example/below/"} {
		if _, err := New(address, "", nil); err != nil {
			t.Errorf("New(%q): %v", address, err)
		}
	}
}

// answering returns a client for a server that gives one answer.
func answering(t *testing.T, status int, contentType, body string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, "s3cret", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestErrors(t *testing.T) {
	const problem = "application/problem+json"
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		title, text             string
	}{
		{"a problem", problem, `{"title":"Conflict","status":409,"detail":"it is RETRY","event_status":"RETRY"}`, 409, "Conflict", "it is RETRY"},
		{"faults", problem, `{"title":"T","detail":"bad","errors":[{"message":"a","location":"query.x"},{"message":"b"},{"message":"bad"}]}`,
			422, "T", "bad\n  query.x: a\n  b"},
		{"no detail", problem, `{"title":"Gone"}`, 410, "Gone", "Gone"},
		{"some proxy", "text/html", "<h1>Bad Gateway</h1>\n", 502, "Bad Gateway", "<h1>Bad Gateway</h1>"},
		{"some proxy at length", "text/plain", strings.Repeat("x", 1000), 502, "Bad Gateway", strings.Repeat("x", 200)},
		{"a broken problem", problem, `{"title":`, 500, "Internal Server Error", `{"title":`},
		{"a redirect", "text/html", "", 302, "Found", "Found"},
		{"an unknown status", "", "", 599, "599 status code 599", "599 status code 599"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := answering(t, c.status, c.contentType, c.body).Reload(context.Background())
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("err = %#v; want *Error", err)
			}
			if e.Status != c.status || e.Title != c.title || e.Error() != c.text {
				t.Errorf("%d %q %q; want %d %q %q", e.Status, e.Title, e.Error(), c.status, c.title, c.text)
			}
		})
	}
}

func TestAnswersThatCannotBeRead(t *testing.T) {
	ctx := context.Background()
	if _, err := answering(t, 200, "application/json", `{"events":`).List(ctx, Query{}); err == nil || !strings.Contains(err.Error(), "answer of eventd") {
		t.Errorf("half an answer: %v", err)
	}
	if _, err := answering(t, 202, "application/json", `{"events":[]}`).Send(ctx, wire.NewEvent{}); err == nil || !strings.Contains(err.Error(), "0 receipts") {
		t.Errorf("no receipt: %v", err)
	}
	if _, err := answering(t, 200, "", "").Show(ctx, ""); !errors.Is(err, errNoID) {
		t.Errorf("no id: %v", err)
	}
	if err := answering(t, 200, "", "").PauseHandler(ctx, ""); err == nil {
		t.Error("a handler without name is paused")
	}
}

func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c, err := New(srv.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Reload(context.Background())
	var e *Error
	if err == nil || errors.As(err, &e) {
		t.Errorf("err = %v; want one that is no refusal", err)
	}
}
