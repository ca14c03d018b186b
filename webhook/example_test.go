package webhook_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/eventd-io/eventd/webhook"
)

// A handler that takes nothing but what was signed.
func ExampleVerify() {
	secrets := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if err := webhook.Verify(r.Header, body, secrets, 0); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		fmt.Println("received", string(body))
	}

	signer, err := webhook.NewSigner(secrets...)
	if err != nil {
		fmt.Println(err)
		return
	}
	now, body := time.Now(), `{"amount": 5}`
	r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(body))
	r.Header.Set(webhook.HeaderID, "7f3")
	r.Header.Set(webhook.HeaderTimestamp, webhook.Timestamp(now))
	r.Header.Set(webhook.HeaderSignature, signer.Sign("7f3", now, []byte(body)))
	handler(httptest.NewRecorder(), r)
	// Output: received {"amount": 5}
}
