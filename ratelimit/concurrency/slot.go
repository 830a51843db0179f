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

// NewSlot is for implementations of Limiter. A nil lease means that there is
// nothing to release.
func NewSlot(result ratelimit.Result, lease Lease) *Slot { return &Slot{result: result, lease: lease} }

// Result returns the decision. Its Window, NextAfter and ResetAfter are 0: the time of
// a release is not known.
func (s *Slot) Result() ratelimit.Result { return s.result }

// Release frees the slot. It may be called any number of times and on a refusal, frees
// at most once and never another's slot. The error of a shared back-end needs no
// second call, since the slot runs out by itself; ErrSlotLost tells that what was done
// last may have been done beside another.
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

// Held says whether the slot is still its holder's. It is false after Release, on a
// refusal, and once a shared back-end's lease has run out, which a process that was
// paused sees here before it does anything else. A slot in memory cannot be lost. One
// that OnFailure gave is held as far as this process knows; Result().Degraded tells.
func (s *Slot) Held() bool {
	return s.result.Allowed && !s.released.Load() && (s.lease == nil || s.lease.Held())
}

// Token is a fencing token: of two holders of a key's slots, the later has the greater
// one. Who writes to a shared resource under a slot hands it along, and the resource
// refuses a token smaller than one that it has seen: that stops a holder that was
// paused between Held and its write, which nothing on its own side can. It is 0 where
// slots cannot be lost or nothing numbered them: in memory, and when Result().Degraded.
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
