package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// A newer eventd may have written to a store without raising its schema: fields and
// buckets that this one does without. It does not know what they mean, nor whether
// they still hold in another file, where names have other numbers; so a dump leaves
// them out, and says so.

// carried are the buckets that a dump has no words for and takes as they are: what
// is in them holds in any file. Events keep their seq.
var carried = [][]byte{bucketMeta, bucketRedrives, bucketSchedules}

// forgotten are the buckets of which a dump takes nothing.
var forgotten = [][]byte{bucketDropped, bucketJournal}

func among(name []byte, lists ...[][]byte) bool {
	for _, list := range lists {
		for _, known := range list {
			if bytes.Equal(name, known) {
				return true
			}
		}
	}
	return false
}

// strict is lenient, and minds fields that it does not know.
var strict, _ = cbor.DecOptions{
	UTF8: cbor.UTF8DecodeInvalid, MaxMapPairs: math.MaxInt32, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
}.DecMode()

// fields notes that a record has fields of a newer eventd. into is of its type.
func (x *dumper) fields(record []byte, into any, format string, args ...any) {
	var unknown *cbor.UnknownFieldError
	if errors.As(strict.Unmarshal(record, into), &unknown) {
		x.newer("%s: it has fields", fmt.Sprintf(format, args...))
	}
}

// sealedFields is fields for a record with a checksum; a damaged one has been noted.
func (x *dumper) sealedFields(record []byte, into any, format string, args ...any) {
	if b, err := unsealed(record); err == nil {
		x.fields(b, into, format, args...)
	}
}

func (x *dumper) newer(format string, args ...any) {
	x.lose("%s of a newer eventd, which this one does not know and leaves out", fmt.Sprintf(format, args...))
}

// newerEvent notes what of an event this program does not know.
func (x *dumper) newerEvent(b *segmentBuckets, seq uint64, s *event.State) {
	if h, err := b.head(seq); err == nil {
		if _, _, rest, err := headIDs(h); err == nil {
			x.fields(rest, &headBody{}, "event %d", seq)
		}
	}
	if v := b.stateRecord(seq); v != nil {
		if _, rest, err := decodeStateRest(v, x.db.names); err == nil && len(bytes.Trim(rest, "\x00")) > 0 {
			x.newer("event %d: its state has fields", seq)
		}
	}
	if w := b.root.Bucket(bucketWorking); w != nil {
		x.sealedFields(w.Get(key8(seq)), &document{}, "working data beside event %d", seq)
	}
	odd := newerReason(s.Reason)
	for i := range s.Deliveries {
		odd = odd || newerReason(s.Deliveries[i].Reason)
	}
	for i := range s.Timeline {
		odd = odd || newerReason(s.Timeline[i].Reason)
	}
	if odd {
		x.newer("event %d: it has a reason, written as http_N,", seq)
	}
}

// newerReason reports a reason by a number that no HTTP status has.
func newerReason(r event.Reason) bool {
	var n int
	_, err := fmt.Sscanf(string(r), "http_%d", &n)
	return err == nil && n < 100
}

// newerParts notes the buckets in a segment that this program does not know.
func (x *dumper) newerParts(b *segmentBuckets) {
	_ = b.root.ForEach(func(k, v []byte) error {
		if known := v != nil && bytes.Equal(k, keyInfo) || v == nil && among(k, segmentParts); !known {
			x.newer("segment %d: %q is", b.first, k)
		}
		return nil
	})
}

// newerBucket notes a bucket of the store that this program does not know.
func (x *dumper) newerBucket(name []byte, b *bolt.Bucket) {
	x.newer("bucket %q with %d entries is", name, countKeys(b))
}
