// Package batch marks the contexts of statements that read one list in batches.
package batch

import "context"

type key struct{}

// Mark returns a context whose statements read a list in batches.
func Mark(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, true) }

// Marked reports whether a context is one of Mark.
func Marked(ctx context.Context) bool { return ctx.Value(key{}) != nil }
