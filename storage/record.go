package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// errDamaged is what every decoder returns for bytes that are not what was written.
var errDamaged = errors.New("damaged record")

// errAbsent is what reading a record gives where no block reaches.
var errAbsent = fmt.Errorf("%w: it is not there", errDamaged)

// errRemoved is what reading a record gives that retention took out.
var errRemoved = errors.New("removed by retention")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// reader takes fields off the front of a record. The first field that is not
// there sets bad, and everything after it reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int {
	v := r.uint()
	if v > math.MaxInt {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// bytes returns the next length-prefixed field. It aliases the record.
func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	f := r.b[:n]
	r.b = r.b[n:]
	return f
}

func (r *reader) string() string { return string(r.bytes()) }

// time returns the next point in time, kept as microseconds after base.
func (r *reader) time(base time.Time) time.Time {
	v := r.uint()
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(base.UnixMicro() + unzigzag(v-1)).UTC()
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b, field []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}

func appendInt(b []byte, n int) []byte {
	return binary.AppendUvarint(b, uint64(max(n, 0))) // not negative
}

// appendTime writes a point in time as microseconds after base; the zero time
// as 0. It counts in microseconds, not in a [time.Duration], which ends after
// 292 years and rounds the other way before base: what is read must be exactly
// what the key of the due index was made of.
func appendTime(b []byte, t, base time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, zigzag(t.UnixMicro()-base.UnixMicro())+1)
}

func zigzag(n int64) uint64          { return uint64(n)<<1 ^ uint64(n>>63) }    // bit pattern
func unzigzag(u uint64) int64        { return int64(u>>1) ^ -int64(u&1) }       // bit pattern
func micros(t time.Time) uint64      { return uint64(t.UnixMicro()) }           // after 1970
func fromMicros(us uint64) time.Time { return time.UnixMicro(int64(us)).UTC() } // written by micros

func key8(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), n) }

// deliveryKey is the key of one delivery of an event.
func deliveryKey(seq uint64, delivery int) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 10), seq)
	return binary.BigEndian.AppendUint16(b, uint16(delivery)) // at most MaxDeliveries
}

// seqOfDelivery returns the event that such a key belongs to.
func seqOfDelivery(k []byte) (seq uint64, ok bool) {
	if len(k) != 10 {
		return 0, false
	}
	return binary.BigEndian.Uint64(k), true
}
