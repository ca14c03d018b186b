// Package schema holds payloads against JSON Schemas.
//
// A schema comes from a file, with what it refers to in the folder of that
// file; nothing is ever fetched. A payload may be anything that someone sent:
// what it can cost is bounded, and no payload can bring the process down.
//
// Reading order: schema.go, load.go (files), flaws.go (what people read).
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// maxDepth is how deep a payload may be nested. The library keeps the whole
	// path with each flaw, so that depth times flaws is what one may cost.
	maxDepth = 100
	// maxNumber is how many digits, and how large an exponent, a number may have:
	// the library computes with the exact value.
	maxNumber = 400
	// listed is the size in bytes up to which the flaws of a payload are told one
	// by one. A megabyte of JSON can have half a million.
	listed = 128 << 10
	// large is the size in bytes from which payloads are checked one at a time.
	large = 64 << 10
)

// Schema is a compiled JSON Schema. Its methods may be called by many goroutines.
type Schema struct {
	fits  *jsonschema.Schema
	fails *jsonschema.Schema // the negation: a verdict without a list of flaws
	turn  sync.Mutex         // of large payloads
}

// Check holds a payload against the schema. It returns "" when it fits, and
// otherwise what is wrong with it for people: paths and reasons, in at most
// [MaxDetail] bytes, one line. A payload that is no JSON does not fit.
func (s *Schema) Check(payload []byte) (flaws string) {
	if len(payload) >= large {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	// The library has panicked on odd numbers, and this is the way in of every
	// event: a crash here would come again with each redelivery.
	defer func() {
		if r := recover(); r != nil {
			flaws = clip(fmt.Sprintf("it cannot be checked: %v", r))
		}
	}()
	v, err := decode(payload)
	if err != nil {
		return clip(err.Error())
	}
	if len(payload) > listed {
		if s.fails.Validate(v) == nil {
			return fmt.Sprintf("something in it is wrong (what, is listed for payloads of up to %d bytes)", listed)
		}
		return ""
	}
	var invalid *jsonschema.ValidationError
	if err := s.fits.Validate(v); errors.As(err, &invalid) {
		return tell(invalid)
	}
	return ""
}

// decode returns the value of a payload. Numbers stay as they are written.
func decode(payload []byte) (any, error) {
	if len(bytes.TrimSpace(payload)) == 0 {
		return nil, errors.New("it is empty, and not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is not JSON: something follows the value")
	}
	return v, bound(v, 0)
}

// bound looks for what would cost too much to be checked.
func bound(v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	switch v := v.(type) {
	case json.Number:
		if !moderate(string(v)) {
			return fmt.Errorf("it has a number of more than %d digits", maxNumber)
		}
	case []any:
		for _, x := range v {
			if err := bound(x, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, x := range v {
			if err := bound(x, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func moderate(number string) bool {
	if len(number) > maxNumber {
		return false
	}
	i := strings.IndexAny(number, "eE")
	if i < 0 {
		return true
	}
	exponent, err := strconv.Atoi(number[i+1:])
	return err == nil && exponent <= maxNumber && exponent >= -maxNumber
}
