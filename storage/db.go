package storage

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
)

// Errors of the store. Each is wrapped with what is known about the case.
var (
	// ErrUnavailable: the file cannot be opened for writing: it is locked by
	// another process, not writable, or its folder cannot be made.
	ErrUnavailable = errors.New("store unavailable")
	// ErrCorrupt: the file is no store, or a damaged one. It was not changed.
	ErrCorrupt = errors.New("store corrupt")
	// ErrNewer: the file was written by a newer eventd. It was not changed.
	ErrNewer = errors.New("store is newer than this program")
	// ErrBroken: a commit failed; what is on disk is unknown until the file is
	// opened again. Nothing works any more but Close.
	ErrBroken = errors.New("store broken")
	// ErrClosed: the store was closed before the operation began.
	ErrClosed = errors.New("store closed")
	// ErrQuarantined: a record of this event is damaged. It is never handed out.
	ErrQuarantined = errors.New("quarantined")
)

// Schema is the version of the layout that this program writes.
const Schema = 1

const application = "eventd"

var (
	keyApplication = []byte("application")
	keySchema      = []byte("schema")
	keyStoreID     = []byte("store_id")
)

// Observer is told about commits.
type Observer interface {
	// Commit is called after each commit with how long it took from its begin
	// to the disk and how many operations shared it.
	Commit(took time.Duration, operations int)
}

// Options say how to open a store. The zero value of each is usable.
type Options struct {
	Path         string        // the file; its folder is made if it is missing
	LockTimeout  time.Duration // how long to wait for another process; 0: 5s
	DedupeWindow time.Duration // how long an id is known again; 0: 24h, negative: not at all
	Retention    Retention     // how long what has ended is kept
	MaxSize      int64         // bytes that may be in use; 0: as many as fit on the disk
	Log          zerolog.Logger
	Observer     Observer

	segmentEvents uint32        // 0: segmentEvents; tests make it small
	queryTime     time.Duration // 0: queryTime; how long a page is looked for
	compactAbove  int64         // 0: compactAbove; tests make it small
	sieveSlots    int           // 0: sieveSlots; tests make it small
	age           time.Duration // of a segment that is closed

	readOnly     func(*os.File) bool // nil: readOnly
	beforeCommit func() error        // nil: nothing; tests hold commits up
}

type noObserver struct{}

func (noObserver) Commit(time.Duration, int) {}

// DB is an open store. Its methods may be called from any goroutine.
type DB struct {
	options  Options
	log      zerolog.Logger
	observer Observer
	bolt     *bolt.DB
	file     *os.File // bbolt's
	pageSize int
	id       string

	names    *names
	nextSeq  uint64 // the writer's
	segments atomic.Pointer[[]*segment]

	sought  chan struct{} // closed when the first new id is looked for
	seek    sync.Once
	sieving sync.Mutex
	sieve   *sieve // the last; sieving guards it
	columns int    // given so far, of all

	operations chan *operation
	group      []*operation // the writer's, reused
	postponed  []*operation // the writer's: there was no space for them…
	journal    *journal     // the writer's; nil without
	early      early        // the writer's: what came while the last commit was made
	unseen     atomic.Bool  // something is durable that no reader sees yet
	wanted     atomic.Int64 // what the largest of postponed takes, in bytes
	lined      bool         // the writer's: something is, or was, ordered
	stalls     int          // …nor for any other, so many times in a row
	impatient  atomic.Bool  // nothing is to wait for space any more
	arena      arena        // the writer's
	patience   *time.Timer  // the writer's
	closing    chan struct{}
	written    chan struct{} // closed when the writer has ended
	closeOnce  sync.Once
	sealing    sync.WaitGroup
	backup     sync.Mutex // held while a backup is taken and handed out

	// extender is a handle of its own, as the journal has one: the system tells of a
	// failed write once a handle, and it is a commit that has to learn of its own.
	extender   *os.File
	extending  sync.Mutex   // no commit writes to the file while it is extended
	used, end  atomic.Int64 // bytes of the file: in use, and with what lies ready
	secured    int64        // up to where space for the file is set aside; extending guards it
	extendC    chan struct{}
	released   atomic.Int64 // when the mapping was let go of, in ns
	background sync.WaitGroup

	freeBytes, occupied atomic.Int64 // inside the file: free, and in use but for those
	reusable            atomic.Int64 // of what is free, what no open reader sees any more
	fullMu              sync.Mutex   // of those who change fullness
	fullness            atomic.Pointer[fullness]
	fullC               chan struct{}
	crowded             chan struct{} // asks to remove before the time
	droppedBytes        atomic.Int64  // of segments that were dropped and are still there
	growth              int64         // by how much a commit grows it, of the last few; the writer's
	grown               atomic.Int64  // by how much the file has grown since some of that was deleted
	scarceC             chan struct{} // asks to delete some of them

	failure     atomic.Pointer[error]
	stuck       atomic.Bool // a transaction could be neither committed nor rolled back
	brokenC     chan struct{}
	outboxRows  atomic.Int64
	outboxWake  chan struct{}
	turnsCome   chan []string
	quarantined atomic.Int64
	queues      sync.Map // handler -> *queue
}

// queue counts the deliveries of a handler that wait.
type queue struct{ unprocessed, retry atomic.Int64 }

func (q *queue) add(s event.Status, n int64) {
	if s == event.Retry {
		q.retry.Add(n)
		return
	}
	q.unprocessed.Add(n)
}

func (db *DB) waiting(handler string) *queue {
	if q, ok := db.queues.Load(handler); ok {
		return q.(*queue)
	}
	q, _ := db.queues.LoadOrStore(handler, &queue{})
	return q.(*queue)
}

// Open opens the store, or makes a new one where there is no file. Errors:
// [ErrUnavailable], [ErrCorrupt], [ErrNewer]; the file is then as it was.
func Open(o Options) (*DB, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = 5 * time.Second
	}
	if o.DedupeWindow == 0 {
		o.DedupeWindow = 24 * time.Hour
	}
	if o.segmentEvents == 0 {
		o.segmentEvents = segmentEvents
	}
	if o.queryTime == 0 {
		o.queryTime = queryTime
	}
	if o.sieveSlots == 0 {
		o.sieveSlots = sieveSlots
	}
	if o.compactAbove == 0 {
		o.compactAbove = compactAbove
	}
	o.age = o.policy().segmentAge()
	if o.readOnly == nil {
		o.readOnly = readOnly
	}
	if o.beforeCommit == nil {
		o.beforeCommit = func() error { return nil }
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	b, f, err := openStore(&o)
	if err != nil {
		return nil, err
	}
	db := &DB{
		options: o, log: o.Log, observer: o.Observer, bolt: b, file: f, pageSize: b.Info().PageSize, names: newNames(),
		operations: make(chan *operation, maxGroup), patience: time.NewTimer(0), closing: make(chan struct{}),
		extendC: make(chan struct{}, 1), fullC: make(chan struct{}, 1), crowded: make(chan struct{}, 1), scarceC: make(chan struct{}, 1),
		written: make(chan struct{}), sought: make(chan struct{}), brokenC: make(chan struct{}), outboxWake: make(chan struct{}, 1), turnsCome: make(chan []string, 1),
	}
	db.segments.Store(&[]*segment{})
	db.fullness.Store(&fullness{})
	if err = db.load(); err == nil {
		err = db.startJournal()
	}
	if err == nil {
		db.extender, err = os.OpenFile(o.Path, os.O_RDWR, 0)
	}
	if err == nil {
		err = db.measureFirst()
	}
	if err != nil {
		db.journal.close()
		_ = b.Close()
		return nil, err
	}
	go db.write()
	db.background.Go(db.extend)
	db.background.Go(func() {
		db.walk()
		db.summarize()
		db.siftAll()
	})
	db.background.Go(db.retain)
	db.sealFull()
	return db, nil
}

// Close ends the writer after what was handed to it and closes the file.
func (db *DB) Close() error {
	db.closeOnce.Do(func() { close(db.closing) })
	<-db.written
	db.background.Wait()
	_ = db.extender.Close() // what it wrote is nobody's
	db.journal.close()
	db.sealing.Wait() // only now: the writer starts them
	if db.stuck.Load() {
		return db.file.Close() // bbolt would wait for a transaction that cannot end
	}
	return db.bolt.Close()
}

// load reads what is kept in memory.
func (db *DB) load() error {
	if err := db.loadAll(); err != nil {
		return fmt.Errorf("%s: %w", db.options.Path, err)
	}
	return nil
}

func (db *DB) loadAll() (err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return db.bolt.View(func(tx *bolt.Tx) error {
		for _, name := range topBuckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: no bucket %s", ErrCorrupt, name)
			}
		}
		if err := db.walkableIndexes(tx); err != nil {
			return err
		}
		db.id = string(tx.Bucket(bucketMeta).Get(keyStoreID))
		if err := db.names.load(tx.Bucket(bucketNames)); err != nil {
			return fmt.Errorf("%w: names of handlers: %w", ErrCorrupt, err)
		}
		if err := db.loadSegments(tx.Bucket(bucketSegments)); err != nil {
			return err
		}
		db.loadQueues(tx.Bucket(bucketDue))
		lines := tx.Bucket(bucketLines)
		db.loadLines(lines)
		db.lined = lines != nil
		db.outboxRows.Store(int64(countKeys(tx.Bucket(bucketOutbox))))
		db.quarantined.Store(int64(countKeys(tx.Bucket(bucketQuarantine))))
		db.droppedBytes.Store(droppedBytes(tx))
		return nil
	})
}

// ID is the random name the store got when it was made.
func (db *DB) ID() string { return db.id }

func (db *DB) now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// segmentList returns the segments, oldest first. It must not be changed.
func (db *DB) segmentList() []*segment { return *db.segments.Load() }

func (db *DB) lastSegment() *segment {
	if list := db.segmentList(); len(list) > 0 {
		return list[len(list)-1]
	}
	return nil
}

// addSegment is called by the writer, or by Open.
func (db *DB) addSegment(s *segment) {
	list := append(db.segmentList(), s) // readers hold the shorter slice
	db.segments.Store(&list)
}

// segmentOf returns the segment whose range an event falls into, nil if none.
func (db *DB) segmentOf(seq uint64) *segment {
	list := db.segmentList()
	i := sort.Search(len(list), func(i int) bool { return list[i].first > seq })
	if i == 0 {
		return nil
	}
	return list[i-1]
}

func notFound(seq uint64) error { return fmt.Errorf("event %d: %w", seq, event.ErrNotFound) }
