package storage

import (
	"encoding/binary"
	"slices"
	"sort"
	"sync"

	"github.com/cespare/xxhash/v2"
	bolt "go.etcd.io/bbolt"
)

// Events are found by hashes of their event id and of their correlation id. A
// hash only says where to look: who looks compares the ids.
//
// While a segment is open its index is a map, rebuilt at start from the heads.
// Once it is full the index is sorted, written in one go in the order of its
// keys, and the map gives way to a filter.
func hashID(id []byte) uint64          { return xxhash.Sum64(id) }
func hashCorrelation(id []byte) uint64 { return xxhash.Sum64(id) ^ correlationSalt }

// correlationSalt keeps a correlation id apart from the same text as an event id.
const correlationSalt = 0x9e3779b97f4a7c15

// openIndex is the index of a segment that is not sealed.
type openIndex struct {
	mu    sync.RWMutex
	first map[uint64]uint32   // hash -> offset of the event in the segment
	more  map[uint64][]uint32 // the second and later ones with the same hash
}

func newOpenIndex() *openIndex {
	return &openIndex{first: make(map[uint64]uint32), more: make(map[uint64][]uint32)}
}

func (x *openIndex) add(hash uint64, offset uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, taken := x.first[hash]; taken {
		x.more[hash] = append(x.more[hash], offset)
		return
	}
	x.first[hash] = offset
}

// lookup appends the offsets for a hash, oldest first.
func (x *openIndex) lookup(hash uint64, to []uint32) []uint32 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if o, ok := x.first[hash]; ok {
		to = append(append(to, o), x.more[hash]...)
	}
	return to
}

func (x *openIndex) holds(hash uint64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.first[hash]
	return ok
}

// addHead adds both ids of an event.
func (x *openIndex) addHead(id, correlation []byte, offset uint32) {
	x.add(hashID(id), offset)
	if correlation != nil {
		x.add(hashCorrelation(correlation), offset)
	}
}

// idEntry is one line of a sealed index.
type idEntry struct {
	hash   uint64
	offset uint32
}

func (x *openIndex) sorted() []idEntry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	list := make([]idEntry, 0, len(x.first)+len(x.more))
	for h, o := range x.first {
		list = append(list, idEntry{h, o})
	}
	for h, more := range x.more {
		for _, o := range more {
			list = append(list, idEntry{h, o})
		}
	}
	slices.SortFunc(list, func(a, b idEntry) int {
		if a.hash != b.hash {
			if a.hash < b.hash {
				return -1
			}
			return 1
		}
		return int(a.offset) - int(b.offset)
	})
	return list
}

// A sealed index is cut into values of idsPerBlock entries of 12 bytes with a
// checksum in front, under the hash of the first: about one page each.
const (
	idsPerBlock = 320
	idSize      = 12
)

// sealedIndex is what is written of a full segment's index.
type sealedIndex struct {
	blocks [][]byte // in order; each begins with its key's eight bytes
	filter []byte
	hashes []uint64 // each once
}

func seal(entries []idEntry) (*sealedIndex, *filter, error) {
	s := &sealedIndex{}
	hashes := make([]uint64, 0, len(entries))
	for start := 0; start < len(entries); start += idsPerBlock {
		part := entries[start:min(start+idsPerBlock, len(entries))]
		b := make([]byte, 4, 4+idSize*len(part))
		for _, e := range part {
			b = binary.BigEndian.AppendUint64(b, e.hash)
			b = binary.BigEndian.AppendUint32(b, e.offset)
			hashes = append(hashes, e.hash)
		}
		binary.LittleEndian.PutUint32(b, checksum(b[4:]))
		s.blocks = append(s.blocks, b)
	}
	s.hashes = slices.Compact(hashes)
	f, written, err := makeFilter(s.hashes)
	s.filter = written
	return s, f, err
}

// size returns how many bytes are written of it.
func (s *sealedIndex) size() int {
	n := len(s.filter)
	for _, b := range s.blocks {
		n += len(b)
	}
	return n
}

func (s *sealedIndex) write(ids *bolt.Bucket) error {
	ids.FillPercent = 1
	for i, b := range s.blocks {
		// The same hash may begin two blocks: the number keeps the keys apart.
		key := binary.BigEndian.AppendUint32(slices.Clone(b[4:12]), uint32(i)) // few
		if err := ids.Put(key, b); err != nil {
			return err
		}
	}
	return nil
}

// lookupSealed appends the offsets for a hash in the sealed index of a segment,
// oldest first.
func lookupSealed(segment *bolt.Bucket, hash uint64, to []uint32) (_ []uint32, err error) {
	defer recoverDamage(&err)
	ids := segment.Bucket(bucketIDs)
	if ids == nil {
		return to, errDamaged
	}
	c := ids.Cursor()
	// The block before the first that begins with the hash may end with it.
	k, _ := c.Seek(key8(hash))
	var v []byte
	if k == nil {
		k, v = c.Last()
	} else if pk, pv := c.Prev(); pk != nil {
		k, v = pk, pv
	} else {
		k, v = c.First()
	}
	for ; k != nil; k, v = c.Next() {
		if len(k) == 12 && binary.BigEndian.Uint64(k) > hash {
			break
		}
		b, ok := idsOf(v)
		if len(k) != 12 || !ok {
			return to, errDamaged
		}
		to = lookupBlock(b, hash, to)
	}
	return to, nil
}

// idsOf returns the entries of a block of a sealed index, false when it is damaged.
func idsOf(v []byte) (entries []byte, ok bool) {
	if len(v) < 4 || (len(v)-4)%idSize != 0 || binary.LittleEndian.Uint32(v) != checksum(v[4:]) {
		return nil, false
	}
	return v[4:], true
}

func lookupBlock(b []byte, hash uint64, to []uint32) []uint32 {
	n := len(b) / idSize
	i := sort.Search(n, func(i int) bool { return binary.BigEndian.Uint64(b[i*idSize:]) >= hash })
	for ; i < n && binary.BigEndian.Uint64(b[i*idSize:]) == hash; i++ {
		to = append(to, binary.BigEndian.Uint32(b[i*idSize+8:]))
	}
	return to
}
