package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/eventd-io/eventd/event"
)

// etagOf returns the strong validator of a document; "" for none. The time tells
// a document apart from one that had its id before and went with its events.
func etagOf(d *event.Document) string {
	if d.Version == 0 {
		return ""
	}
	return `"` + strconv.FormatUint(d.Version, 10) + "-" + strconv.FormatInt(d.CreatedAt.UnixMicro(), 36) + `"`
}

// conditions are what a request asks of the document as it is (RFC 9110,
// section 13).
type conditions struct{ match, noneMatch string }

// problem returns what a request that changes a document fails with; nil where
// it may go on.
func (c conditions) problem(etag string) *problem {
	if c.match != "" && !anyETag(c.match, etag, true) {
		return preconditionFailed("If-Match", c.match, etag)
	}
	if c.noneMatch != "" && anyETag(c.noneMatch, etag, false) {
		return preconditionFailed("If-None-Match", c.noneMatch, etag)
	}
	return nil
}

func preconditionFailed(header, asked, etag string) *problem {
	if etag == "" {
		return newProblem(http.StatusPreconditionFailed, "there is no document yet").at("header."+header, asked)
	}
	return newProblem(http.StatusPreconditionFailed, "the document has the ETag %s", etag).
		at("header."+header, asked).with("ETag", etag)
}

// anyETag reports whether a list of ETags has the given one; "" is that of no
// document. A weak one is never the same where they are compared strongly.
func anyETag(list, etag string, strong bool) bool {
	if etag == "" {
		return false
	}
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if !strong {
			one = strings.TrimPrefix(one, "W/")
		}
		if one == "*" || one == etag {
			return true
		}
	}
	return false
}
