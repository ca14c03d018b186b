package storage

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
)

// reading is the file of a store that is opened for reading alone, with what is
// needed to read records and without an index of ids.
type reading struct {
	*snapshot
	file *os.File
}

// openReading opens a store for reading. No process can write to it meanwhile,
// and others may read it. Errors are those of [Open].
func openReading(path string, wait time.Duration) (*reading, error) {
	if _, err := inspect(path, wait); err != nil {
		return nil, err
	}
	b, f, err := openFile(path, &bolt.Options{Timeout: wait, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	db := &DB{options: Options{Path: path}, log: zerolog.Nop(), bolt: b, file: f, pageSize: b.Info().PageSize, names: newNames()}
	db.segments.Store(&[]*segment{})
	r := &reading{snapshot: &snapshot{db: db}, file: f}
	if err := r.load(); err != nil {
		r.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *reading) close() {
	if r.tx != nil {
		_ = r.tx.Rollback()
	}
	_ = r.db.bolt.Close() // read only
}

// loadable reports what in a file keeps it from being loaded.
func loadable(path string) error {
	r, err := openReading(path, time.Second)
	if err != nil {
		return err
	}
	defer r.close()
	for _, s := range r.db.segmentList() {
		if _, err := openSegment(r.tx.Bucket(bucketSegments), s); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) load() (err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if r.tx, err = r.db.bolt.Begin(false); err != nil {
		return err
	}
	for _, name := range topBuckets {
		if r.tx.Bucket(name) == nil {
			return fmt.Errorf("%w: no bucket %s", ErrCorrupt, name)
		}
	}
	r.db.id = string(r.tx.Bucket(bucketMeta).Get(keyStoreID))
	if err := r.db.names.load(r.tx.Bucket(bucketNames)); err != nil {
		return fmt.Errorf("%w: names of handlers: %w", ErrCorrupt, err)
	}
	r.db.nextSeq = math.MaxUint64 // nothing is to be written behind it
	return r.tx.Bucket(bucketSegments).ForEachBucket(func(k []byte) error {
		if len(k) != 8 {
			return fmt.Errorf("%w: a segment has no number", ErrCorrupt)
		}
		r.db.addSegment(&segment{first: binary.BigEndian.Uint64(k)})
		return nil
	})
}
