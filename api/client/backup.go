package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Backup has the daemon take a backup of its store, writes it to w and returns
// how many bytes it has. They are compared with the digest that the daemon sent;
// after an error what was written is no backup. It takes as long as it takes:
// the client's timeout is not for it, ctx is. progress may be nil.
func (c *Client) Backup(ctx context.Context, w io.Writer, progress func(done, total int64)) (int64, error) {
	q := request{method: http.MethodGet, path: "/v1/backup", header: http.Header{"Accept": {"application/octet-stream"}}}
	req, err := c.build(ctx, q)
	if err != nil {
		return 0, err
	}
	patient := c.http
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return 0, err
		}
		return 0, errorOf(resp, body)
	}
	want, err := digest(resp.Header.Get("Content-Digest"))
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	in := &told{r: resp.Body, total: resp.ContentLength, progress: progress}
	n, err := io.Copy(io.MultiWriter(w, sum), in)
	if err != nil {
		return n, fmt.Errorf("backup: %w", err)
	}
	if string(sum.Sum(nil)) != string(want) {
		return n, errors.New("backup: what arrived is not what was sent: its digest is another")
	}
	return n, nil
}

// digest reads a Content-Digest, RFC 9530.
func digest(header string) ([]byte, error) {
	for part := range strings.SplitSeq(header, ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(part), "sha-256=:")
		if !ok {
			continue
		}
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, ":")); err == nil {
			return b, nil
		}
	}
	return nil, errors.New("backup: the answer has no Content-Digest: is that eventd's API?")
}

// told tells how much of it was read.
type told struct {
	r           io.Reader
	done, total int64
	progress    func(done, total int64)
}

// Read implements [io.Reader].
func (t *told) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.done += int64(n)
	if t.progress != nil {
		t.progress(t.done, t.total)
	}
	return n, err
}
