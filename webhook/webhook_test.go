package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the specification's own libraries are tested with.
const (
	vectorShared  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorPrivate = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
	vectorID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime    = 1614265330
	vectorBody    = `{"test": 2432232314}`
	vectorV1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	vectorV1a     = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
	wrongV1       = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
)

var (
	then       = time.Unix(vectorTime, 0)
	vectorPair = must(parse(vectorPrivate)).(private)
	publicKey  = "whpk_" + base64.StdEncoding.EncodeToString(vectorPair.public)
	wholePair  = "whsk_" + base64.StdEncoding.EncodeToString(vectorPair.secret)
	otherKey   = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func signed(signature string) map[string][]string {
	return map[string][]string{
		"Webhook-Id": {vectorID}, "Webhook-Timestamp": {fmt.Sprint(vectorTime)}, "Webhook-Signature": {signature},
	}
}

func TestPublishedVectors(t *testing.T) {
	for _, c := range []struct {
		secrets []string
		want    string
	}{
		{[]string{vectorShared}, vectorV1},
		{[]string{vectorPrivate}, vectorV1a},
		{[]string{wholePair}, vectorV1a},
		{[]string{vectorShared, vectorPrivate}, vectorV1 + " " + vectorV1a},
	} {
		if got := must(NewSigner(c.secrets...)).Sign(vectorID, then, []byte(vectorBody)); got != c.want {
			t.Errorf("%d secrets: signature %s; want %s", len(c.secrets), got, c.want)
		}
	}
}

func TestVerify(t *testing.T) {
	twice := signed(vectorV1)
	twice["webhook-id"] = []string{"other"}
	several := signed(vectorV1)
	several["Webhook-Signature"] = []string{vectorV1, wrongV1}
	lower := map[string][]string{HeaderID: {vectorID}, HeaderTimestamp: {fmt.Sprint(vectorTime)}, HeaderSignature: {vectorV1}}
	without := func(name string) map[string][]string { h := signed(vectorV1); delete(h, name); return h }
	with := func(name, value string) map[string][]string {
		h := signed(vectorV1)
		h[name] = []string{value}
		return h
	}
	dotted := with("Webhook-Id", "a.b")
	dotted["Webhook-Signature"] = []string{must(NewSigner(vectorShared)).Sign("a.b", then, []byte(vectorBody))}
	for _, c := range []struct {
		name    string
		header  map[string][]string
		secrets []string
		err     error // nil: any when text is given
		text    string
	}{
		{name: "v1", header: signed(vectorV1), secrets: []string{vectorShared}},
		{name: "lower case", header: lower, secrets: []string{vectorShared}},
		{name: "v1a by the public key", header: signed(vectorV1a), secrets: []string{publicKey}},
		{name: "v1a by the private key", header: signed(vectorV1a), secrets: []string{vectorPrivate}},
		{name: "second secret of two", header: signed(vectorV1), secrets: []string{otherKey, vectorShared}},
		{name: "one signature of several", header: signed(wrongV1 + " v2,AAAA x " + wrongV1 + "  " + vectorV1), secrets: []string{vectorShared}},
		{name: "both schemes", header: signed(vectorV1 + " " + vectorV1a), secrets: []string{publicKey, otherKey}},
		{name: "another secret", header: signed(vectorV1), secrets: []string{otherKey}, err: ErrSignature},
		{name: "another scheme", header: signed("v1a" + strings.TrimPrefix(vectorV1, "v1")), secrets: []string{vectorShared, publicKey}, err: ErrSignature},
		{name: "v1a with a shared secret", header: signed("v1" + strings.TrimPrefix(vectorV1a, "v1a")), secrets: []string{vectorShared, publicKey}, err: ErrSignature},
		{name: "partial", header: signed("v1,"), secrets: []string{vectorShared}, err: ErrSignature},
		{name: "cut", header: signed(vectorV1[:20]), secrets: []string{vectorShared}, err: ErrSignature},
		{name: "no scheme", header: signed(strings.TrimPrefix(vectorV1, "v1,")), secrets: []string{vectorShared}, err: ErrSignature},
		{name: "too many signatures before it", header: signed(strings.Repeat(wrongV1+" ", maxSignatures) + vectorV1), secrets: []string{vectorShared}, err: ErrSignature},
		{name: "another id", header: with("Webhook-Id", "msg_other"), secrets: []string{vectorShared}, err: ErrSignature},
		{name: "another time", header: with("Webhook-Timestamp", fmt.Sprint(vectorTime+1)), secrets: []string{vectorShared}, err: ErrSignature},
		{name: "no id", header: without("Webhook-Id"), secrets: []string{vectorShared}, err: ErrUnsigned},
		{name: "no timestamp", header: without("Webhook-Timestamp"), secrets: []string{vectorShared}, err: ErrUnsigned},
		{name: "no signature", header: without("Webhook-Signature"), secrets: []string{vectorShared}, err: ErrUnsigned},
		{name: "empty", header: signed(""), secrets: []string{vectorShared}, err: ErrUnsigned},
		{name: "no number", header: with("Webhook-Timestamp", "now"), secrets: []string{vectorShared}, text: "no number of seconds"},
		{name: "odd number", header: with("Webhook-Timestamp", fmt.Sprintf("+%d", vectorTime)), secrets: []string{vectorShared}, text: "no number of seconds"},
		{name: "id in two headers", header: twice, secrets: []string{vectorShared}, text: "webhook-id is there twice"},
		{name: "two signature headers", header: several, secrets: []string{vectorShared}, text: "webhook-signature is there twice"},
		{name: "dot in the id", header: dotted, secrets: []string{vectorShared}, text: "has a dot"},
	} {
		err := must(NewVerifier(c.secrets...)).VerifyAt(c.header, []byte(vectorBody), then, 0)
		switch {
		case c.text != "":
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v; want %s", c.name, err, c.text)
			}
		case !errors.Is(err, c.err):
			t.Errorf("%s: %v; want %v", c.name, err, c.err)
		}
	}
	if err := must(NewVerifier(vectorShared)).VerifyAt(signed(vectorV1), []byte(vectorBody+" "), then, 0); !errors.Is(err, ErrSignature) {
		t.Errorf("another body: %v; want ErrSignature", err)
	}
}

// TestShiftedParts: what is signed has no lengths in it, so that its parts could
// be cut elsewhere, if an id could have a dot.
func TestShiftedParts(t *testing.T) {
	body := fmt.Sprintf("%d.evil", vectorTime)
	signature := must(NewSigner(vectorShared)).Sign("x", time.Unix(100, 0), []byte(body))
	header := map[string][]string{HeaderID: {"x.100"}, HeaderTimestamp: {fmt.Sprint(vectorTime)}, HeaderSignature: {signature}}
	if err := must(NewVerifier(vectorShared)).VerifyAt(header, []byte("evil"), then, 0); err == nil {
		t.Error("a signature of other parts is taken")
	}
}

func TestTolerance(t *testing.T) {
	v := must(NewVerifier(vectorShared))
	for _, c := range []struct {
		away      time.Duration // of the arrival, from the timestamp
		tolerance time.Duration
		want      error
	}{
		{0, 0, nil},
		{DefaultTolerance, 0, nil},
		{DefaultTolerance + 2*time.Second, 0, ErrTime},
		{-DefaultTolerance, 0, nil},
		{-DefaultTolerance - time.Second, 0, ErrTime},
		{time.Hour, 2 * time.Hour, nil},
		{900 * time.Millisecond, time.Nanosecond, nil},
		{10 * time.Second, time.Second, ErrTime},
	} {
		if err := v.VerifyAt(signed(vectorV1), []byte(vectorBody), then.Add(c.away), c.tolerance); !errors.Is(err, c.want) {
			t.Errorf("%v away, tolerance %v: %v; want %v", c.away, c.tolerance, err, c.want)
		}
	}
	if err := Verify(signed(vectorV1), []byte(vectorBody), []string{vectorShared}, 0); !errors.Is(err, ErrTime) {
		t.Errorf("years later: %v; want ErrTime", err)
	}
	header := map[string][]string{HeaderID: {"x"}, HeaderTimestamp: {Timestamp(time.Now())}}
	header[HeaderSignature] = []string{must(NewSigner(vectorPrivate)).Sign("x", time.Now(), nil)}
	if err := Verify(header, nil, []string{publicKey}, time.Minute); err != nil {
		t.Errorf("now: %v", err)
	}
}

// TestSecretsThatCannotBeUsed: the error says which and why, and nothing of it.
func TestSecretsThatCannotBeUsed(t *testing.T) {
	encode := func(n int) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("Z", n))) }
	mismatch := "whsk_" + base64.StdEncoding.EncodeToString(append([]byte(strings.Repeat("Z", 32)), vectorPair.public...))
	for _, c := range []struct {
		secrets []string
		want    string
	}{
		{nil, "there is no secret"},
		{[]string{vectorShared, "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy"}, "secret 2 does not begin with whsec_, whsk_ or whpk_"},
		{[]string{"whsec_Zm9v*"}, "secret 1 is not in base64"},
		{[]string{"whsec_" + encode(23)}, "secret 1 has 23 bytes; a shared secret has 24 to 64"},
		{[]string{"whsec_" + encode(65)}, "secret 1 has 65 bytes"},
		{[]string{"whsk_" + encode(33)}, "secret 1 has 33 bytes; a private key has 32, or 64 with the public one"},
		{[]string{"whpk_" + encode(31)}, "secret 1 has 31 bytes; a public key has 32"},
		{[]string{mismatch}, "secret 1 has a public key that is not that of its private key"},
		{strings.Fields(strings.Repeat(vectorShared+" ", maxSecrets+1)), "there are 9 secrets, at most 8 are taken"},
	} {
		_, err := NewVerifier(c.secrets...)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "Z") {
			t.Errorf("got %v; want %s", err, c.want)
		}
	}
	if _, err := NewSigner(vectorShared, publicKey); err == nil || !strings.HasPrefix(err.Error(), "secret 2 is a public key") {
		t.Errorf("signing with a public key: %v", err)
	}
}

func TestSecretsOfAFile(t *testing.T) {
	got := Secrets("# since May\n" + vectorShared + "\r\n\n  " + publicKey + "  \n# end")
	if len(got) != 2 || got[0] != vectorShared || got[1] != publicKey {
		t.Errorf("Secrets = %q", got)
	}
}

// FuzzVerify: headers of any kind bring nothing down and are not taken.
func FuzzVerify(f *testing.F) {
	f.Add(vectorID, "1614265330", vectorV1a, []byte("x"))
	f.Add("", "-1", "v1, v1a,", []byte(nil))
	v := must(NewVerifier(vectorShared, publicKey))
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		header := map[string][]string{HeaderID: {id}, HeaderTimestamp: {timestamp}, HeaderSignature: {signature}}
		if err := v.VerifyAt(header, body, then, 0); err == nil && (id != vectorID || string(body) != vectorBody) {
			t.Errorf("taken: %q %q %q %q", id, timestamp, signature, body)
		}
	})
}
