package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// cursor is where a page ended, and of which list. It keeps the bounds of time
// that the first page had, so that "15m" does not mean a later quarter of an
// hour on each page.
type cursor struct {
	After   uint64    `json:"a"`
	Since   time.Time `json:"s,omitzero"`
	Until   time.Time `json:"u,omitzero"`
	Overdue time.Time `json:"o,omitzero"`
	Filter  string    `json:"f"`
}

var (
	errCursor      = errors.New("the cursor is not one that was handed out here")
	errOtherFilter = errors.New("the cursor belongs to a list with other filters or another order")
)

func (c cursor) encode() string {
	// Numbers, times within RFC 3339 and a string: nothing that could fail.
	b, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeCursor(s, filter string) (cursor, error) {
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(b, &c) != nil || c.After == 0 {
		return cursor{}, errCursor
	}
	if c.Filter != filter {
		return cursor{}, errOtherFilter
	}
	return c, nil
}
