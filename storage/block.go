package storage

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// A block holds the records of consecutive events that were committed
// together, under the seq of the first. Compared with a key for each record it
// saves the keys and, for payloads of a quarter page or more, the unused ends
// of pages.
//
//	version 1 | count u32 | count × (end u32, crc32c u32) | records…
//
// end is where the record ends, counted from the start of the records. A record
// that retention took out has no bytes and, where the checksum stood, removedMark:
// no record without bytes has that checksum.
const blockVersion = 1

const (
	blockHeader = 5
	blockEntry  = 8
	removedMark = ^uint32(0)
	// maxBlock bounds an encoded block of several records. bbolt puts at least
	// two values into a page with its overflow, and copies the last of them with
	// every commit that adds one: larger blocks cost more to append to, smaller
	// ones leave more ends of pages unused. Two of this size, with what bbolt
	// puts around them, are just 32 KiB.
	maxBlock = 16<<10 - 32
)

// block collects records for one value.
type block struct {
	first   uint64
	records [][]byte
	size    int
	arena   *arena // for what is encoded; nil to keep it
}

func (b *block) add(seq uint64, record []byte) {
	if len(b.records) == 0 {
		b.first = seq
	}
	b.records = append(b.records, record)
	b.size += len(record)
}

// fits reports whether a record of n bytes may go into the same block.
func (b *block) fits(n int) bool {
	k := len(b.records)
	return k == 0 || blockHeader+blockEntry*(k+1)+b.size+n <= maxBlock
}

// record returns the record of an event that is still waiting to be written.
func (b *block) record(seq uint64) ([]byte, bool) {
	if seq < b.first || seq-b.first >= uint64(len(b.records)) {
		return nil, false
	}
	return b.records[seq-b.first], true
}

func (b *block) encode() []byte {
	head := blockHeader + blockEntry*len(b.records)
	out := b.arena.take(head + b.size)[:head]
	out[0] = blockVersion
	binary.LittleEndian.PutUint32(out[1:], uint32(len(b.records))) // bounded by maxBlock
	for i, r := range b.records {
		out = append(out, r...)
		e := out[blockHeader+blockEntry*i:]
		binary.LittleEndian.PutUint32(e, uint32(len(out)-head)) // bounded
		binary.LittleEndian.PutUint32(e[4:], checksum(r))
	}
	return out
}

// append adds a record, to a new block when the last one is full.
func (b *block) append(to *bolt.Bucket, seq uint64, record []byte) error {
	if !b.fits(len(record)) {
		if err := b.flush(to); err != nil {
			return err
		}
	}
	b.add(seq, record)
	return nil
}

// flush writes what was collected.
func (b *block) flush(to *bolt.Bucket) error {
	if len(b.records) == 0 {
		return nil
	}
	err := to.Put(key8(b.first), b.encode())
	clear(b.records)
	b.records, b.size = b.records[:0], 0
	return err
}

// blockCount returns the number of records in an encoded block.
func blockCount(v []byte) (uint64, error) {
	if len(v) < blockHeader || v[0] != blockVersion {
		return 0, errDamaged
	}
	n := uint64(binary.LittleEndian.Uint32(v[1:]))
	if uint64(len(v)) < blockHeader+blockEntry*n {
		return 0, errDamaged
	}
	return n, nil
}

// blockRecord returns the i-th record of an encoded block. It aliases v.
func blockRecord(v []byte, i uint64) ([]byte, error) {
	n, err := blockCount(v)
	if err != nil {
		return nil, errDamaged
	}
	if i >= n {
		return nil, errAbsent
	}
	var start uint64
	e := v[blockHeader+blockEntry*i:]
	if i > 0 {
		start = uint64(binary.LittleEndian.Uint32(v[blockHeader+blockEntry*(i-1):]))
	}
	end := uint64(binary.LittleEndian.Uint32(e))
	body := v[blockHeader+blockEntry*n:]
	if start > end || end > uint64(len(body)) {
		return nil, errDamaged
	}
	r := body[start:end]
	if len(r) == 0 && binary.LittleEndian.Uint32(e[4:]) == removedMark {
		return nil, errRemoved
	}
	if checksum(r) != binary.LittleEndian.Uint32(e[4:]) {
		return nil, errDamaged
	}
	return r, nil
}

// blockRemoved reports whether retention took the i-th record of a block, which
// has one.
func blockRemoved(v []byte, i int) bool {
	end, start := v[blockHeader+blockEntry*i:], uint32(0)
	if i > 0 {
		start = binary.LittleEndian.Uint32(v[blockHeader+blockEntry*(i-1):])
	}
	return binary.LittleEndian.Uint32(end) == start && binary.LittleEndian.Uint32(end[4:]) == removedMark
}

// blockWithout returns an encoded block without the records that are gone. left
// is how many records it still has, took how many it had before and has no more.
// What is damaged in it stays as it is.
func blockWithout(v []byte, gone func(i uint64) bool) (out []byte, left, took int, err error) {
	n, err := blockCount(v)
	if err != nil {
		return nil, 0, 0, err
	}
	head := blockHeader + blockEntry*n
	body := v[head:]
	out = append(make([]byte, 0, len(v)), v[:head]...)
	var start uint64
	for i := range n {
		e := out[blockHeader+blockEntry*i:]
		end := uint64(binary.LittleEndian.Uint32(e))
		if start > end || end > uint64(len(body)) {
			return nil, 0, 0, errDamaged
		}
		was := start == end && binary.LittleEndian.Uint32(e[4:]) == removedMark
		switch {
		case was:
		case gone(i):
			took++
			binary.LittleEndian.PutUint32(e[4:], removedMark)
		default:
			left++
			out = append(out, body[start:end]...)
		}
		binary.LittleEndian.PutUint32(e, uint32(uint64(len(out))-head)) // bounded as the block is
		start = end
	}
	return out, left, took, nil
}
