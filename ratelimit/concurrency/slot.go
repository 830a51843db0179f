package concurrency

import (
	"context"
	"sync/atomic"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Slot is one use in flight, or the refusal of one. Its weight is Result().Cost. It is safe
// for concurrent use.
type Slot struct {
	result   ratelimit.Result
	released atomic.Bool
	lease    Lease

	// Of a Memory, whose slots need no lease.
	memory  *Memory
	key     string
	crowded bool
}

// Lease describes a slot of a shared back-end: for
// implementations of Limiter.
type Lease interface {
	// Release frees the slot. It is called once, and returns ErrSlotLost when the slot
	// was not this holder's any more.
	Release() error
	// Held reports whether the slot is surely this holder's now, as far as this process
	// knows alone.
	Held() bool
	// Lost returns a context that ends when the slot is lost, and not otherwise.
	Lost() context.Context
	// Token is a number that grows with every slot of the key.
	Token() int64
}

// NewSlot is for implementations of Limiter. A slot with a nil lease needs no release.
func NewSlot(result ratelimit.Result, lease Lease) *Slot { return &Slot{result: result, lease: lease} }

// Result returns the decision. Its Window, NextAfter and ResetAfter are 0: the time of
// a release is not known.
func (s *Slot) Result() ratelimit.Result { return s.result }

// Release frees the slot. It frees it once, however often it is called, and it never frees
// the slot of another holder. An error of a shared back-end needs no second call, because
// the slot runs out by itself. ErrSlotLost means that the lease had run out before: another
// holder may have worked at the same time.
func (s *Slot) Release() error {
	if !s.released.CompareAndSwap(false, true) {
		return nil
	}
	switch {
	case s.memory != nil:
		s.memory.release(s)
	case s.lease != nil:
		return s.lease.Release()
	}
	return nil
}

// Held reports whether the slot is still its holder's. It is false after Release, on a
// refusal, and after the lease of a shared back-end has run out. A process that was paused
// should check it before it continues. A slot in memory cannot be lost. A slot that
// OnFailure gave is held as far as this process can find out: see Result().Degraded.
func (s *Slot) Held() bool {
	return s.result.Allowed && !s.released.Load() && (s.lease == nil || s.lease.Held())
}

// Token is a fencing token. A later holder of a key's slots has a greater token. Send it
// with each write to a shared resource. The resource rejects a token smaller than one that
// it has seen. That stops a holder that was paused between Held and its write. The token is
// 0 in memory, and when Result().Degraded.
func (s *Slot) Token() int64 {
	if s.lease == nil {
		return 0
	}
	return s.lease.Token()
}

// Context returns a context that ends with parent and, with the cause ErrSlotLost, when
// the slot is lost. Calling cancel frees the context, not the slot.
func (s *Slot) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	if s.lease == nil {
		return context.WithCancel(parent)
	}
	ctx, end := context.WithCancelCause(parent)
	lost := s.lease.Lost()
	if lost.Err() != nil {
		end(ErrSlotLost)
	}
	stop := context.AfterFunc(lost, func() { end(ErrSlotLost) })
	return ctx, func() {
		stop()
		end(nil)
	}
}
