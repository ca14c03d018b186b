package handler

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // of its certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.file, _ = a.sign(x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate and returns the files of it and of its key. The first
// one is its own.
func (a *authority) sign(c x509.Certificate) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if a.cert == nil {
		a.cert, a.key = &c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	if c.IsCA {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	return writePEM(a.t, dir, "CERTIFICATE", der), writePEM(a.t, dir, "EC PRIVATE KEY", secret)
}

func writePEM(t *testing.T, dir, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, strings.ReplaceAll(kind, " ", "-")+".pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (a *authority) client(name string) (certFile, keyFile string) {
	return a.sign(x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// server starts an endpoint that has a certificate for names and asks for one of
// the clients' authority. It answers with the name of who asks.
func (a *authority) server(clients *authority, change func(*x509.Certificate, *tls.Config)) string {
	a.t.Helper()
	c := x509.Certificate{
		Subject: pkix.Name{CommonName: "service-a"}, DNSNames: []string{"localhost", "service-a.internal"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	pool := x509.NewCertPool()
	pool.AddCert(clients.cert)
	o := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	if change != nil {
		change(&c, o)
	}
	own, err := tls.LoadX509KeyPair(a.sign(c))
	if err != nil {
		a.t.Fatal(err)
	}
	o.Certificates = []tls.Certificate{own}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.TLS, s.Config.ErrorLog = o, log.New(io.Discard, "", 0)
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

func TestMutualTLS(t *testing.T) {
	ca, other := newAuthority(t, "CA"), newAuthority(t, "other CA")
	cert, key := ca.client("eventd")
	wrongCert, wrongKey := other.client("eventd")
	right := TLSOptions{CAFile: ca.file, CertFile: cert, KeyFile: key}
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate, *tls.Config)
		tls    TLSOptions
		detail string // of a RETRY network; "" for success
	}{
		{name: "right", tls: right},
		{name: "TLS 1.2", tls: right, change: func(_ *x509.Certificate, o *tls.Config) { o.MaxVersion = tls.VersionTLS12 }},
		{name: "another name", tls: TLSOptions{CAFile: ca.file, CertFile: cert, KeyFile: key, ServerName: "service-a.internal"}},
		{name: "wrong CA", tls: TLSOptions{CAFile: other.file, CertFile: cert, KeyFile: key}, detail: "certificate signed by unknown authority"},
		{name: "system's CAs", tls: TLSOptions{CertFile: cert, KeyFile: key}, detail: "certificate signed by unknown authority"},
		{name: "no certificate", tls: TLSOptions{CAFile: ca.file}, detail: "certificate required"},
		{
			name: "no certificate, TLS 1.2", tls: TLSOptions{CAFile: ca.file}, detail: "remote error: tls: ",
			change: func(_ *x509.Certificate, o *tls.Config) { o.MaxVersion = tls.VersionTLS12 },
		},
		{name: "certificate of another CA", tls: TLSOptions{CAFile: ca.file, CertFile: wrongCert, KeyFile: wrongKey}, detail: "remote error: tls: "},
		{name: "wrong name", tls: TLSOptions{CAFile: ca.file, CertFile: cert, KeyFile: key, ServerName: "service-b.internal"}, detail: "not service-b.internal"},
		{
			name: "expired", tls: right, detail: "certificate has expired",
			change: func(c *x509.Certificate, _ *tls.Config) {
				c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			},
		},
		{name: "old TLS", tls: right, detail: "protocol version", change: func(_ *x509.Certificate, o *tls.Config) {
			o.MinVersion, o.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := NewHTTP(HTTPOptions{URL: ca.server(ca, c.change), TLS: c.tls})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			for range 2 { // the second time over the connection that is there, or again
				a := h.Deliver(context.Background(), attempt("{}"))
				if c.detail == "" && (a.Outcome != event.Done || a.Detail != "hello eventd") {
					t.Fatalf("answer %+v; want success", a)
				}
				if c.detail != "" && (a.Outcome != event.Again || a.Reason != event.Network || !strings.Contains(a.Detail, c.detail)) {
					t.Fatalf("answer %+v; want RETRY network: %s", a, c.detail)
				}
			}
		})
	}
}

func TestTLSFilesThatCannotBeUsed(t *testing.T) {
	ca := newAuthority(t, "CA")
	cert, key := ca.client("eventd")
	_, otherKey := ca.client("other")
	old, oldKey := ca.sign(x509.Certificate{Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(86400, 0)})
	early, earlyKey := ca.sign(x509.Certificate{Subject: pkix.Name{CommonName: "early"}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)})
	broken := writePEM(t, t.TempDir(), "CERTIFICATE", []byte("no certificate"))
	both := filepath.Join(t.TempDir(), "both.pem")
	join(t, both, old, cert)
	now := time.Now()
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"right", CheckCertificate(cert, key, now), ""},
		{"of another key", CheckCertificate(cert, otherKey, now), "private key does not match public key"},
		{"no certificate", CheckCertificate(key, key, now), "certificate"},
		{"no key", CheckCertificate(cert, cert, now), "private key"},
		{"expired", CheckCertificate(old, oldKey, now), "the certificate of CN=old has expired: it was valid until 1970-01-02T00:00:00Z"},
		{"not yet valid", CheckCertificate(early, earlyKey, now), "the certificate of CN=early is not valid before "},
		{"absent", CheckCertificate("none", key, now), "no such file"},
		{"authorities", CheckAuthorities(ca.file, now), ""},
		{"one of two authorities has expired", CheckAuthorities(both, now), ""},
		{"expired authority", CheckAuthorities(old, now), "has expired"},
		{"no authority", CheckAuthorities(key, now), "there is no certificate in it"},
		{"broken authority", CheckAuthorities(broken, now), "certificate 1 cannot be read"},
	} {
		if c.want == "" && c.err != nil || c.want != "" && (c.err == nil || !strings.Contains(c.err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", c.name, c.err, c.want)
		}
	}
	for _, o := range []TLSOptions{{CAFile: key}, {CertFile: cert, KeyFile: otherKey}, {CAFile: "none"}} {
		if h, err := NewHTTP(HTTPOptions{URL: "https://127.0.0.1:1/", TLS: o}); err == nil {
			h.Close()
			t.Errorf("NewHTTP takes %+v", o)
		}
	}
}

// join writes files one after the other into another.
func join(t *testing.T, to string, files ...string) {
	t.Helper()
	var all []byte
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	if err := os.WriteFile(to, all, 0o600); err != nil {
		t.Fatal(err)
	}
}
