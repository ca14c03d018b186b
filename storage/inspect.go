package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
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
)

type fileMeta struct {
	pageSize       uint32
	root, freelist uint64
	pages, txid    uint64
}

// inspect looks at a file before bbolt maps it into memory: there a truncated
// file is a bus error and a zeroed page a panic. It changes nothing. A file
// that does not exist is fine.
func inspect(path string) error {
	f, err := os.Open(path) //nolint:gosec // the configured store
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer f.Close() //nolint:errcheck // read only
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file", ErrUnavailable, path)
	}
	if fi.Size() == 0 {
		return fmt.Errorf("%w: %s is empty; remove it to start with a new store", ErrCorrupt, path)
	}
	if err := inspectPages(f, fi.Size()); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return nil
}

func inspectPages(f io.ReaderAt, size int64) error {
	m, ok := newestMeta(f)
	if !ok {
		return errors.New("not an eventd store, or its first pages are damaged")
	}
	if need := int64(m.pages) * int64(m.pageSize); size < need { //nolint:gosec // checked meta
		return fmt.Errorf("truncated: %d bytes, of %d", size, need)
	}
	if m.freelist != noFreelist {
		if err := inspectPage(f, &m, m.freelist, flagFreelist); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	if err := inspectPage(f, &m, m.root, flagBranch|flagLeaf); err != nil {
		return fmt.Errorf("root page: %w", err)
	}
	return nil
}

func inspectPage(f io.ReaderAt, m *fileMeta, id uint64, flags uint16) error {
	if id < 2 || id >= m.pages {
		return fmt.Errorf("page %d is outside the file", id)
	}
	var b [pageHeader]byte
	if _, err := f.ReadAt(b[:], int64(id)*int64(m.pageSize)); err != nil { //nolint:gosec // inside the file
		return err
	}
	if binary.LittleEndian.Uint64(b[:]) != id || binary.LittleEndian.Uint16(b[8:])&flags == 0 {
		return fmt.Errorf("page %d is damaged", id)
	}
	return nil
}

// newestMeta returns the valid meta page with the highest transaction id. The
// second one lies a page behind the first, whose size only a meta page tells:
// when the first is damaged the usual sizes are tried.
func newestMeta(f io.ReaderAt) (best fileMeta, ok bool) {
	if m, valid := readMeta(f, 0); valid {
		best, ok = m, true
	}
	sizes := []int64{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}
	if ok {
		sizes = []int64{int64(best.pageSize)}
	}
	for _, at := range sizes {
		if m, valid := readMeta(f, at); valid && int64(m.pageSize) == at && (!ok || m.txid > best.txid) {
			best, ok = m, true
		}
	}
	return best, ok
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
