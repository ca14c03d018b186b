package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// DeriveID returns an ID that depends on the parts alone, so that the same
// message met again is the same event. It has the form of a UUID, version 8
// (RFC 9562, section 5.8).
func DeriveID(parts ...string) string {
	var space [256]byte // mostly enough, and not of the heap
	b := space[:0]
	for _, p := range parts {
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(b, ':')
		b = append(b, p...)
	}
	u := sha256.Sum256(b)
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	text, from := space[:0], 0
	for _, to := range [...]int{4, 6, 8, 10, 16} {
		if from > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, u[from:to])
		from = to
	}
	return string(text)
}
