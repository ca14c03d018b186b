package storage

// bbolt looks for one run of free pages for each page that it writes, with what
// overflows it, and takes it from the first that is long enough; where none is it
// takes pages behind what is in use. A file that cannot grow any more, since it has
// come to the end of its disk, can still be written to as long as there are runs.

// runPages is how many pages in a row hold most of what a commit writes: two blocks
// of events, with what is around them, or a part of the list of free pages.
const runPages = 8

// lodges reports whether a group has its place inside the file, and steps after it:
// there is a run for each of its pages, however the others are cut, and two for
// all of it, whatever in it is large.
func (db *DB) lodges(cost, rest int64) bool {
	if db.reusable.Load() <= 8*(cost+rest) {
		return false // and the list need not be read
	}
	m, valid := newestMeta(db.file)
	if valid == 0 || m.pageSize == 0 {
		return false
	}
	free, _, err := freePages(db.file, &m)
	if err != nil {
		return false
	}
	size := int64(m.pageSize)
	long := max((cost-groupBytes)/size, runPages)
	runs, longs := countRuns(free, m.pages, long)
	// The list also names pages that readers see still, who knows which.
	runs -= (db.freeBytes.Load() - db.reusable.Load()) / size
	return runs >= (cost+rest)/size && longs >= 2
}

// countRuns returns how many pieces of runPages, and how many of the given length,
// there are in the runs of a set of pages.
func countRuns(free bitmap, pages uint64, long int64) (runs, longs int64) {
	n := int64(0)
	for page := uint64(2); page <= pages; page++ {
		if page < pages && free.has(page) {
			n++
			continue
		}
		runs, longs, n = runs+n/runPages, longs+n/long, 0
	}
	return runs, longs
}
