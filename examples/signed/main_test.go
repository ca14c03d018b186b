package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/daemon"
	"github.com/eventd-io/eventd/webhook"
)

func TestConfigurationLoads(t *testing.T) {
	if _, err := daemon.Load("routes.yaml", os.LookupEnv); err != nil {
		t.Error(err)
	}
}

func TestHandler(t *testing.T) {
	text, err := os.ReadFile("secrets")
	if err != nil {
		t.Fatal(err)
	}
	secrets := webhook.Secrets(string(text))
	verifier, err := webhook.NewVerifier(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := webhook.NewSigner(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"amount": 5}`
	for _, c := range []struct {
		sent string
		code int
		out  string
	}{{body, http.StatusNoContent, "7f3: " + body + "\n"}, {`{"amount": 500}`, http.StatusUnauthorized, ""}} {
		r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(c.sent))
		now := time.Now()
		r.Header.Set(webhook.HeaderID, "7f3")
		r.Header.Set(webhook.HeaderTimestamp, webhook.Timestamp(now))
		r.Header.Set(webhook.HeaderSignature, signer.Sign("7f3", now, []byte(body)))
		var out strings.Builder
		w := httptest.NewRecorder()
		handler(verifier, &out).ServeHTTP(w, r)
		if w.Code != c.code || out.String() != c.out {
			t.Errorf("%s: %d, %q; want %d, %q", c.sent, w.Code, out.String(), c.code, c.out)
		}
	}
}
