package handler

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/envelope"
)

// Signer signs what is sent, as Standard Webhooks has it.
type Signer interface {
	// Sign returns the value of webhook-signature.
	Sign(id string, at time.Time, body []byte) string
}

// Names of headers in canonical form.
const (
	webhookID        = "Webhook-Id"
	webhookTimestamp = "Webhook-Timestamp"
	webhookSignature = "Webhook-Signature"
)

// signed adds the signature of a body to its headers. Each attempt has a
// signature of its own, since each has its time.
func signed(fields envelope.Fields, s Signer, body []byte) envelope.Fields {
	now, id := time.Now(), ""
	for i := range fields {
		if fields[i].Name == webhookID {
			fields[i].Value = signedID(fields[i].Value)
			id = fields[i].Value
		}
	}
	return append(fields,
		envelope.Field{Name: webhookTimestamp, Value: strconv.FormatInt(now.Unix(), 10)},
		envelope.Field{Name: webhookSignature, Value: s.Sign(id, now, body)})
}

// signedID returns an id without dots: what is signed is id, time and body with
// dots between them, and with one in the id it could be read in two ways. Ids
// that differ stay different.
func signedID(id string) string {
	if !strings.ContainsAny(id, ".%") {
		return id
	}
	return strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
}
