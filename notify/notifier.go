package notify

import "context"

// Notifier delivers a message.
//
// Notify returns nil only if the receiver has accepted the message. It obeys the
// context and is safe for concurrent use. It may be called again with the same message
// after an error: delivery is at least once. An error leaves open whether the message
// arrived, unless it is a [DeliveryError].
type Notifier interface {
	Notify(ctx context.Context, m Message) error
}

// Func is a function used as a [Notifier].
type Func func(ctx context.Context, m Message) error

// Notify calls f.
func (f Func) Notify(ctx context.Context, m Message) error { return f(ctx, m) }
