package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/internal/foreign"
)

// update calls the store like a check: on a goroutine of its own, and with a deadline.
// It does not wait longer than a second after ctx has ended, at the latest after
// storeWait. A store that has not returned is not called again, and f does not run for a
// call that update no longer waits for. called says that f ran, so its changes may be in
// the store even if there is an error. Callers hold a.deciding.
func (a *Alerter) update(ctx context.Context, f func(state []byte) ([]byte, error)) (called bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	a.mu.Lock()
	since := a.calling
	if since.IsZero() {
		a.calling = time.Now()
	}
	a.mu.Unlock()
	if !since.IsZero() {
		return false, fmt.Errorf("%w since %s", errHung, since.UTC().Format(time.RFC3339))
	}
	var mu sync.Mutex // guards called and over
	over := false
	done := make(chan error, 1)
	go func() {
		var err error
		fault := foreign.Call(func() {
			err = a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				if over {
					return nil, errHung
				}
				called = true
				return f(state)
			})
		})
		if fault != nil {
			err = fmt.Errorf("alert: the store %w", fault)
		}
		err = foreign.Error(err)
		a.mu.Lock()
		a.calling = time.Time{}
		a.mu.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return called, err
	case <-ctx.Done():
	}
	timer := time.NewTimer(obeyWait)
	defer timer.Stop()
	select {
	case err := <-done:
		return called, err
	case <-timer.C:
		mu.Lock()
		defer mu.Unlock()
		over = true
		return called, errHung
	}
}

// errHung is the error of a store that does not return.
var errHung = errors.New("alert: the store has not returned")

// lock takes the right to decide, unless ctx ends before.
func (a *Alerter) lock(ctx context.Context) error {
	select {
	case a.deciding <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("alert: another decision has not ended: %w", ctx.Err())
	}
}

func (a *Alerter) unlock() { <-a.deciding }

// change applies f to the stored state.
func (a *Alerter) change(ctx context.Context, f func(d *document, now time.Time) error) error {
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.unlock()
	var now time.Time
	_, err := a.update(ctx, func(state []byte) ([]byte, error) {
		d, err := a.read(state)
		if err != nil {
			return nil, err
		}
		now = time.Now()
		a.rejoin(d, now)
		d.clamp(now)
		if err := f(d, now); err != nil {
			return nil, err
		}
		a.remember(d)
		return a.write(d)
	})
	if err == nil {
		a.saved(now)
		a.poke()
	}
	return err
}

// rejoin merges the changes that this process made without the store.
func (a *Alerter) rejoin(d *document, now time.Time) {
	a.mu.Lock()
	unsaved, since := a.unsaved, a.written
	a.mu.Unlock()
	if unsaved {
		d.absorb(a.known(), a.opts.Instance, since, now)
	}
}

// saved records that the store has the state of this process.
func (a *Alerter) saved(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unsaved, a.written = false, at
}

// read returns the stored state. It decodes only a state that another process
// wrote.
func (a *Alerter) read(state []byte) (*document, error) {
	a.mu.Lock()
	local, same := a.local, a.stored != nil && bytes.Equal(state, a.stored)
	a.mu.Unlock()
	if same {
		return local.clone(), nil
	}
	return decode(state)
}

// write encodes a document that remember has just kept.
func (a *Alerter) write(d *document) ([]byte, error) {
	b, err := d.encode()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.stored = b
	a.mu.Unlock()
	return b, nil
}

// remember keeps the state for readers and for times without a store.
func (a *Alerter) remember(d *document) {
	local := d.clone()
	a.mu.Lock()
	a.local, a.stored = local, nil
	a.mu.Unlock()
}

// known returns a copy of the last known state.
func (a *Alerter) known() *document {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.local.clone()
}
