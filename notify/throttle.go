package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrThrottled is the error of a message that a [Throttle] dropped.
var ErrThrottled = errors.New("notify: too many messages; this one was not sent")

// ThrottleOptions configures a [Throttle].
type ThrottleOptions struct {
	// Limit is how many messages pass within any period of length Per. Default: 20.
	Limit int
	// Per is the length of the period. Default: 1 h.
	Per time.Duration
}

// Throttle is a [Notifier] with a hard limit. Even if the sending code has an error, a
// receiver gets at most Limit messages within Per. The last message before the limit
// says how long further messages are dropped. Failed attempts count too.
type Throttle struct {
	next  Notifier
	limit int
	per   time.Duration

	mu     sync.Mutex
	passed []time.Time // the newest messages, at most limit of them, oldest first
}

// NewThrottle returns a Throttle before next.
func NewThrottle(next Notifier, opts *ThrottleOptions) (*Throttle, error) {
	t := &Throttle{next: next, limit: 20, per: time.Hour}
	if opts != nil {
		if opts.Limit < 0 || opts.Per < 0 {
			return nil, errors.New("notify: a limit is negative")
		}
		if opts.Limit > 0 {
			t.limit = opts.Limit
		}
		if opts.Per > 0 {
			t.per = opts.Per
		}
	}
	if next == nil {
		return nil, errors.New("notify: NewThrottle needs a notifier")
	}
	return t, nil
}

// Notify sends m to the next notifier, or returns [ErrThrottled].
func (t *Throttle) Notify(ctx context.Context, m Message) error {
	mutedUntil, ok := t.take(time.Now())
	if !ok {
		return Refused(m, fmt.Errorf("%w; the next may go at %s", ErrThrottled, mutedUntil.Format(time.RFC3339)))
	}
	if !mutedUntil.IsZero() {
		m.Text += fmt.Sprintf("\n\nThis is message %d within %v: nothing more is sent until %s.",
			t.limit, t.per, mutedUntil.Format("15:04 MST"))
		m.HTML = "" // the notice is in the text
	}
	return t.next.Notify(ctx, m)
}

// take reports whether a message may pass at now. If it is the last one, or may not
// pass, it also returns when the next one may.
func (t *Throttle) take(now time.Time) (mutedUntil time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed = slices.DeleteFunc(t.passed, func(at time.Time) bool { return now.Sub(at) >= t.per })
	if len(t.passed) >= t.limit {
		return t.passed[0].Add(t.per), false
	}
	t.passed = append(t.passed, now)
	if len(t.passed) == t.limit {
		return t.passed[0].Add(t.per), true
	}
	return time.Time{}, true
}
