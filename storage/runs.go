package storage

// bbolt looks for one run of free pages for each page that it writes, with what
// overflows it, and takes it from the first that is long enough; where none is it
// takes pages behind what is in use. A file that cannot grow any more, since it has
// come to the end of its disk, can still be written to as long as there are runs.

// runPages is how many pages in a row hold most of what a commit writes: two blocks
// of events, with what is around them, or a part of the list of free pages.
const runPages = 8

// holes are the runs inside a file as one commit finds them. The list of them is read
// once, and only when it is needed.
type holes struct {
	db   *DB
	runs []int64 // pages in each
	read bool
}

// lodges reports whether a group has its place inside the file, and steps after it:
// there is a run for each of its pages, however the others are cut, and two for
// all of it, whatever in it is large.
func (h *holes) lodges(cost, rest int64) bool {
	db := h.db
	if db.reusable.Load() <= 8*(cost+rest) {
		return false // and the list need not be read
	}
	if !h.read {
		h.runs, h.read = db.freeRuns(), true
	}
	size := int64(db.pageSize)
	long := max((cost-groupBytes)/size, runPages)
	runs, longs := countRuns(h.runs, long)
	// The list also names pages that readers see still, who knows which.
	runs -= (db.freeBytes.Load() - db.reusable.Load()) / size
	return runs >= (cost+rest)/size && longs >= 2
}

// freeRuns reads how long the runs are in the file, of those of use; none where it
// cannot.
func (db *DB) freeRuns() []int64 {
	m, valid := newestMeta(db.file)
	if valid == 0 || m.pageSize == 0 {
		return nil
	}
	free, _, err := freePages(db.file, &m)
	if err != nil {
		return nil
	}
	return runsOf(free, m.pages)
}

// runsOf returns the lengths of the runs in a set of pages, but for those that are
// shorter than runPages.
func runsOf(free bitmap, pages uint64) (runs []int64) {
	n := int64(0)
	for page := uint64(2); page <= pages; page++ {
		if page < pages && free.has(page) {
			n++
			continue
		}
		if n >= runPages {
			runs = append(runs, n)
		}
		n = 0
	}
	return runs
}

// countRuns returns how many pieces of runPages, and how many of the given length,
// there are in runs.
func countRuns(lengths []int64, long int64) (runs, longs int64) {
	for _, n := range lengths {
		runs, longs = runs+n/runPages, longs+n/long
	}
	return runs, longs
}
