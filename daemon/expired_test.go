package daemon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/daemon"
)

// TestAnExpiredCertificateKeepsNoStartBack: it is told, and refused where the old
// configuration can go on.
func TestAnExpiredCertificateKeepsNoStartBack(t *testing.T) {
	const problem = "handlers.h.tls.ca_file: the certificate of CN=old has expired"
	file := routes("https://127.0.0.1:1")
	p := prepare(t, strings.Replace(file, "service: HANDLER,", "service: HANDLER, tls: {ca_file: ca.pem},", 1))
	p.put("ca.pem", expiredCertificate(t))
	if _, err := daemon.Load(p.file, os.LookupEnv); err == nil || !strings.Contains(err.Error(), problem) {
		t.Errorf("Load = %v; want %s", err, problem)
	}
	p.start()
	if !strings.Contains(p.log.String(), problem) {
		t.Errorf("the log does not say that %s:\n%s", problem, p.log)
	}
	if err := p.Reload(context.Background()); err == nil || !strings.Contains(err.Error(), problem) {
		t.Errorf("Reload = %v; want %s", err, problem)
	}
}

func expiredCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(86400, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
