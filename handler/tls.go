package handler

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// TLSOptions say how the certificate of an https endpoint is checked, and with
// which own certificate it is answered. They name files in PEM, which are read
// once. The zero value leaves all to the system.
type TLSOptions struct {
	CAFile            string // authorities to trust instead of the system's
	CertFile, KeyFile string // own certificate; both or none
	ServerName        string // that the endpoint's certificate must be for; "" for the host of the URL
}

// config returns what connections to a host are made with.
func (o *TLSOptions) config(host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if o.ServerName != "" {
		c.ServerName = o.ServerName
	}
	if o.CAFile != "" {
		authorities, err := readCertificates(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		for _, a := range authorities {
			c.RootCAs.AddCert(a)
		}
	}
	if o.CertFile != "" {
		own, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("own certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// CheckAuthorities returns what is wrong with a file of authorities; nil for
// nothing. One that is still valid is enough.
func CheckAuthorities(file string, now time.Time) error {
	list, err := readCertificates(file)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err = validity(c, now); err == nil {
			return nil
		}
	}
	return err
}

// CheckCertificate returns what is wrong with an own certificate and its key;
// nil for nothing.
func CheckCertificate(certFile, keyFile string, now time.Time) error {
	own, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	return validity(own.Leaf, now)
}

// ErrNotValidNow says that a certificate has expired, or is not valid yet: time alone
// makes it so.
var ErrNotValidNow = errors.New("the certificate is not valid now")

// notValidNow says which, and until or from when.
type notValidNow string

func (e notValidNow) Error() string        { return string(e) }
func (e notValidNow) Is(target error) bool { return target == ErrNotValidNow }

func validity(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return notValidNow("the certificate of " + subject(c) + " has expired: it was valid until " + c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return notValidNow("the certificate of " + subject(c) + " is not valid before " + c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

func subject(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return s
	}
	return "serial number " + c.SerialNumber.String()
}

// readCertificates returns the certificates in a PEM file, of which there is one
// at least. The system's own reader passes over those that it cannot read.
func readCertificates(file string) (list []*x509.Certificate, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no certificate in it, as PEM has it")
	}
	return list, nil
}
