package notify

import (
	"context"
	"fmt"
	"time"
)

// Test sends a test message through n, so that a person can verify the channel before
// it is needed.
func Test(ctx context.Context, n Notifier, source string) error {
	now := time.Now()
	return n.Notify(ctx, Message{
		Subject: fmt.Sprintf("[TEST] %s: notifications work", source),
		Text:    "Somebody asked for this test message. Problems will come the same way.",
		Level:   Info, Source: source, Key: "test-" + now.UTC().Format(time.RFC3339Nano), Time: now,
	})
}
