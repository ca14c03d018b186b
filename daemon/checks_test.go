package daemon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/daemon"
)

// put writes a file into the folder of the configuration.
func (p *product) put(name, content string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func checked(url string) string {
	return fmt.Sprintf(`
sources: {in: {subject: IN, schema: any.json}}
handlers: {h: {http: %q}}
routes: [{name: orders, message_type: ORDER, handler: h, schema: order.json}]
`, url)
}

const (
	anObject = `{"type": "object"}`
	anOrder  = `{"required": ["amount"], "properties": {"amount": {"type": "number"}}}`
)

func TestSchemas(t *testing.T) {
	url, calls := endpoint(t)
	p := prepare(t, checked(url))
	p.put("any.json", `{"required": ["event_id"]}`)
	p.put("order.json", anOrder)
	p.start()
	publish(t, p.nats, "IN", `{"message_type":"ORDER","amount":1}`, `{"event_id":"unfit","message_type":"ORDER","amount":"1"}`,
		`{"event_id":"fit","message_type":"ORDER","amount":1}`)
	p.await("fit", "COMPLETED")
	d := p.await("unfit", "ERROR")
	const flaw = "the payload does not fit the schema of route orders: /amount: got string, want number"
	if r := d.Rows[0]; r.Reason != "invalid" || r.Handler != "h" || r.Route != "orders" || d.Timeline[0].Detail != flaw {
		t.Errorf("%+v: %s; want invalid, %s", r, d.Timeline[0].Detail, flaw)
	}
	p.eventually(func() error {
		list, err := p.List(context.Background(), client.Query{Reason: "invalid", Status: "ERROR"})
		if err == nil && len(list.Events) != 2 {
			err = fmt.Errorf("%d invalid events; want 2", len(list.Events))
		}
		return err
	})
	if calls() != 1 {
		t.Errorf("%d calls; want 1", calls())
	}

	// A schema that changes is in force with the next reload, for what comes then.
	p.put("any.json", anObject)
	p.put("order.json", strings.Replace(anOrder, "number", "string", 1))
	if err := p.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	publish(t, p.nats, "IN", `{"event_id":"later","message_type":"ORDER","amount":"2"}`)
	p.await("later", "COMPLETED")
	p.await("unfit", "ERROR")
	if _, err := p.Redrive(context.Background(), "unfit", client.Which{}, wire.Redrive{}); err != nil {
		t.Fatal(err)
	}
	p.await("unfit", "COMPLETED")
}

// TestPostedEventThatDoesNotFit is taken, and stands as ERROR.
func TestPostedEventThatDoesNotFit(t *testing.T) {
	url, calls := endpoint(t)
	p := prepare(t, checked(url))
	p.put("any.json", anObject)
	p.put("order.json", anOrder)
	p.start()
	header := http.Header{"Content-Type": {"application/json"}}
	body := []byte(`{"event_id":"e1","message_type":"ORDER","payload":{}}`)
	if _, err := p.Post(context.Background(), header, body); err != nil {
		t.Fatal(err)
	}
	if r := p.await("e1", "ERROR").Rows[0]; r.Reason != "invalid" || calls() != 0 {
		t.Errorf("reason %s after %d calls; want invalid after none", r.Reason, calls())
	}
	list, err := p.Explain(context.Background(), 0, header, body)
	if err != nil {
		t.Fatal(err)
	}
	if e := list[0]; len(e.Handlers) != 0 || !e.Routes[0].Matched || !strings.HasSuffix(e.Routes[0].Flaw, "payload: missing property 'amount'") {
		t.Errorf("explained: %+v", e)
	}
}

// TestBadSchemasAreFoundByCheck: each with its place and reason, all at once.
func TestBadSchemasAreFoundByCheck(t *testing.T) {
	p := prepare(t, strings.Replace(checked("http://127.0.0.1:1"), "any.json", "none.json", 1))
	p.put("order.json", `{"$ref": "https://127.0.0.1/order.json"}`)
	_, err := daemon.Load(p.file, os.LookupEnv)
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("Load = %v; want problems", err)
	}
	text := strings.ReplaceAll(err.Error(), p.dir+"/", "")
	const want = "routes.yaml:8:37: sources.in.schema: cannot read the file: no such file or directory\n" +
		"routes.yaml:10:66: routes[0].schema: https://127.0.0.1/order.json: nothing is fetched: a $ref must lead to a file in the folder of the schema"
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// TestSignedMessages: what a topic handler signs, a source verifies. What is not
// signed is kept, but nothing that it says of itself is believed.
func TestSignedMessages(t *testing.T) {
	url, calls := endpoint(t)
	file := func(secret string) string {
		return fmt.Sprintf(`
sources:
  in: {subject: IN}
  back: {subject: OUT, table: response, verify: {secret_file: %s}}
handlers:
  out: {topic: OUT, format: structured, sign: {secret_file: keys}}
  h: {http: %q, sign: {secret_file: keys}}
routes:
  - {message_type: "*", table: inbound, handler: out}
  - {message_type: "*", table: response, handler: h}
`, secret, url)
	}
	p := prepare(t, file("public"))
	p.put("keys", "# being replaced\n"+oldSecret+"\n"+newSecret+"\n")
	p.put("public", newPublic+"\n")
	p.start()
	publish(t, p.nats, "OUT", `{"event_id":"e1","message_type":"RQ_A","forged":true}`) // the id of the one that comes
	publish(t, p.nats, "IN", `{"event_id":"e1","message_type":"RQ_A"}`)
	p.await("e1", "COMPLETED")
	p.eventually(func() error { return expect(calls(), 1) })

	list, err := p.List(context.Background(), client.Query{Reason: "invalid"})
	if err != nil || len(list.Events) != 1 {
		t.Fatalf("%d invalid events, %v; want 1", len(list.Events), err)
	}
	forged := p.await(list.Events[0].EventID, "ERROR")
	const want = "the signature is not right: not signed: no header webhook-id"
	if r := forged.Rows[0]; r.EventID == "e1" || r.MessageType != "" || forged.Timeline[0].Detail != want {
		t.Errorf("%+v: %s; want another id, no type, %s", r, forged.Timeline[0].Detail, want)
	}
	if _, err := p.Redrive(context.Background(), list.Events[0].EventID, client.Which{}, wire.Redrive{}); err == nil {
		t.Error("a message that is not signed is redriven to the routes")
	}

	// Another secret is in force with a reload.
	p.put("public", oldSecret)
	p.put("keys", newSecret)
	if err := p.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	publish(t, p.nats, "IN", `{"event_id":"e2","message_type":"RQ_A"}`)
	p.eventually(func() error {
		list, err := p.List(context.Background(), client.Query{Reason: "invalid"})
		return errors.Join(err, expect(len(list.Events), 2))
	})
	if calls() != 1 {
		t.Errorf("%d calls; want 1", calls())
	}
}

func expect(got, want int) error {
	if got != want {
		return fmt.Errorf("%d; want %d", got, want)
	}
	return nil
}

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
)

// newPublic is the public key of newSecret.
var newPublic = "whpk_" + base64.StdEncoding.EncodeToString(
	ed25519.NewKeyFromSeed([]byte("TESTSIGNINGKEYDONOTUSETHISFORANY")).Public().(ed25519.PublicKey))

// TestSecretsAreFoundByCheck: what cannot be used is told with its place, and
// nothing of it.
func TestSecretsAreFoundByCheck(t *testing.T) {
	p := prepare(t, `
sources: {in: {subject: IN, verify: {secret_file: empty}}}
handlers:
  a: {http: "http://127.0.0.1/", sign: {secret_file: public}}
  b: {http: "http://127.0.0.1/", sign: {secret_file: plain}}
routes: [{message_type: A, handlers: [a, b]}]
`)
	p.put("empty", "# nothing yet\n")
	p.put("public", newPublic)
	p.put("plain", "hunter2hunter2")
	_, err := daemon.Load(p.file, os.LookupEnv)
	if err == nil {
		t.Fatal("Load takes secrets that cannot be used")
	}
	const want = "routes.yaml:8:51: sources.in.verify.secret_file: there is no secret; one begins with whsec_, whsk_ or whpk_\n" +
		"routes.yaml:10:54: handlers.a.sign.secret_file: secret 1 is a public key (whpk_), which cannot sign; the private one begins with whsk_\n" +
		"routes.yaml:11:54: handlers.b.sign.secret_file: secret 1 does not begin with whsec_, whsk_ or whpk_"
	if text := strings.ReplaceAll(err.Error(), p.dir+"/", ""); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// TestTLSOfAHandlerChangesWithAReload: an endpoint that is not trusted makes a
// RETRY, until the right authority is in the file.
func TestTLSOfAHandlerChangesWithAReload(t *testing.T) {
	trusted, other := secureEndpoint(t), secureEndpoint(t)
	file := strings.Replace(routes(trusted.URL), "max_attempts: 5", "max_attempts: 1000", 1)
	p := prepare(t, strings.Replace(file, "service: HANDLER,", "service: HANDLER, tls: {ca_file: ca.pem},", 1))
	p.put("ca.pem", certificateOf(other))
	p.start()
	publish(t, p.nats, "IN", `{"event_id":"e1","message_type":"RQ_A"}`)
	p.eventually(func() error {
		d, err := p.Show(context.Background(), "e1")
		if err == nil && (d.Rows[0].Reason != "network" || !strings.Contains(d.Timeline[1].Detail, "certificate signed by unknown authority")) {
			err = fmt.Errorf("%s %s; want RETRY network", d.Rows[0].Status, d.Rows[0].Reason)
		}
		return err
	})
	p.put("ca.pem", "no certificate")
	if err := p.Reload(context.Background()); err == nil || !strings.Contains(err.Error(), "handlers.h.tls.ca_file: there is no certificate in it") {
		t.Errorf("reload with a file that is none: %v", err)
	}
	p.put("ca.pem", certificateOf(trusted))
	if err := p.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.await("e1", "COMPLETED")
}

// secureEndpoint answers over TLS, each with a certificate of its own.
func secureEndpoint(t *testing.T) *httptest.Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func certificateOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}
