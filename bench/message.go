package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// minSize is the room for a message without filler, in bytes.
const minSize = 160

// appendMessage adds the n-th message of a run: JSON of about the given size
// with an id that looks random, its number, and when it was meant to be sent
// (ns since 1970, 0 for what is not timed).
func appendMessage(b []byte, n int, at int64, size int) []byte {
	start := len(b)
	b = append(b, `{"event_id":"`...)
	b = appendID(b, n)
	b = append(b, `","message_type":"RQ_A_INIT","n":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, `,"at":`...)
	b = strconv.AppendInt(b, at, 10)
	b = append(b, `,"filler":"`...)
	return append(appendFiller(b, start+size-2, uint64(n)), `"}`...)
}

// appendFiller adds digits up to the given length. They differ from message to
// message, so that nobody gains by compressing what is the same.
func appendFiller(b []byte, length int, seed uint64) []byte {
	var raw [8]byte
	for len(b) < length {
		seed += 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint64(raw[:], mix(seed))
		b = hex.AppendEncode(b, raw[:min(8, (length-len(b)+1)/2)])
	}
	return b[:length]
}

// appendID adds the n-th id: a version 4 UUID, random as far as a store can see,
// and known from its number alone.
func appendID(b []byte, n int) []byte {
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], mix(uint64(n)+0x9e3779b97f4a7c15))
	binary.LittleEndian.PutUint64(raw[8:], mix(uint64(n)+0x3c6ef372fe94f82a))
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	for i, part := range [][]byte{raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// mix scrambles 64 bits without losing any (the last step of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// field returns the whole number that follows a key in JSON such as ours.
func field(body []byte, key string) (value int64, ok bool) {
	_, rest, ok := bytes.Cut(body, []byte(key))
	if !ok {
		return 0, false
	}
	for i, c := range rest {
		if c < '0' || c > '9' {
			return value, i > 0
		}
		value = value*10 + int64(c-'0')
	}
	return value, len(rest) > 0
}
