// Package health checks the dependencies of a service, and serves the results as
// /health/, /ready/ and /alive/.
//
//	reg, err := health.New([]health.Check{
//		health.Database("database", db, nil),
//		redischeck.New("cache", rdb, nil),
//		hostcheck.Disk("disk", "/var/lib/pos", nil),
//		hostcheck.Memory("memory", nil),
//	}, &health.Options{Authorize: health.BearerToken(token)})
//	...
//	go reg.Run(ctx)
//	reg.Mount(mux)
//
// # Guarantees
//
//   - A check that hangs holds one goroutine. It is reported as stuck, with the time
//     since when, and is never started a second time.
//   - A result that is too old counts as a failure. Its age is checked on every read,
//     so a registry whose loops have died does not continue to report "pass".
//   - A check that panics fails.
//   - A request only loads the last snapshot. A client that disconnects changes
//     nothing.
//   - A listener runs outside all locks.
//
// # States
//
// The raw state of a check is its last result. The confirmed state gets worse after
// FailAfter results in a row (3) and better after RecoverAfter (2). /health/ shows the
// raw state at once. Listeners that alert use the confirmed state. /ready/ follows two
// results in a row. So a single lost packet moves no traffic and sends no alert.
//
// The state of the service is the worst state of the critical checks. Any other failing
// check makes it warn. A critical check that has never run counts as failed.
//
// # Who sees what
//
// Callers that Options.Authorize accepts see the details. A scrubber removes passwords
// and tokens from every text first. All other callers get only {"status":"pass"},
// "warn" or "fail", without names, versions, hosts, times or errors. Without
// Options.Authorize no caller sees details.
//
// # With and without Run
//
// [Registry.Run] runs each check in a loop of its own. Without Run, a request to an
// endpoint runs the checks that are due, at most once per interval. The request then
// waits for them, but never longer than the longest Timeout.
package health
