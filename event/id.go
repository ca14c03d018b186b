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
	h := sha256.New()
	for _, p := range parts {
		h.Write(strconv.AppendInt(nil, int64(len(p)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(p))
	}
	var u [16]byte
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
