package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
)

// message is what a signature is about.
type message struct {
	id, timestamp string
	body          []byte
}

// head is what stands before the body in what is signed.
func (m *message) head() []byte { return []byte(m.id + "." + m.timestamp + ".") }

// whole is what is signed.
func (m *message) whole() []byte { return append(m.head(), m.body...) }

// key is one secret, as one of the schemes uses it.
type key interface {
	scheme() string
	signs() bool
	sign(m *message) []byte // nil if it cannot
	verify(m *message, signature []byte) bool
}

// shared is a secret of HMAC-SHA256.
type shared []byte

func (shared) scheme() string { return "v1" }
func (shared) signs() bool    { return true }

func (k shared) sign(m *message) []byte {
	h := hmac.New(sha256.New, k)
	h.Write(m.head())
	h.Write(m.body)
	return h.Sum(nil)
}

func (k shared) verify(m *message, signature []byte) bool { return hmac.Equal(k.sign(m), signature) }

// public is a public key of Ed25519.
type public ed25519.PublicKey

func (public) scheme() string       { return "v1a" }
func (public) signs() bool          { return false }
func (public) sign(*message) []byte { return nil }

func (k public) verify(m *message, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(ed25519.PublicKey(k), m.whole(), signature)
}

// private is a pair of keys of Ed25519.
type private struct {
	public
	secret ed25519.PrivateKey
}

func newPrivate(seed []byte) private {
	secret := ed25519.NewKeyFromSeed(seed)
	return private{public: public(secret[ed25519.SeedSize:]), secret: secret}
}

func (private) signs() bool              { return true }
func (k private) sign(m *message) []byte { return ed25519.Sign(k.secret, m.whole()) }
