// Package redislimit keeps the limits of package ratelimit on Redis, so that all
// instances of a service hold them together.
//
//	store, err := redislimit.New(client, nil)
//	login, err := store.Limiter(ratelimit.Login(), nil)
//
// A decision is one script in one round trip on the clock of the Redis server, for
// several policies at once where their keys share a slot. It works with Redis 6.2 and
// later: standalone, Sentinel, Cluster, Ring. The store connects with the first
// decision, and a Redis that refuses, hangs or is paused costs a request at most
// [Options.Timeout], and microseconds once the breaker is open; each policy says what
// holds then ([ratelimit.FailureMode]).
//
// # Guarantees
//
// Exact and Buckets admit at most Limit in any window of the server's clock. A unit
// is forgotten early only when Redis itself forgets it: evicted (use noeviction, or a
// database of its own), lost with a crash before it was saved, or lost in a failover.
// Replication is asynchronous, so a failover forgets what the old master had admitted
// but not yet replicated, at most Limit for each key; WAIT could not prevent that
// either, only make it rarer. A server's clock that is set back keeps units longer,
// one that is set forward frees them early.
package redislimit
