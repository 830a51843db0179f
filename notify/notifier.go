package notify

import "context"

// Notifier delivers a message.
//
// Notify returns nil only if the receiver has taken the message. It honours the
// context, is safe for concurrent use, and may be called again with the same
// message after an error: delivery is at least once.
type Notifier interface {
	Notify(ctx context.Context, m Message) error
}

// Func is a function used as a [Notifier].
type Func func(ctx context.Context, m Message) error

// Notify calls f.
func (f Func) Notify(ctx context.Context, m Message) error { return f(ctx, m) }
