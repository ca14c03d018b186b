package storage

import (
	"fmt"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// cost returns how many bytes a group is taken to add to the file.
func (db *DB) cost(group []*operation) int64 {
	n := db.baseCost()
	for _, op := range group {
		n += op.cost()
	}
	return n
}

// most returns how many bytes a group adds to the file at most, with all that it
// rewrites elsewhere.
func (db *DB) most(group []*operation) int64 {
	n := db.baseCost()
	for _, op := range group {
		n += db.mostOf(op)
	}
	return n
}

// baseCost is what any commit may need. The list of free pages is written with
// each, eight bytes for each page.
func (db *DB) baseCost() int64 { return groupBytes + db.freeBytes.Load()/int64(db.pageSize)*8 }

func (op *operation) cost() int64 { return 2*int64(op.weight) + stepBytes*int64(op.events) }

func (db *DB) mostOf(op *operation) int64 {
	n := op.cost() + placeBytes*int64(max(op.places, 1))
	if db.lined && !op.intake { // what comes in leaves a reserve for it
		n += lineBytes * int64(op.events)
	}
	return n
}

// weigh counts what steps bring with them and rewrite, that of an heir included.
func (op *operation) weigh(updates []*event.Update) {
	op.places = 1
	for i := range updates {
		u, last := updates[i], updates[max(i-1, 0)]
		op.weight += u.Bytes + documentWeight*len(u.Recalls)
		op.recalls = append(op.recalls, u.Recalls...)
		op.events++
		if u.Seq/placeSeqs != last.Seq/placeSeqs {
			op.places++
		}
		if u.Then != nil {
			op.events++
			op.places++
		}
	}
	op.divisible = len(updates) > 1
}

// dispensable reports whether an operation is refused rather than waits.
func (op *operation) dispensable() bool { return op.optional && op.weight > 0 }

// afford returns those of a group for which there is space. What may be refused is
// answered when there is none; the others wait, without keeping back what needs
// less: that may be what makes space. high is how much of the file is in use before.
func (db *DB) afford(group []*operation, tx *bolt.Tx, high int64) (rest []*operation) {
	inside := &holes{db: db}
	db.weighDocuments(group, tx)
	if db.Full() == "" {
		if db.roomy(high, inside, group) {
			return group
		}
		group = db.dispense(group, high, inside)
		if rest = db.some(group, high, inside); len(rest) == 0 && len(group) > 0 {
			db.want()
			db.starve()
		}
		return rest
	}
	rest = group[:0]
	for _, op := range group {
		if op.intake {
			op.finish(fmt.Errorf("%w: %s", ErrFull, db.Full()))
		} else {
			rest = append(rest, op)
		}
	}
	if db.fullness.Load().readOnly {
		return db.wait(rest)
	}
	if len(rest) == 0 || db.secure(high, db.most(rest)) {
		return rest
	}
	return db.portion(rest, high, inside)
}

// want notes what there has to be space for, so that it is there once the disk is full
// no more: else it would be full again at once.
func (db *DB) want() {
	most := int64(0)
	for i := range db.postponed {
		most = max(most, db.most(db.postponed[i:i+1]))
	}
	db.wanted.Store(most)
}

// wait has all of a group wait, or answers what is dispensable.
func (db *DB) wait(group []*operation) []*operation {
	for _, op := range group {
		if op.dispensable() {
			op.finish(fmt.Errorf("%w: %s", ErrFull, db.Full()))
		} else {
			db.postponed = append(db.postponed, op)
		}
	}
	return nil
}

// roomy reports whether there is space for new events: behind what is in use, with
// a reserve left, or inside the file. Of that there has to be plenty, as it is in
// pieces, and what does not fit into one of them takes of the reserve; where there
// is none, all must.
func (db *DB) roomy(high int64, inside *holes, group []*operation) bool {
	if db.secure(high, db.cost(group)+reserve(high)) {
		return true
	}
	cost := db.most(group)
	if db.reusable.Load() > 8*cost && cost < reserve(high) && db.secure(high, reserve(high)) {
		return true
	}
	return inside.lodges(cost, reserve(high)/4)
}

// dispense answers what is optional in a group that takes more than there is.
func (db *DB) dispense(group []*operation, high int64, inside *holes) (rest []*operation) {
	rest = group[:0]
	for i, op := range group {
		if op.dispensable() && !db.roomy(high, inside, group[i:i+1]) {
			op.finish(errNoRoom)
			continue
		}
		rest = append(rest, op)
	}
	return rest
}

// some returns the first of a group, as many as there is space for with a reserve
// left. The others are next.
func (db *DB) some(group []*operation, high int64, inside *holes) []*operation {
	n := len(group)
	for n > 0 && !db.roomy(high, inside, group[:n]) {
		n /= 2
	}
	db.postponed = append(db.postponed, group[n:]...)
	return group[:n]
}

// portion returns as many steps of a group as there is space for, be it the last.
// The others wait, or are answered where they are optional.
func (db *DB) portion(group []*operation, high int64, inside *holes) (rest []*operation) {
	need := db.baseCost()
	for most := db.most(group); most > need && !db.secure(high, most); most /= 2 {
		continue // at the end half of what can be had is there
	}
	have := db.ready(high)
	rest = group[:0]
	for _, op := range group {
		cost := db.mostOf(op)
		switch {
		case need+cost <= have, len(rest) == 0 && inside.lodges(db.baseCost()+cost, 0):
			rest = append(rest, op)
			need += cost
		case op.dispensable():
			op.finish(errNoRoom)
		case op.divisible:
			op.finish(event.ErrTooMuch)
		default:
			db.postponed = append(db.postponed, op)
		}
	}
	return rest
}
