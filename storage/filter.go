package storage

import (
	"bytes"
	"encoding/binary"

	"github.com/FastFilter/xorfilter"
	bolt "go.etcd.io/bbolt"
)

// filter says which ids a sealed segment may have. One of sixteen bits is wrong for one
// id in 65,536, and takes some 18 bits for each that is there: an id is looked for in
// all segments, and where a filter is wrong a page of the index is read in vain.
type filter struct {
	wide   *xorfilter.BinaryFuse[uint16]
	narrow *xorfilter.BinaryFuse[uint8] // of segments that were sealed when there were eight bits; else nil
}

// Contains reports whether an id may be there.
func (f *filter) Contains(hash uint64) bool {
	if f.narrow != nil {
		return f.narrow.Contains(hash)
	}
	return f.wide.Contains(hash)
}

// slots returns how many fingerprints there are: a few more than ids.
func (f *filter) slots() int {
	if f.narrow != nil {
		return len(f.narrow.Fingerprints)
	}
	return len(f.wide.Fingerprints)
}

// makeFilter returns a filter of hashes that differ, and what is written of it.
func makeFilter(hashes []uint64) (*filter, []byte, error) {
	wide, err := xorfilter.NewBinaryFuse[uint16](hashes)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	if err := wide.Save(&b); err != nil {
		return nil, nil, err
	}
	return &filter{wide: wide}, append(binary.LittleEndian.AppendUint32(nil, checksum(b.Bytes())), b.Bytes()...), nil
}

// readFilter reads the filter of a segment.
func readFilter(b *bolt.Bucket) (*filter, error) {
	if v := b.Get(keyNarrow); v != nil {
		narrow, err := loadFuse[uint8](v)
		return &filter{narrow: narrow}, err
	}
	return loadFilter(b.Get(keyFilter))
}

func loadFilter(v []byte) (*filter, error) {
	wide, err := loadFuse[uint16](v)
	return &filter{wide: wide}, err
}

func loadFuse[T xorfilter.Unsigned](v []byte) (*xorfilter.BinaryFuse[T], error) {
	if len(v) < 4 || binary.LittleEndian.Uint32(v) != checksum(v[4:]) {
		return nil, errDamaged
	}
	return xorfilter.LoadBinaryFuse[T](bytes.NewReader(v[4:]))
}
