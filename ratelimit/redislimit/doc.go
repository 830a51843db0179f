// Package redislimit keeps the limits of package ratelimit on Redis, so that all
// instances of a service hold them together.
//
//	store, err := redislimit.New(client, nil)
//	login, err := store.Limiter(ratelimit.Login(), nil)
//
// A decision is one script in one round trip on the clock of the Redis server, for
// several policies at once where their keys share a slot. It works with Redis 6.2 and
// later: standalone, Sentinel, Cluster, Ring. The store connects with the first
// decision. A Redis that hangs delays a request by at most one and a half times
// [Options.Timeout]. The circuit breaker opens after [Options.BreakerFailures] such requests.
// Then a request takes microseconds, except one in about two seconds that tries again. The
// [ratelimit.FailureMode] of each policy applies to all of them.
//
// # Guarantees
//
// Exact and Buckets admit at most Limit in any window of the server's clock. A unit
// is forgotten early only when Redis itself forgets it: by eviction (use noeviction, or a
// database of its own), in a crash before it was saved, or in a failover. Replication is
// asynchronous, so a failover loses the units that the old master had not replicated yet, at
// most Limit for each key. WAIT would make that rarer and could not prevent it. A server's
// clock that is set back keeps units longer. A clock that is set forward frees them early.
package redislimit
