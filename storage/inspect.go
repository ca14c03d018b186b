package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The parts of bbolt's file format that inspect looks at: a 16 byte page
// header (id u64, flags u16, count u16, overflow u32), two meta pages, and in
// each of them 64 bytes of meta (see bbolt's internal/common/meta.go).
const (
	pageHeader = 16
	metaSize   = 64
	boltMagic  = 0xED0CDAED
	boltFormat = 2

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	noFreelist   = ^uint64(0)
	manyFree     = 0xFFFF // the count of a free list whose first entry is the count
)

type fileMeta struct {
	pageSize       uint32
	root, freelist uint64
	pages, txid    uint64
}

// pageInfo is the header of a page.
type pageInfo struct {
	count    uint16
	overflow uint32
}

// inspect looks at a file before bbolt maps it for writing: there a truncated
// file is a bus error, a zeroed page a panic, and a damaged list of free pages
// the end of pages in use. It changes nothing.
//
// It looks while it holds bbolt's lock for readers: the pages of a file that
// another process writes to are not what they will be a moment later. And it
// asks whose file it is: bbolt changes some files when it opens them for writing.
//
// whole is false when one of the two meta pages is damaged. The other one is
// used then, and if it is the older the last commit is gone.
func inspect(path string, wait time.Duration) (whole bool, err error) {
	if err := inspectName(path); err != nil {
		return false, err
	}
	locked, f, err := openFile(path, &bolt.Options{Timeout: wait, ReadOnly: true})
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			return false, fmt.Errorf("%w (not an eventd store, or its first pages are damaged)", err)
		}
		return false, err
	}
	defer locked.Close() // read only
	m, whole, err := inspectPages(f)
	if err != nil {
		return false, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	if err := identify(locked); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	if m.freelist == noFreelist {
		return false, fmt.Errorf("%w: %s: no list of free pages: it was not written by eventd", ErrCorrupt, path)
	}
	return whole, nil
}

// inspectName looks at what can be seen without opening the file.
func inspectName(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrUnavailable, path)
	case fi.Size() == 0:
		return fmt.Errorf("%w: %s is empty; remove it to start with a new store", ErrCorrupt, path)
	}
	return nil
}

// identify checks that the file is ours and of a schema this program knows.
func identify(b *bolt.DB) (err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return b.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil || string(meta.Get(keyApplication)) != application {
			return fmt.Errorf("%w: a bbolt file of another application", ErrCorrupt)
		}
		v := meta.Get(keySchema)
		if len(v) != 8 || binary.BigEndian.Uint64(v) == 0 {
			return fmt.Errorf("%w: it does not say its schema", ErrCorrupt)
		}
		if n := binary.BigEndian.Uint64(v); n > Schema {
			return fmt.Errorf("%w: schema %d, this program knows up to %d", ErrNewer, n, Schema)
		}
		return nil
	})
}

// file is what inspectPages needs of one.
type file interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

func inspectPages(f file) (m fileMeta, whole bool, err error) {
	m, valid := newestMeta(f)
	if valid == 0 || m.pageSize == 0 {
		return m, false, errors.New("not an eventd store, or its first pages are damaged")
	}
	fi, err := f.Stat()
	if err != nil {
		return m, false, err
	}
	if size := uint64(fi.Size()); size/uint64(m.pageSize) < m.pages { // not negative
		return m, false, fmt.Errorf("truncated: %d bytes, of %d", size, m.pages*uint64(m.pageSize))
	}
	if _, err := inspectPage(f, &m, m.root, flagBranch|flagLeaf); err != nil {
		return m, false, fmt.Errorf("root page: %w", err)
	}
	if err := inspectRoots(f, &m); err != nil {
		return m, false, err
	}
	if m.freelist == noFreelist {
		return m, valid == 2, nil
	}
	if err := inspectFreelist(f, &m); err != nil {
		return m, false, fmt.Errorf("list of free pages: %w", err)
	}
	return m, valid == 2, nil
}

// inspectRoots walks the pages that bbolt has to walk to find out what the file
// is: it would follow one that leads back to itself for ever.
func inspectRoots(f file, m *fileMeta) error {
	t := &tree{
		ctx: context.Background(), f: f, meta: *m,
		follow: func(path [][]byte) bool {
			return len(path) == 1 && slices.ContainsFunc([][]byte{bucketMeta, bucketNames, bucketSegments},
				func(name []byte) bool { return bytes.Equal(name, path[0]) })
		},
		bucket: func([][]byte, uint64) error { return nil },
		entry:  func([][]byte, []byte, []byte) error { return nil },
		damage: func(path [][]byte, what string) error {
			if len(path) == 0 {
				return fmt.Errorf("root: %s", what)
			}
			return fmt.Errorf("bucket %s: %s", pathName(path), what)
		},
	}
	return t.walk()
}

func inspectPage(f io.ReaderAt, m *fileMeta, id uint64, flags uint16) (p pageInfo, err error) {
	if id < 2 || id >= m.pages {
		return p, fmt.Errorf("page %d is outside the file", id)
	}
	var b [pageHeader]byte
	if _, err := f.ReadAt(b[:], int64(id)*int64(m.pageSize)); err != nil { // inside the file
		return p, err
	}
	p = pageInfo{count: binary.LittleEndian.Uint16(b[10:]), overflow: binary.LittleEndian.Uint32(b[12:])}
	if binary.LittleEndian.Uint64(b[:]) != id || binary.LittleEndian.Uint16(b[8:])&flags == 0 ||
		uint64(p.overflow) >= m.pages-id {
		return p, fmt.Errorf("page %d is damaged", id)
	}
	return p, nil
}

// inspectFreelist checks that the list could be one: it has no checksum, and
// bbolt overwrites whatever page it names.
func inspectFreelist(f io.ReaderAt, m *fileMeta) error {
	p, err := inspectPage(f, m, m.freelist, flagFreelist)
	if err != nil {
		return err
	}
	b := make([]byte, (uint64(p.overflow)+1)*uint64(m.pageSize)-pageHeader)
	if _, err := f.ReadAt(b, int64(m.freelist)*int64(m.pageSize)+pageHeader); err != nil { // inside the file
		return err
	}
	n := uint64(p.count)
	if n == manyFree {
		n, b = binary.LittleEndian.Uint64(b), b[8:]
	}
	if n > uint64(len(b))/8 {
		return fmt.Errorf("page %d is damaged", m.freelist)
	}
	last := uint64(1) // pages 0 and 1 are never free
	for i := range n {
		id := binary.LittleEndian.Uint64(b[8*i:])
		if id <= last || id >= m.pages || id == m.root || id == m.freelist {
			return fmt.Errorf("page %d is damaged", m.freelist)
		}
		last = id
	}
	return nil
}

// newestMeta returns the valid meta page with the highest transaction id, and
// how many of the two are valid. The second one lies a page behind the first,
// whose size only a meta page tells: when the first is damaged the usual sizes
// are tried.
func newestMeta(f io.ReaderAt) (best fileMeta, valid int) {
	sizes := []int64{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}
	if m, ok := readMeta(f, 0); ok {
		best, valid, sizes = m, 1, []int64{int64(m.pageSize)}
	}
	for _, at := range sizes {
		m, ok := readMeta(f, at)
		if !ok || int64(m.pageSize) != at {
			continue
		}
		if valid++; valid == 1 || m.txid > best.txid {
			best = m
		}
	}
	return best, valid
}

func readMeta(f io.ReaderAt, at int64) (m fileMeta, ok bool) {
	var b [metaSize]byte
	if _, err := f.ReadAt(b[:], at+pageHeader); err != nil {
		return m, false
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	le := binary.LittleEndian
	if le.Uint32(b[:]) != boltMagic || le.Uint32(b[4:]) != boltFormat || le.Uint64(b[56:]) != sum.Sum64() {
		return m, false
	}
	return fileMeta{
		pageSize: le.Uint32(b[8:]), root: le.Uint64(b[16:]),
		freelist: le.Uint64(b[32:]), pages: le.Uint64(b[40:]), txid: le.Uint64(b[48:]),
	}, true
}
