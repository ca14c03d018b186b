package handler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/eventd-io/eventd/event"
)

// broken says what an attempt means that ended with an error and no answer. It
// may succeed later, whatever the error.
func broken(ctx context.Context, timeout time.Duration, err error) event.Answer {
	a := event.Answer{Outcome: event.Again, Reason: event.Network, Detail: detailOf([]byte(err.Error()))}
	var slow net.Error
	switch {
	case ctx.Err() != nil:
		a.Reason, a.Detail = event.Interrupted, "eventd ended the attempt before there was an answer"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		a.Reason, a.Detail = event.Timeout, fmt.Sprintf("no whole answer within %v", timeout)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist): // no such socket
		a.Reason = event.Refused
	case errors.As(err, &slow) && slow.Timeout():
		a.Reason = event.Timeout
	}
	return a
}
