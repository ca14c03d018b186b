package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// body is a payload row beyond the first. Where it was the event's own payload
// that crossed another boundary, Own is set and the bytes are not kept twice.
type body struct {
	Topic         string `cbor:"1,keyasint,omitempty"`
	SourceService string `cbor:"2,keyasint,omitempty"`
	TargetService string `cbor:"3,keyasint,omitempty"`
	ContentType   string `cbor:"4,keyasint,omitempty"`
	CreatedBy     string `cbor:"5,keyasint,omitempty"`
	CreatedAt     uint64 `cbor:"6,keyasint"`
	Own           bool   `cbor:"7,keyasint,omitempty"`
	Body          []byte `cbor:"8,keyasint,omitempty"`
	Removed       bool   `cbor:"9,keyasint,omitempty"`  // retention took the bytes
	Row           int    `cbor:"10,keyasint,omitempty"` // with Own: the row that has the bytes
}

// replacePayload adds the payload row that goes out from now on.
func (t *transaction) replacePayload(b *segmentBuckets, seq uint64, s *state, p *event.Payload) error {
	if p == nil {
		return nil
	}
	row := *p
	if row.Body == nil {
		row.Body = []byte{} // none would stand for the one so far
	}
	s.PayloadRow = countBodies(b.root.Bucket(bucketBodies), seq) + 1
	return t.addBodies(b, seq, 0, []event.Payload{row})
}

// outgoing returns the payload that goes out with an event. It aliases the file.
func (b *segmentBuckets) outgoing(seq uint64, row int) ([]byte, error) {
	if row == 0 {
		return b.payload(seq)
	}
	d, err := unpackBody(b.root.Bucket(bucketBodies).Get(noteKey(seq, row-1)))
	if err == nil && d.Removed {
		err = errRemoved
	}
	if err != nil {
		return nil, fmt.Errorf("payload %d of event %d: %w", row, seq, err)
	}
	return d.Body, nil
}

func countBodies(bucket *bolt.Bucket, seq uint64) (n int) {
	c := bucket.Cursor()
	for k, _ := c.Seek(noteKey(seq, 0)); len(k) == 12 && binary.BigEndian.Uint64(k) == seq; k, _ = c.Next() {
		n++
	}
	return n
}

// addBodies adds payload rows to an event. Those without a body have that of the
// given row.
func (t *transaction) addBodies(b *segmentBuckets, seq uint64, row int, sent []event.Payload) error {
	if len(sent) == 0 {
		return nil
	}
	bucket := b.root.Bucket(bucketBodies)
	n := countBodies(bucket, seq)
	for i := range sent {
		v, err := encodeBody(&sent[i], row)
		if err != nil {
			return err
		}
		if err := bucket.Put(noteKey(seq, n+i), v); err != nil {
			return err
		}
	}
	return nil
}

// encodeBody returns: version 1 | crc32c u32 of the rest | CBOR of body.
func encodeBody(p *event.Payload, row int) ([]byte, error) {
	d := body{
		Topic: p.Topic, SourceService: p.SourceService, TargetService: p.TargetService,
		ContentType: p.ContentType, CreatedBy: p.CreatedBy, CreatedAt: micros(p.CreatedAt),
		Own: p.Body == nil && !p.Removed, Body: p.Body, Removed: p.Removed,
	}
	if d.Own {
		d.Row = row
	}
	c, err := cbor.Marshal(d)
	if err != nil {
		return nil, err
	}
	return sealed(c), nil
}

// readBodies returns all payload rows of an event, the one it came with first.
// The bytes are copies.
func readBodies(b *segmentBuckets, seq uint64) ([]event.Payload, error) {
	e, err := b.event(seq)
	if err != nil {
		return nil, err
	}
	own, err := b.payload(seq)
	removed := errors.Is(err, errRemoved)
	if err != nil && !removed {
		return nil, err
	}
	if !removed {
		own = append([]byte{}, own...)
	}
	rows := []event.Payload{{
		EventID: e.ID, Topic: e.Topic, SourceService: e.SourceService, TargetService: e.TargetService,
		Body: own, ContentType: e.ContentType, CreatedBy: e.CreatedBy, CreatedAt: e.CreatedAt,
		Removed: removed,
	}}
	c := b.root.Bucket(bucketBodies).Cursor()
	for k, v := c.Seek(noteKey(seq, 0)); len(k) == 12 && binary.BigEndian.Uint64(k) == seq; k, v = c.Next() {
		p, err := decodeBody(v, rows)
		if err != nil {
			return rows, err
		}
		p.EventID = e.ID
		rows = append(rows, p)
	}
	return rows, nil
}

func unpackBody(v []byte) (d body, err error) {
	v, err = unsealed(v)
	if err == nil && lenient.Unmarshal(v, &d) != nil {
		err = errDamaged
	}
	return d, err
}

// decodeBody reads a payload row; rows are those before it.
func decodeBody(v []byte, rows []event.Payload) (p event.Payload, err error) {
	d, err := unpackBody(v)
	if err != nil {
		return p, err
	}
	if d.Own {
		if d.Row >= len(rows) {
			return p, errDamaged
		}
		d.Body, d.Removed = rows[d.Row].Body, rows[d.Row].Removed
	}
	return event.Payload{
		Topic: d.Topic, SourceService: d.SourceService, TargetService: d.TargetService,
		Body: d.Body, ContentType: d.ContentType, CreatedBy: d.CreatedBy, CreatedAt: fromMicros(d.CreatedAt),
		Removed: d.Removed,
	}, nil
}

// sealed puts a version and a checksum in front of a small record.
func sealed(b []byte) []byte {
	out := make([]byte, 5, 5+len(b))
	out[0] = 1
	binary.LittleEndian.PutUint32(out[1:], checksum(b))
	return append(out, b...)
}

func unsealed(v []byte) ([]byte, error) {
	if len(v) < 5 || v[0] != 1 || binary.LittleEndian.Uint32(v[1:]) != checksum(v[5:]) {
		return nil, errDamaged
	}
	return v[5:], nil
}
