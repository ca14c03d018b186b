package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/eventd-io/eventd/event"
	"github.com/rs/zerolog"
)

// memory is the working data as routes see it while events are routed that are
// stored together: what is committed when an expression first reads it, and what
// the routes of the events before remember. The zero memory knows nothing.
type memory struct {
	ctx   context.Context // of the caller, for the time of one call
	store WorkingData
	known map[string]any   // by correlation id: what was read
	added map[string][]any // by correlation id: what is to be merged when it is read
	err   error            // what reading met
	log   *zerolog.Logger
}

func (r *Router) newMemory(ctx context.Context) *memory {
	return &memory{ctx: ctx, store: r.store, log: &r.lines}
}

// of returns the working data of a conversation, an empty object for none.
func (m *memory) of(correlationID string) (any, error) {
	if doc, ok := m.known[correlationID]; ok {
		return doc, nil
	}
	doc, err := m.read(correlationID)
	if err != nil {
		m.err = errors.Join(m.err, err)
		m.log.Error().Err(err).Str("correlation_id", correlationID).Msg("working data cannot be read: what asks for it cannot be evaluated")
		return nil, err
	}
	for _, patch := range m.added[correlationID] {
		doc = merged(doc, patch)
	}
	if m.known == nil {
		m.known = make(map[string]any)
	}
	m.known[correlationID] = doc
	return doc, nil
}

func (m *memory) read(correlationID string) (doc any, err error) {
	if m.store == nil {
		return map[string]any{}, nil
	}
	d, err := m.store.WorkingData(m.ctx, correlationID)
	if errors.Is(err, event.ErrNotFound) {
		return map[string]any{}, nil
	}
	if err == nil {
		err = json.Unmarshal(d.Body, &doc) // numbers as in data
	}
	return doc, err
}

// add merges values into what the routes of later events see.
func (m *memory) add(correlationID string, values map[string]any) {
	if doc, ok := m.known[correlationID]; ok {
		m.known[correlationID] = merged(doc, values)
		return
	}
	if m.added == nil {
		m.added = make(map[string][]any)
	}
	m.added[correlationID] = append(m.added[correlationID], values)
}

// merged returns what a JSON merge patch makes of a target (RFC 7396). Neither
// is changed; they may share values with what is returned.
func merged(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, _ := target.(map[string]any)
	out := make(map[string]any, len(t)+len(p))
	maps.Copy(out, t)
	for name, value := range p {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = merged(out[name], value)
		}
	}
	return out
}

// merging returns the change that merges patches into a document, one by one.
func merging(patches ...any) event.Amend {
	return func(body []byte) ([]byte, error) {
		var doc any
		if body != nil {
			var err error
			if doc, err = decodeExactly(body); err != nil {
				return nil, err
			}
		}
		for _, patch := range patches {
			doc = merged(doc, patch)
		}
		return encodeJSON(doc)
	}
}

// decodeExactly keeps numbers as they are written.
func decodeExactly(body []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// WorkingData returns the working data of a conversation. [event.ErrNotFound]:
// it has none.
func (r *Router) WorkingData(ctx context.Context, correlationID string) (event.Document, error) {
	return r.store.WorkingData(ctx, correlationID)
}

// AmendWorkingData changes the working data of a conversation. It is on disk
// when it returns. Errors: [event.ErrNotFound] when no event belongs to the
// conversation, [event.ErrTooLarge], [event.ErrUnavailable] when eventd is
// stopping, what the check returned, and one for a body that is no JSON.
func (r *Router) AmendWorkingData(ctx context.Context, a event.Amendment) (event.Document, error) {
	if !r.enter() {
		return event.Document{}, event.ErrUnavailable
	}
	defer r.running.Done()
	value, err := decodeExactly(a.Body)
	if err != nil {
		return event.Document{}, fmt.Errorf("working data: %w", err)
	}
	return r.store.AmendWorkingData(ctx, a.CorrelationID, a.By, func(d event.Document) ([]byte, error) {
		if a.Check != nil {
			if err := a.Check(d); err != nil {
				return nil, err
			}
		}
		if a.Merge {
			return merging(value)(d.Body)
		}
		return a.Body, nil
	})
}
