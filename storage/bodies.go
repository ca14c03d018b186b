package storage

import (
	"encoding/binary"
	"errors"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
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
	Removed       bool   `cbor:"9,keyasint,omitempty"` // retention took the bytes
}

// addBodies adds payload rows to an event.
func (t *transaction) addBodies(b *segmentBuckets, seq uint64, sent []event.Payload) error {
	if len(sent) == 0 {
		return nil
	}
	bucket := b.root.Bucket(bucketBodies)
	n := 0
	c := bucket.Cursor()
	for k, _ := c.Seek(noteKey(seq, 0)); len(k) == 12 && binary.BigEndian.Uint64(k) == seq; k, _ = c.Next() {
		n++
	}
	for i := range sent {
		v, err := encodeBody(&sent[i])
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
func encodeBody(p *event.Payload) ([]byte, error) {
	c, err := cbor.Marshal(body{
		Topic: p.Topic, SourceService: p.SourceService, TargetService: p.TargetService,
		ContentType: p.ContentType, CreatedBy: p.CreatedBy, CreatedAt: micros(p.CreatedAt),
		Own: p.Body == nil && !p.Removed, Body: p.Body, Removed: p.Removed,
	})
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
		p, err := decodeBody(v, own)
		if err != nil {
			return rows, err
		}
		p.EventID = e.ID
		rows = append(rows, p)
	}
	return rows, nil
}

func decodeBody(v, own []byte) (p event.Payload, err error) {
	v, err = unsealed(v)
	if err != nil {
		return p, err
	}
	var d body
	if err := lenient.Unmarshal(v, &d); err != nil {
		return p, errDamaged
	}
	if d.Own {
		d.Body, d.Removed = own, own == nil
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
