package storage

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// maxNames bounds the dictionary: names come from the configuration, but a
// service may give any name as the one that caused a step. Later ones are
// written out in each record.
const maxNames = 4096

// names maps the names of handlers, routes and services to small numbers.
// The writer adds, everyone reads.
type names struct {
	byName  sync.Map // string -> uint64
	byID    atomic.Pointer[[]string]
	pending []string // added, to be written with the transaction at hand
}

func newNames() *names {
	n := &names{}
	n.byID.Store(&[]string{})
	return n
}

// add makes a name known. The caller is the writer, or Open.
func (n *names) add(name string) (id uint64) {
	old := *n.byID.Load()
	id = uint64(len(old))
	list := append(old, name) //nolint:gocritic // readers hold the shorter slice
	n.byID.Store(&list)
	n.byName.Store(name, id)
	return id
}

// append writes a name: its number plus two, or 0 and its text; "" is 1. The
// caller is the writer.
func (n *names) append(b []byte, name string) []byte {
	if name == "" {
		return append(b, 1)
	}
	if id, ok := n.byName.Load(name); ok {
		return binary.AppendUvarint(b, id.(uint64)+2)
	}
	if len(*n.byID.Load()) < maxNames && len(name) <= 255 {
		id := n.add(name)
		n.pending = append(n.pending, name)
		return binary.AppendUvarint(b, id+2)
	}
	return appendString(append(b, 0), name)
}

func (n *names) read(r *reader) string {
	id := r.uint()
	switch {
	case id == 0:
		return r.string()
	case id == 1:
		return ""
	}
	list := *n.byID.Load()
	if id-2 >= uint64(len(list)) {
		r.bad = true
		return ""
	}
	return list[id-2]
}

// handler returns the number of a handler for the keys of the due index, and
// makes one where there is none: handlers are as few as the configuration says.
// The caller is the writer.
func (n *names) handler(name string) uint32 {
	id, ok := n.number(name)
	if !ok {
		id = uint32(n.add(name)) // few
		n.pending = append(n.pending, name)
	}
	return id
}

// number returns the number of a name, if it has one.
func (n *names) number(name string) (uint32, bool) {
	id, ok := n.byName.Load(name)
	if !ok {
		return 0, false
	}
	return uint32(id.(uint64)), true // few
}

// name returns the name with the given number.
func (n *names) name(id uint32) (string, bool) {
	list := *n.byID.Load()
	if uint64(id) >= uint64(len(list)) {
		return "", false
	}
	return list[id], true
}

// flush writes the names added since the last call.
func (n *names) flush(b *bolt.Bucket) error {
	first := uint64(len(*n.byID.Load()) - len(n.pending)) // never negative
	for i, name := range n.pending {
		if err := b.Put(key8(first+uint64(i)), sealed([]byte(name))); err != nil { // index
			return err
		}
	}
	n.pending = n.pending[:0]
	return nil
}

// load reads all names. One that is damaged or missing is an error: with it
// every record that has its number would look damaged.
func (n *names) load(b *bolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		name, err := unsealed(v)
		if err != nil || !bytes.Equal(k, key8(uint64(len(*n.byID.Load())))) {
			return errDamaged
		}
		n.add(string(name))
		return nil
	})
}
