package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The parts of bbolt's pages that a tree reads: elements of 16 bytes behind the
// header of a page, in a branch (pos u32, ksize u32, page u64), in a leaf (flags
// u32, pos u32, ksize u32, vsize u32); pos counts from the element. The value of
// a bucket is its root page and its sequence; root 0 is a page in the value.
const (
	pageElement  = 16
	bucketHeader = 16
	flagBucket   = 0x01

	// maxDepth is more than any tree in a file of bbolt's has, buckets in
	// buckets included.
	maxDepth = 100
	// maxRun bounds the page with its overflow that is read into memory.
	maxRun = 1 << 30
)

// tree reads the buckets of a file page by page, as bytes. Unlike bbolt, which
// maps the file and believes what it finds, it comes to an end on any file:
// every page is looked at once and nothing outside of it is.
type tree struct {
	ctx  context.Context // ends the walk
	f    io.ReaderAt
	meta fileMeta
	used bitmap // the pages that it has met

	// follow reports whether to look into a bucket; nil for all of them.
	follow func(path [][]byte) bool
	// bucket is told about each bucket before its entries, and entry about each
	// key that is no bucket, in order. What they are given is theirs; path is
	// good until they return. An error ends the walk.
	bucket func(path [][]byte, sequence uint64) error
	entry  func(path [][]byte, k, v []byte) error
	// damage is told what is wrong. What it concerns is passed over, unless it
	// returns an error: that ends the walk.
	damage func(path [][]byte, what string) error
}

// bitmap is a set of pages.
type bitmap []uint64

func newBitmap(n uint64) bitmap        { return make(bitmap, n/64+1) }
func (b bitmap) has(page uint64) bool  { return b[page/64]&(1<<(page%64)) != 0 }
func (b bitmap) add(page uint64)       { b[page/64] |= 1 << (page % 64) }
func (b bitmap) addRun(page, n uint64) { b.each(page, n, func(p uint64) { b.add(p) }) }
func (b bitmap) hasAny(page, n uint64) (any bool) {
	b.each(page, n, func(p uint64) { any = any || b.has(p) })
	return any
}

func (b bitmap) each(page, n uint64, f func(uint64)) {
	for p := page; p < page+n; p++ {
		f(p)
	}
}

// walk visits everything below the root.
func (t *tree) walk() error {
	t.used = newBitmap(t.meta.pages)
	return t.page(nil, t.meta.root, bounds{}, 0)
}

// bounds are what the keys of a page must be: not below low, behind the one
// before and below high. nil is no bound.
type bounds struct{ low, before, high []byte }

func (t *tree) page(path [][]byte, id uint64, keys bounds, depth int) error {
	b, err := t.read(id, depth)
	if t.ctx.Err() != nil {
		return t.ctx.Err() // it cannot be read for that reason
	}
	if err != nil {
		var d damagedPage
		if errors.As(err, &d) {
			return t.damage(path, string(d))
		}
		return err
	}
	return t.elements(path, id, b, keys, depth)
}

// damagedPage says what is wrong with a page.
type damagedPage string

func (d damagedPage) Error() string { return string(d) }

// read returns a page with its overflow and notes that it is in use.
func (t *tree) read(id uint64, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, damagedPage(fmt.Sprintf("page %d lies too deep", id))
	}
	p, err := inspectPage(t.f, &t.meta, id, flagBranch|flagLeaf)
	if err != nil {
		return nil, damagedPage(err.Error())
	}
	n := uint64(p.overflow) + 1
	if t.used.hasAny(id, n) {
		return nil, damagedPage(fmt.Sprintf("page %d is used twice", id))
	}
	if n*uint64(t.meta.pageSize) > maxRun {
		return nil, damagedPage(fmt.Sprintf("page %d is damaged", id))
	}
	t.used.addRun(id, n)
	b := make([]byte, n*uint64(t.meta.pageSize))
	if _, err := t.f.ReadAt(b, int64(id)*int64(t.meta.pageSize)); err != nil {
		return nil, damagedPage(fmt.Sprintf("page %d cannot be read: %v", id, err))
	}
	return b, nil
}

// elements visits what a page holds. b begins with the page's header.
func (t *tree) elements(path [][]byte, id uint64, b []byte, keys bounds, depth int) error {
	leaf := binary.LittleEndian.Uint16(b[8:])&flagLeaf != 0
	count := int(binary.LittleEndian.Uint16(b[10:]))
	if pageHeader+pageElement*count > len(b) {
		return t.damage(path, fmt.Sprintf("page %d is damaged", id))
	}
	for i := range count {
		e, ok := readElement(b, i, leaf)
		if !ok {
			if err := t.damage(path, fmt.Sprintf("page %d: element %d is damaged", id, i)); err != nil {
				return err
			}
			continue
		}
		if !keys.allow(e.key) {
			if err := t.damage(path, fmt.Sprintf("page %d: its keys are not in order", id)); err != nil {
				return err
			}
		}
		if err := t.element(path, b, i, count, e, keys, depth); err != nil {
			return err
		}
		keys.before = e.key
	}
	return nil
}

func (k bounds) allow(key []byte) bool {
	return bytes.Compare(key, k.low) >= 0 && (k.before == nil || bytes.Compare(key, k.before) > 0) &&
		(k.high == nil || bytes.Compare(key, k.high) < 0)
}

// element is one of a page. next is the page below a branch.
type element struct {
	leaf, bucket bool
	key, value   []byte
	next         uint64
}

func readElement(b []byte, i int, leaf bool) (e element, ok bool) {
	at := pageHeader + pageElement*i
	le, h := binary.LittleEndian, b[at:]
	pos, ksize, vsize := uint64(le.Uint32(h)), uint64(le.Uint32(h[4:])), uint64(0)
	e.leaf, e.next = leaf, le.Uint64(h[8:])
	if leaf {
		pos, ksize, vsize = uint64(le.Uint32(h[4:])), uint64(le.Uint32(h[8:])), uint64(le.Uint32(h[12:]))
		e.bucket = le.Uint32(h)&flagBucket != 0
	}
	start := uint64(at) + pos
	if pos < pageElement || start+ksize+vsize > uint64(len(b)) {
		return e, false
	}
	e.key, e.value = b[start:start+ksize], b[start+ksize:start+ksize+vsize]
	return e, true
}

func (t *tree) element(path [][]byte, b []byte, i, count int, e element, keys bounds, depth int) error {
	switch {
	case !e.leaf:
		below := bounds{low: e.key, high: keys.high}
		if n, ok := readElement(b, min(i+1, count-1), false); ok && i+1 < count {
			below.high = n.key
		}
		return t.page(path, e.next, below, depth+1)
	case e.bucket:
		path = append(slices.Clone(path), e.key)
		if t.follow != nil && !t.follow(path) {
			return nil
		}
		return t.nested(path, e.value, depth)
	}
	return t.entry(path, e.key, e.value)
}

// nested visits a bucket, whose value is its header.
func (t *tree) nested(path [][]byte, v []byte, depth int) error {
	if len(v) < bucketHeader {
		return t.damage(path, "the header of the bucket is damaged")
	}
	root, sequence := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])
	if err := t.bucket(path, sequence); err != nil {
		return err
	}
	if root != 0 {
		return t.page(path, root, bounds{}, depth+1)
	}
	inline := v[bucketHeader:]
	if len(inline) < pageHeader || binary.LittleEndian.Uint16(inline[8:]) != flagLeaf {
		return t.damage(path, "the page in the bucket's header is damaged")
	}
	return t.elements(path, 0, inline, bounds{}, depth+1)
}

// freePages returns the pages that the list of free pages names. inspectFreelist
// has been content with it.
func freePages(f io.ReaderAt, m *fileMeta) (bitmap, uint64, error) {
	free := newBitmap(m.pages)
	p, err := inspectPage(f, m, m.freelist, flagFreelist)
	if err != nil {
		return free, 0, err
	}
	b := make([]byte, (uint64(p.overflow)+1)*uint64(m.pageSize)-pageHeader)
	if _, err := f.ReadAt(b, int64(m.freelist)*int64(m.pageSize)+pageHeader); err != nil {
		return free, 0, err
	}
	n := uint64(p.count)
	if n == manyFree {
		n, b = binary.LittleEndian.Uint64(b), b[8:]
	}
	for i := range n {
		free.add(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return free, n, nil
}

// pathName writes the place of a bucket for people: numbers as such.
func pathName(path [][]byte) string {
	var b bytes.Buffer
	for i, name := range path {
		if i > 0 {
			b.WriteByte('/')
		}
		if len(name) == 8 && name[0] == 0 {
			fmt.Fprint(&b, binary.BigEndian.Uint64(name))
			continue
		}
		fmt.Fprintf(&b, "%s", name)
	}
	return b.String()
}
