package handler

import (
	"net/http"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// expected is the contract, written down once more by hand.
func expected(code int) event.Answer {
	a := event.Answer{Code: code, Outcome: event.Never, Reason: event.Rejected}
	switch {
	case code < 300:
		a.Outcome, a.Reason = event.Done, ""
	case code == 410:
		a.Reason, a.Pause = event.Gone, true
	case code == 501 || code == 505:
	case code == 404 || code == 408 || code == 409 || code == 425 || code == 429 || code >= 500:
		a.Outcome, a.Reason = event.Again, event.Reason("http_"+strconv.Itoa(code))
	}
	a.Uncharged = code == 429
	return a
}

func TestClassify(t *testing.T) {
	retryOn, err := ParseRetryOn(nil)
	if err != nil {
		t.Fatal(err)
	}
	for code := 200; code <= 599; code++ {
		if got := classify(code, http.Header{}, retryOn, created); !reflect.DeepEqual(got, expected(code)) {
			t.Errorf("classify(%d) = %+v; want %+v", code, got, expected(code))
		}
	}
}

func TestClassifyStrangeCodes(t *testing.T) {
	retryOn, _ := ParseRetryOn(nil)
	for code, want := range map[int]event.Outcome{0: event.Again, 99: event.Again, 101: event.Never, 199: event.Never, 600: event.Again, 999: event.Again} {
		if got := classify(code, http.Header{}, retryOn, created); got.Outcome != want {
			t.Errorf("classify(%d) = %+v; want outcome %d", code, got, want)
		}
	}
}

func TestRetryOn(t *testing.T) {
	tests := []struct {
		list    []string
		has, no []int
	}{
		{DefaultRetryOn, []int{500, 502, 503, 504, 599, 404, 408, 409, 425, 429}, []int{501, 505, 400, 410, 422, 302}},
		{[]string{"503"}, []int{503}, []int{500, 404, 429, 600}},
		{[]string{"5xx", "501"}, []int{500, 501}, []int{505, 404}},
		{[]string{"4xx", "3xx"}, []int{400, 404, 499, 300, 399}, []int{410, 500}},
		{[]string{"410"}, []int{410}, []int{411}},
	}
	for _, tt := range tests {
		r, err := ParseRetryOn(tt.list)
		if err != nil {
			t.Errorf("ParseRetryOn(%v): %v", tt.list, err)
			continue
		}
		for _, code := range tt.has {
			if !r.Has(code) {
				t.Errorf("%v does not have %d", tt.list, code)
			}
		}
		for _, code := range tt.no {
			if r.Has(code) {
				t.Errorf("%v has %d", tt.list, code)
			}
		}
	}
	for _, s := range []string{"", "200", "2xx", "6xx", "600", "5XX", "50x", "xxx", "-404", "4xx "} {
		if _, err := ParseRetryOn([]string{s}); err == nil {
			t.Errorf("ParseRetryOn(%q) takes it", s)
		}
	}
}

func TestClassifyWithOtherRetryOn(t *testing.T) {
	retryOn, _ := ParseRetryOn([]string{"410", "400"})
	for code, want := range map[int]event.Answer{
		410: {Code: 410, Outcome: event.Again, Reason: "http_410"},
		400: {Code: 400, Outcome: event.Again, Reason: "http_400"},
		429: {Code: 429, Outcome: event.Never, Reason: event.Rejected},
		503: {Code: 503, Outcome: event.Never, Reason: event.Rejected},
		204: {Code: 204, Outcome: event.Done},
	} {
		if got := classify(code, http.Header{}, retryOn, created); !reflect.DeepEqual(got, want) {
			t.Errorf("classify(%d) = %+v; want %+v", code, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		value string
		want  time.Duration
	}{
		{"", 0}, {"0", 0}, {"120", 2 * time.Minute}, {" 5 ", 5 * time.Second},
		{"3600", time.Hour}, {"3601", time.Hour}, {"99999999999999999999999", time.Hour},
		{"-1", 0}, {"1.5", 0}, {"soon", 0}, {"5s", 0}, {"٣", 0},
		{"Sun, 01 Mar 2026 12:01:30 GMT", 90 * time.Second},
		{"Sun, 01 Mar 2026 11:00:00 GMT", 0},
		{"Mon, 02 Mar 2026 12:00:00 GMT", time.Hour},
		{"Sunday, 01-Mar-26 12:00:10 GMT", 10 * time.Second},
	}
	retryOn, _ := ParseRetryOn(nil)
	for _, tt := range tests {
		for _, code := range []int{429, 503} {
			h := http.Header{"Retry-After": {tt.value}}
			if got := classify(code, h, retryOn, created).Rest; got != tt.want {
				t.Errorf("%d with Retry-After %q: Rest = %v; want %v", code, tt.value, got, tt.want)
			}
		}
	}
	for _, code := range []int{200, 301, 404, 500} {
		if got := classify(code, http.Header{"Retry-After": {"9"}}, retryOn, created).Rest; got != 0 {
			t.Errorf("%d with Retry-After: Rest = %v; want none", code, got)
		}
	}
}
