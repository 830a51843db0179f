// Package health checks what a service depends on, and answers /health/,
// /ready/ and /alive/ from the results.
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
// # What cannot happen
//
// A check that hangs holds one goroutine, is reported as stuck with the time
// since when, and is never started a second time. A result that is too old is
// a failure, and that is decided while it is read: a registry whose loops have
// died does not go on saying "pass". A check that panics fails. A request only
// loads the last snapshot; a client that goes away changes nothing. A listener
// runs outside all locks.
//
// # States
//
// The raw state of a check is its last result. The confirmed state follows
// after FailAfter results in a row (3) and leaves after RecoverAfter (2).
// /health/ shows the raw state at once; /ready/ and listeners that alert use
// the confirmed one, so that a single lost packet moves no traffic and wakes
// nobody.
//
// The whole is the worst of the critical checks; any other failing check makes
// it warn. A check that has never run counts as failed.
//
// # Who sees what
//
// Without Options.Authorize, and for callers that it refuses, the body is
// {"status":"pass"}, "warn" or "fail", and nothing else: no names, versions,
// hosts, times or errors. Authorised callers see the details after a scrubber
// has taken passwords and tokens out of every text.
//
// # With and without Run
//
// [Registry.Run] gives each check a loop of its own. Without it the checks run
// on demand, at most once per interval, when an endpoint is asked; the caller
// waits for them, never longer than the longest Timeout.
package health
