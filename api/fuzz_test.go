package api_test

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/event"
)

// FuzzCursor: whatever comes as a cursor is taken or refused, and one that is
// taken points somewhere.
func FuzzCursor(f *testing.F) {
	store := newFake(manyRows(3)...)
	h := serve(store)
	f.Add("")
	f.Add("eyJhIjoxfQ")
	f.Add("eyJhIjoxLCJzIjoiMDAwMS0wMS0wMVQwMDowMDowMFoiLCJmIjoiIn0")
	f.Fuzz(func(t *testing.T, cursor string) {
		w := ask(h, "GET", "/v1/events?cursor="+url.QueryEscape(cursor), "")
		if w.Code == 400 {
			return
		}
		if w.Code != 200 || cursor != "" && store.page.After == 0 {
			t.Errorf("cursor %q: %d, page %+v", cursor, w.Code, store.page)
		}
	})
}

// FuzzID: the client reaches the event with any id but one, and no other.
func FuzzID(f *testing.F) {
	store := newFake(event.Record{})
	srv := httptest.NewServer(serve(store))
	f.Cleanup(srv.Close)
	c, err := client.New(srv.URL, "", srv.Client())
	if err != nil {
		f.Fatal(err)
	}
	for _, id := range []string{"a", ".", "..", "...", "a/../b", "%2F", "a?b#c;d", "\x00\xff", "é ", "//", "redrive"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		// net/http takes a segment %2F for the end of the path: see docs/api.md.
		if id == "" || id == "/" || len(id) > 10_000 {
			return
		}
		store.records[0] = row(1, event.Inbound, "UP", id)
		d, err := c.Show(t.Context(), id)
		if err != nil || len(d.Rows) != 1 {
			t.Errorf("id %q: %d rows, %v", id, len(d.Rows), err)
		}
	})
}
