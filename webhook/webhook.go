// Package webhook signs and verifies messages as Standard Webhooks
// (https://www.standardwebhooks.com) has it: the headers webhook-id,
// webhook-timestamp and webhook-signature over the exact bytes of a body.
//
// Secrets say by how they begin what they are:
//
//	whsec_…  a shared secret: signs and verifies with HMAC-SHA256, scheme v1
//	whsk_…   a private key: signs with Ed25519, scheme v1a, and verifies
//	whpk_…   a public key: verifies what its private key has signed
//
// While a secret is replaced by another, both are given: what is sent has a
// signature of each, and what is received needs one that is right.
//
// A handler that eventd signs for verifies a request like this:
//
//	body, err := io.ReadAll(r.Body)
//	…
//	err = webhook.Verify(r.Header, body, secrets, 0)
//
// What is signed is the body, the id and the time, and nothing else: with events
// in binary mode the attributes of a CloudEvent stand in headers that anyone on
// the way can change. In structured mode they are part of the body.
//
// Errors and other texts never hold a secret, nor a part of one.
package webhook

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed message. In a request over HTTP case makes no difference.
const (
	HeaderID        = "webhook-id"        // the same for each attempt of an event
	HeaderTimestamp = "webhook-timestamp" // of the attempt, in seconds since 1970
	HeaderSignature = "webhook-signature" // one or several, with spaces between them
)

// DefaultTolerance is how far the time of a message may be from when it came.
const DefaultTolerance = 5 * time.Minute

const (
	// maxSecrets is how many secrets there may be at a time.
	maxSecrets = 8
	// maxSignatures is how many signatures of a message are looked at: each may
	// cost a verification for each key.
	maxSignatures = 32
)

// Sizes of a shared secret, in bytes, as the specification asks for.
const (
	minShared = 24
	maxShared = 64
)

// Secrets returns the secrets in the text of a file: one a line. Empty lines and
// those that begin with # are passed over.
func Secrets(text string) (list []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

// Signer signs messages. Its methods may be called by many goroutines.
type Signer struct{ keys []key }

// NewSigner returns a signer with one or several secrets: whsec_ or whsk_.
func NewSigner(secrets ...string) (*Signer, error) {
	keys, err := parseAll(secrets)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		if !k.signs() {
			return nil, fmt.Errorf("secret %d is a public key (whpk_), which cannot sign; the private one begins with whsk_", i+1)
		}
	}
	return &Signer{keys: keys}, nil
}

// Sign returns the value of webhook-signature for a message: a signature of each
// secret. The id must be that of webhook-id and have no dot in it: what is signed
// has dots between its parts, and could be read with other ones. At is the value
// of webhook-timestamp, in seconds.
func (s *Signer) Sign(id string, at time.Time, body []byte) string {
	m := message{id: id, timestamp: Timestamp(at), body: body}
	signatures := make([]string, len(s.keys))
	for i, k := range s.keys {
		signatures[i] = k.scheme() + "," + base64.StdEncoding.EncodeToString(k.sign(&m))
	}
	return strings.Join(signatures, " ")
}

// Timestamp returns the value of webhook-timestamp for a time.
func Timestamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// What [Verify] finds wrong, beside headers that cannot be read.
var (
	// ErrUnsigned: a header of a signed message is missing.
	ErrUnsigned = errors.New("not signed")
	// ErrTime: the message was signed too long before it came, or after it.
	ErrTime = errors.New("signed at another time")
	// ErrSignature: none of the signatures is right.
	ErrSignature = errors.New("no signature fits")
)

// Verifier verifies messages. Its methods may be called by many goroutines.
type Verifier struct{ keys []key }

// NewVerifier returns a verifier with one or several secrets.
func NewVerifier(secrets ...string) (*Verifier, error) {
	keys, err := parseAll(secrets)
	if err != nil {
		return nil, err
	}
	return &Verifier{keys: keys}, nil
}

// Verify returns nil for a message that has come now and that one of the secrets
// has signed. See [Verifier.VerifyAt].
func Verify(header map[string][]string, body []byte, secrets []string, tolerance time.Duration) error {
	v, err := NewVerifier(secrets...)
	if err != nil {
		return err
	}
	return v.VerifyAt(header, body, time.Now(), tolerance)
}

// VerifyAt returns nil for a message that came at a time and that one of the
// secrets has signed. Body is what came, to the byte. Tolerance is how far its
// timestamp may be from that time, [DefaultTolerance] when it is 0. Who wants to
// handle a message once remembers its webhook-id for that long.
//
// Errors: [ErrUnsigned], [ErrTime], [ErrSignature], and one for a header that is
// there twice or cannot be read.
func (v *Verifier) VerifyAt(header map[string][]string, body []byte, at time.Time, tolerance time.Duration) error {
	m := message{body: body}
	var signatures string
	for _, h := range []struct {
		name  string
		value *string
	}{{HeaderID, &m.id}, {HeaderTimestamp, &m.timestamp}, {HeaderSignature, &signatures}} {
		var err error
		if *h.value, err = single(header, h.name); err != nil {
			return err
		}
	}
	if strings.Contains(m.id, ".") {
		return errors.New(HeaderID + " has a dot in it, so that what is signed could be read in two ways")
	}
	if tolerance <= 0 {
		tolerance = DefaultTolerance
	}
	if err := checkTime(m.timestamp, at, tolerance); err != nil {
		return err
	}
	return v.fits(&m, signatures)
}

// single returns the value of a header that is there once, whatever its case.
func single(header map[string][]string, name string) (value string, err error) {
	n := 0
	for key, values := range header {
		if strings.EqualFold(key, name) && len(values) > 0 {
			value, n = values[0], n+len(values)
		}
	}
	switch {
	case value == "":
		return "", fmt.Errorf("%w: no header %s", ErrUnsigned, name)
	case n > 1:
		return "", fmt.Errorf("the header %s is there twice", name)
	}
	return value, nil
}

func checkTime(timestamp string, at time.Time, tolerance time.Duration) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != timestamp {
		return errors.New(HeaderTimestamp + " is no number of seconds")
	}
	signed := time.Unix(seconds, 0)
	// A timestamp has no fraction: up to a second is missing in it.
	if signed.Before(at.Add(-tolerance-time.Second)) || signed.After(at.Add(tolerance)) {
		return fmt.Errorf("%w: %s, more than %v away", ErrTime, signed.UTC().Format(time.RFC3339), tolerance)
	}
	return nil
}

func (v *Verifier) fits(m *message, signatures string) error {
	for i, signature := range strings.Fields(signatures) {
		if i == maxSignatures {
			break
		}
		scheme, text, _ := strings.Cut(signature, ",")
		given, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for _, k := range v.keys {
			if k.scheme() == scheme && k.verify(m, given) {
				return nil
			}
		}
	}
	return ErrSignature
}

// parseAll reads secrets. Errors say which it is, and nothing of it.
func parseAll(secrets []string) (keys []key, err error) {
	switch {
	case len(secrets) == 0:
		return nil, errors.New("there is no secret; one begins with whsec_, whsk_ or whpk_")
	case len(secrets) > maxSecrets:
		return nil, fmt.Errorf("there are %d secrets, at most %d are taken", len(secrets), maxSecrets)
	}
	for i, s := range secrets {
		k, err := parse(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parse(secret string) (key, error) {
	kind, text, _ := strings.Cut(secret, "_")
	if kind != "whsec" && kind != "whsk" && kind != "whpk" {
		return nil, errors.New("does not begin with whsec_, whsk_ or whpk_")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("is not in base64 behind its prefix")
	}
	switch n := len(raw); {
	case kind == "whsec" && (n < minShared || n > maxShared):
		return nil, fmt.Errorf("has %d bytes; a shared secret has %d to %d", n, minShared, maxShared)
	case kind == "whsec":
		return shared(raw), nil
	case kind == "whpk" && n != ed25519.PublicKeySize:
		return nil, fmt.Errorf("has %d bytes; a public key has %d", n, ed25519.PublicKeySize)
	case kind == "whpk":
		return public(raw), nil
	case n == ed25519.SeedSize:
		return newPrivate(raw), nil
	case n != ed25519.PrivateKeySize:
		return nil, fmt.Errorf("has %d bytes; a private key has %d, or %d with the public one", n, ed25519.SeedSize, ed25519.PrivateKeySize)
	}
	k := newPrivate(raw[:ed25519.SeedSize])
	if !ed25519.PublicKey(raw[ed25519.SeedSize:]).Equal(k.secret.Public()) {
		return nil, errors.New("has a public key that is not that of its private key")
	}
	return k, nil
}
