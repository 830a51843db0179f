// Package mainstay is the root of a library of production middleware for Go services.
//
// Import the one package that you need. The packages do not import each other:
//
//   - cache: typed values in memory, in Redis, or in both, never older than their last Delete
//   - ratelimit: limits that hold exactly, in memory and on Redis, with HTTP middleware and a login guard
//   - health: checks that cannot hang, endpoints, a status page and alerts
//   - backup: dumps of databases and folders that are verified by reading or restoring them
//   - pagination: page-number, limit/offset and keyset lists with signed cursors
//
// Package notify sends the mails and webhooks of health and backup. The modules under
// contrib contain integrations with heavy dependencies. The folder examples/quickstart has
// one file with all five packages, and examples/pos is a reference server.
//
// This package has the one function that a service needs around them: Run starts the parts
// of a service and stops them in the reverse order.
//
// All packages follow the same conventions. A constructor is New(required…, *Options). It
// accepts nil options, starts no goroutine and opens no connection. Background work is a
// method Run(ctx) error, which returns after everything that it started has ended. Absence
// is a bool or a typed value, and an error means failure. Loggers are *slog.Logger. Hooks
// are structs of functions with the name Trace. Stats returns the counters.
// of functions called Trace. Counters are read with Stats.
package mainstay
