package handler

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/event"
)

// MaxRest is the longest rest that a handler can ask for.
const MaxRest = time.Hour

// classify says what a complete answer with this status code means. The
// details and follow-ups are the caller's.
func classify(code int, header http.Header, retryOn *RetryOn, now time.Time) event.Answer {
	a := event.Answer{Code: code}
	switch {
	case code >= 200 && code <= 299:
		a.Outcome = event.Done
	case retryOn.Has(code):
		a.Outcome, a.Reason = event.Again, event.HTTPStatus(code)
	case code == http.StatusGone:
		a.Outcome, a.Reason, a.Pause = event.Never, event.Gone, true
	default:
		a.Outcome, a.Reason = event.Never, event.Rejected
	}
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		a.Rest = retryAfter(header.Get("Retry-After"), now)
	}
	a.Uncharged = code == http.StatusTooManyRequests && a.Outcome == event.Again
	return a
}

// retryAfter reads the header Retry-After: seconds or a date. What is neither
// asks for nothing.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds > int(MaxRest/time.Second) {
			return MaxRest
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRest)
}
