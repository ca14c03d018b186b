package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/event"
)

// Backup hands out what the test has put there.
func (f *fake) Backup(context.Context) (*event.Backup, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.open.Add(1)
	b := &event.Backup{ReadCloser: &closing{Reader: bytes.NewReader(f.backup), f: f}, Size: int64(len(f.backup)), SHA256: sha256.Sum256(f.backup)}
	if f.harm != nil {
		f.harm(b)
	}
	return b, nil
}

type closing struct {
	io.Reader
	f *fake
}

func (c *closing) Close() error { c.f.open.Add(-1); return nil }

func TestBackup(t *testing.T) {
	f := newFake()
	f.backup = bytes.Repeat([]byte("eventd"), 100_000)
	w := ask(serve(f), "GET", "/v1/backup", "")
	sum := sha256.Sum256(f.backup)
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Length": strconv.Itoa(len(f.backup)),
		"Content-Digest": "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q; want %q", name, got, want)
		}
	}
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), f.backup) || f.open.Load() != 0 {
		t.Errorf("%d, %d bytes, %d left open; want 200 and all of it, closed", w.Code, w.Body.Len(), f.open.Load())
	}
}

func TestBackupThatCannotBe(t *testing.T) {
	f := newFake()
	h := serve(f)
	for status, err := range map[int]error{
		409: fmt.Errorf("another backup is being taken: %w", event.ErrConflict),
		503: fmt.Errorf("no room: %w", event.ErrUnavailable), 500: errDisk,
	} {
		f.err = err
		wantProblem(t, ask(h, "GET", "/v1/backup", ""), status, err.Error())
	}
}

// TestClientOfABackup gets it through a real server, and is told when it is not
// whole.
func TestClientOfABackup(t *testing.T) {
	f := newFake()
	f.backup = bytes.Repeat([]byte("eventd"), 100_000)
	srv := httptest.NewServer(serve(f))
	defer srv.Close()
	c, err := client.New(srv.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	told := int64(0)
	n, err := c.Backup(context.Background(), &out, func(done, total int64) {
		if told = done; total != int64(len(f.backup)) {
			t.Errorf("total = %d; want %d", total, len(f.backup))
		}
	})
	if err != nil || n != int64(len(f.backup)) || told != n || !bytes.Equal(out.Bytes(), f.backup) {
		t.Errorf("Backup = %d, %v; want %d bytes as they are", n, err, len(f.backup))
	}
	for name, harm := range map[string]func(*event.Backup){
		"a byte is another": func(b *event.Backup) { b.SHA256[3]++ },
		"it is cut short":   func(b *event.Backup) { b.Size += 100 },
		"it breaks off": func(b *event.Backup) {
			b.ReadCloser = &closing{Reader: io.MultiReader(bytes.NewReader(f.backup[:300_000]), breaking{}), f: f}
		},
	} {
		f.harm = harm
		if n, err := c.Backup(context.Background(), io.Discard, nil); err == nil {
			t.Errorf("%s: %d bytes and no error", name, n)
		}
	}
	f.harm, f.err = nil, event.ErrConflict
	if _, err := c.Backup(context.Background(), io.Discard, nil); err == nil {
		t.Error("a conflict is no error")
	}
	srv.Close() // ends when the last request has
	if n := f.open.Load(); n != 0 {
		t.Errorf("%d backups were left open", n)
	}
}

// TestClientWantsADigest: some other server in between may have taken it away.
func TestClientWantsADigest(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("all")) }))
	defer srv.Close()
	c, err := client.New(srv.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Backup(context.Background(), io.Discard, nil); err == nil {
		t.Error("a backup without digest is taken")
	}
}

type breaking struct{}

func (breaking) Read([]byte) (int, error) { return 0, errDisk }
