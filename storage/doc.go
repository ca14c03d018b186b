// Package storage keeps events, their states, payloads and timelines, the
// schedule of what is due, and the outbox, in one bbolt file.
//
// # Layout
//
// Every event gets a sequence number (seq), ascending over all tables, and
// everything the hot path writes is keyed by it, so that writes go to the right
// edge of each tree however long the history is. External ids are random and
// never become keys of a tree that grows.
//
//	meta       what the file is: application, schema, store id
//	names      number -> name of a handler, route or service, so that records stay small
//	sources    source -> the last stream position known to be safely stored
//	paused     handler or source -> why it is paused
//	due        handler, due time, seq, delivery -> status, and of how many events
//	           from this one on when several wait since then   (UNPROCESSED and RETRY)
//	inflight   seq, delivery                                (IN_PROGRESS)
//	parked     status, seq                                  (ERROR and FAILED)
//	lines      who of those with one order key stands in line, and whose turn it is; made when needed
//	awaiting   handler, seq, delivery                       (sent, without response); made when needed
//	outbox     ascending number -> publication
//	redrives   number -> job that redrives many events; made with the first
//	schedules  schedule -> how far it is; made with the first
//	journal    new events that no commit has brought into their tables yet (journal.go)
//	quarantine seq -> what is wrong with its record; "outbox", number -> a damaged row
//	segments   first seq -> one bucket per run of at most 65,536 events:
//	  info       counts by table and status, first and last creation
//	  heads      first seq of a group -> block of immutable events
//	  payloads   first seq of a group -> block of payloads
//	  states     seq -> state record: fixed size while nothing goes wrong
//	  notes      seq, n -> timeline entries and details too large for the state
//	  bodies     seq, n -> payload rows beyond the first
//	  working    seq -> working data of the conversation of this event; made when needed
//	  ids        written once, in order, when the segment is full: hash -> seq
//	  filter     written with ids: tells without reading them what they do not hold,
//	             and in summary which names no event of the segment has
//	dropped    segments that are no longer part of the store, until their pages are
//	           needed; there only once something was
//
// # Working data
//
// Correlation ids are random, so a document is no entry in a tree of its own. It
// lies in the segment of the oldest event of its conversation, under the seq of
// that event, and is found through the index of ids: two lookups in memory, and
// one where it is. An event that remembers nothing does not touch it. A segment
// that is dropped takes its documents with it; before, [transaction.release] moves
// those of conversations that have events elsewhere to the oldest of these, so
// that a document goes with the last event of its conversation. It is found
// wherever it lies among the events of its conversation, also between the two.
//
// # Invariants
//
//   - There is one writer. It takes whatever operations are waiting, applies
//     them in order and commits them together (group commit).
//   - New events may be durable before their transaction is committed: it then stays
//     open for others, and whoever reads ends that (linger.go). They may be while the
//     commit before theirs is made, the only thing that is done beside the writer
//     (early.go). So no reader, and nothing that is answered, is ahead of what a crash
//     leaves or behind it.
//   - The file is extended with zeros ahead of need (extend.go). What lies behind
//     bbolt's high-water mark belongs to nobody.
//   - An operation checks everything before it writes anything. What fails after
//     that fails the whole transaction, and a failed commit is an unknown commit:
//     the store refuses all further work and says so through [DB.Broken].
//   - The indexes due, inflight and parked are a function of the states, kept by
//     [transaction.reindex] alone. So is lines (lines.go), but for when what is
//     delayed takes its place; of an order key, due has the one whose turn it is.
//   - Every record has a version and a checksum. One that is bad is listed under
//     quarantine and never handed out. An event whose state can still be read then
//     becomes ERROR `quarantined` as by any other step; one whose state cannot is
//     shown so.
//   - A page of bbolt's that is damaged is an error or a quarantined record, not
//     the end of the process: see recoverPanic, recoverDamage and inspect.
//     [Check], [Compact] and [Salvage] read the file as bytes (pages.go), which
//     ends on any file. A branch page that leads back to itself, which bbolt would
//     follow for ever, is looked for before a segment is used the first time, and
//     in the indexes when the store is opened (circles.go). What nothing helps
//     against while the store is at work is a damaged list of free pages that looks
//     right, a branch page that is damaged after it was looked at, and keys, which
//     have no checksum.
//   - Retention takes what has ended and nothing else: it looks in read transactions
//     (survey.go) and each removal looks again in the writer, at the state and at
//     the outbox, before it removes. A whole segment leaves the store in one
//     transaction, by being moved under dropped, and is deleted from there in
//     pieces, when pages are needed. Of an event removed singly the ids may stay in the index, and its
//     places in blocks are marked; without a state there is no event.
//   - Space on the disk is made sure of before a transaction begins (afford.go,
//     space.go, runs.go), and that the file can be written to at all.
//     There may be none for new events while there still is for steps, and none
//     for a large step while there is for small ones: it waits beside them.
//
// # Reading order
//
// [DB] and [Open]; open.go and inspect.go (the file); writer.go (the group
// commit), linger.go, early.go and journal.go (light load) and snapshot.go (reading); accept.go and update.go (the two
// operations), due.go and dueruns.go (what waits), lines.go and turns.go (order),
// redrives.go (many of them, as a job), schedules.go; segment.go, idindex.go,
// sieve.go and find.go (where events lie and how they are found); list.go, scan.go and
// summary.go (lists by filter); working.go (working data); retention.go (what goes when),
// retain.go (the worker), survey.go and remove.go; afford.go, space.go, runs.go and
// extend.go (the disk); record.go, head.go and state.go (bytes).
//
// The commands for a file that nobody writes to: pages.go (its trees as bytes),
// check.go, copy.go and compact.go, dumpline.go (the format of a dump), dump.go,
// dumpload.go, salvage.go, place.go (how a new file takes its place); and
// backup.go, for one at work.
package storage
