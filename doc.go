// Package mainstay is the root of a library of production middleware: what a
// Go service needs before it goes live.
//
// There is nothing to import here. Import the one package you need; none of
// them imports another:
//
//   - cache: a coherent two-tier cache with typed get-or-load, over Redis and memory
//   - ratelimit: limits that hold exactly, in memory and on Redis, with HTTP middleware
//   - health: checks that cannot hang or leak, health endpoints, status page, alerts
//   - backup: database backups that are proven complete, with retention and restore
//   - pagination: page-number, limit/offset and keyset lists, signed cursors, links
//
// The small package notify sends the mails and webhooks of health and backup.
// The modules under contrib hold integrations whose dependencies are heavy, and
// examples/pos is a reference server that uses all of them together.
//
// Every package follows the same conventions. A constructor is called
// New(required…, *Options), accepts nil options, starts no goroutine and dials
// nothing. Background work is a Run(ctx) error method that returns when all it
// started has ended. Absence is a bool or a typed value, and an error means
// failure. Loggers are *slog.Logger, hooks are structs of functions called
// Trace, and counters are read with Stats.
package mainstay
