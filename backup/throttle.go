package backup

import (
	"context"
	"io"
	"sync"
	"time"
)

// Throttle limits the transfers of s to these numbers of bytes a second, for all transfers
// together. up is the limit for writing to s, and down for reading from it. 0 means no
// limit. Use it on a slow line that has other users: wrap the storage of a [Target] in it.
// The limit also slows a restore. Leave down at 0 unless reads at night disturb others.
func Throttle(s Storage, up, down int64) Storage {
	return &throttled{Storage: s, up: newPace(up), down: newPace(down)}
}

type throttled struct {
	Storage
	up, down *pace
}

func (t *throttled) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	if t.up == nil {
		return t.Storage.Put(ctx, name, write)
	}
	return t.Storage.Put(ctx, name, func(w io.Writer) error { return write(&pacedWriter{ctx, w, t.up}) })
}

func (t *throttled) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := t.Storage.Open(ctx, name)
	if err != nil || t.down == nil {
		return r, err
	}
	return &pacedReader{ctx, r, t.down}, nil
}

// pace distributes bytes evenly over time. Its methods are safe for concurrent use.
type pace struct {
	rate int64
	mu   sync.Mutex
	next time.Time // when the next bytes may be sent
}

func newPace(rate int64) *pace {
	if rate <= 0 {
		return nil
	}
	return &pace{rate: rate}
}

// piece returns how many bytes are sent at once. It is the amount of a tenth of a second,
// so that the server never waits long for the next bytes.
func (p *pace) piece() int { return int(min(max(p.rate/10, 1), 256<<10)) }

// wait returns when n more bytes may be sent.
func (p *pace) wait(ctx context.Context, n int) error {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	at := p.next
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type pacedWriter struct {
	ctx  context.Context
	to   io.Writer
	pace *pace
}

func (w *pacedWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), w.pace.piece())]
		if err := w.pace.wait(w.ctx, len(part)); err != nil {
			return n, err
		}
		m, err := w.to.Write(part)
		n += m
		if err != nil {
			return n, err
		}
		b = b[m:]
	}
	return n, nil
}

type pacedReader struct {
	ctx context.Context
	io.ReadCloser
	pace *pace
}

func (r *pacedReader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b[:min(len(b), r.pace.piece())])
	if n > 0 {
		if waitErr := r.pace.wait(r.ctx, n); waitErr != nil {
			return n, waitErr
		}
	}
	return n, err
}
