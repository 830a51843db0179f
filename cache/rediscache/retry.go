package rediscache

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

const (
	attempts   = 3
	retryPause = 10 * time.Millisecond // at most, before the second retry
)

// again is do for a call that may be made twice, such as a read or a Delete. A connection
// from the pool that turns out to be broken, as all are after a restart of the server,
// says nothing of the server, so the call is made again at once, and once more after a
// random pause; all within the deadline of one call. What timed out is not tried again,
// nor what could not connect: neither would be over in time.
//
// Set and Swap are not such calls: one whose answer was lost, made again behind somebody
// else's, would bring back what is old.
func again[T any](ctx context.Context, s *Store, call func(context.Context) (T, error)) (T, error) {
	return do(ctx, s, func(ctx context.Context) (value T, err error) {
		for n := range attempts {
			if n > 0 {
				s.stats.retries.Add(1)
			}
			if n > 1 {
				pause(ctx, rand.N(retryPause))
			}
			if value, err = call(ctx); err == nil || ctx.Err() != nil || !broken(err) {
				break
			}
		}
		return value, err
	})
}

// broken tells a connection that was cut.
func broken(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	for _, cut := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, cut) {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
