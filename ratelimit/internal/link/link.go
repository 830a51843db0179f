// Package link gives package driver what package ratelimit shows to no user.
package link

import (
	"context"
	"log/slog"
)

// The functions of package ratelimit, which sets them when it is initialized.
var (
	NewReservation func(result, backend, token any) any
	BackendOf      func(check any) any
	Wait           func(ctx context.Context, check any) (any, error)
	Record         func(memory any, key string, limit, cost int) any
	Guarded        func(admission, guard any, logger *slog.Logger, outcome func(int)) // see the constants
	Token          func(reservation any) any
	Settle         func(ctx context.Context, reservation any, cost int) error
	Admit          func(ctx context.Context, checks, free any) (any, error)
	ValidRules     func(name string, rules any) error
	Limit          func(ctx context.Context, policy, limitFunc any, key string) (int, error)
)

// The outcomes of an admission.
const (
	Failed = iota
	Succeeded
	Pending
)
