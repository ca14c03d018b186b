package storage

// arenaSize is more than a group writes at full load.
const arenaSize = 1 << 20

// arena lends the writer bytes for the records of one transaction, which bbolt
// refers to until its end and then no longer. One larger than the rest may go on
// living on its own. The nil arena lends nothing: its bytes are new each time.
type arena struct {
	chunk []byte
	used  int
}

// take returns an empty slice with room for n bytes.
func (a *arena) take(n int) []byte {
	if a == nil || n > arenaSize/4 {
		return make([]byte, 0, n)
	}
	if n > len(a.chunk)-a.used {
		a.chunk, a.used = make([]byte, arenaSize), 0 // bbolt still refers to the one before
	}
	b := a.chunk[a.used : a.used : a.used+n]
	a.used += n
	return b
}

// reset takes everything back.
func (a *arena) reset() { a.used = 0 }
