package handler

import (
	"fmt"
	"net/http"
	"strconv"
)

// DefaultRetryOn is what is tried again unless a handler says otherwise.
var DefaultRetryOn = []string{"5xx", "404", "408", "409", "425", "429"}

// RetryOn is a set of HTTP status codes after which to try again.
type RetryOn struct {
	codes [600]bool
}

// ParseRetryOn reads a list of codes ("409") and classes ("3xx", "4xx", "5xx").
// A class stands for all its codes but those that no second try can change:
// 410, 501 and 505 count only where they are named. An empty list stands for
// [DefaultRetryOn]. Codes that are no failure are an error.
func ParseRetryOn(list []string) (*RetryOn, error) {
	if len(list) == 0 {
		list = DefaultRetryOn
	}
	r := &RetryOn{}
	for _, s := range list {
		if len(s) == 3 && s[1:] == "xx" && s[0] >= '3' && s[0] <= '5' {
			r.addClass(int(s[0]-'0') * 100)
			continue
		}
		code, err := strconv.Atoi(s)
		if err != nil || code < 300 || code > 599 {
			return nil, fmt.Errorf("retry_on: %q is no HTTP status from 300 to 599 and no class such as 5xx", s)
		}
		r.codes[code] = true
	}
	return r, nil
}

func (r *RetryOn) addClass(first int) {
	for code := first; code < first+100; code++ {
		switch code {
		case http.StatusGone, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		default:
			r.codes[code] = true
		}
	}
}

// Has reports whether to try again after this code. One that HTTP does not
// know, below 100 or above 599, counts as 500, as HTTP demands.
func (r *RetryOn) Has(code int) bool {
	if code < 100 || code > 599 {
		code = http.StatusInternalServerError
	}
	return r.codes[code]
}
