package alert

import (
	"bytes"
	"context"
	"time"
)

// change applies f to the stored state.
func (a *Alerter) change(ctx context.Context, f func(d *document, now time.Time) error) error {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	err := a.opts.Store.Update(ctx, func(state []byte) ([]byte, error) {
		d, err := a.read(state)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		d.clamp(now)
		if err := f(d, now); err != nil {
			return nil, err
		}
		a.remember(d)
		return a.write(d)
	})
	if err == nil {
		a.poke()
	}
	return err
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
