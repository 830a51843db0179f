package api

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadline is a context like that of context.WithDeadline, whose timer starts with the first
// call of Done. Most requests are served from memory and need no timer.
type deadline struct {
	context.Context
	at      time.Time
	once    sync.Once
	started atomic.Bool
	timer   context.Context //nolint:containedctx // the second half of this context
	cancel  context.CancelFunc
}

// stop releases the timer. The context itself ends with its parent.
func (d *deadline) stop() {
	if d.started.Load() {
		d.cancel()
	}
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) Done() <-chan struct{} {
	d.once.Do(func() {
		d.timer, d.cancel = context.WithDeadline(d.Context, d.at)
		d.started.Store(true)
	})
	return d.timer.Done()
}

func (d *deadline) Err() error {
	if d.started.Load() {
		return d.timer.Err()
	}
	if err := d.Context.Err(); err != nil {
		return err
	}
	if time.Now().Before(d.at) {
		return nil
	}
	<-d.Done()
	return d.timer.Err()
}

// Value finds the timer too, so that a context made from this one needs no goroutine.
func (d *deadline) Value(key any) any {
	if d.started.Load() {
		return d.timer.Value(key)
	}
	return d.Context.Value(key)
}
