// Package ratelimit holds limits against somebody who tries to break them.
//
// "5 per hour" means here what a reader takes it to mean: whichever hour one looks
// at, at most 5 were let through. A fixed window lets 10 through around its edge, a
// sliding counter and a token bucket nearly 10; the sliding-window log of this
// package ([Exact], the default) lets 5 through and refuses nobody who kept to it.
// It costs no more than they do: a [Memory] decision takes tens of nanoseconds and
// allocates nothing, and package redislimit decides in one round trip.
//
// A [Policy] says how much. A [Limiter] decides; [NewMemory] makes one for a single
// process, redislimit.New one for a fleet. [Decide] asks several at once and takes
// from none unless all allow. [NewMiddleware] puts [Rule] values in front of an
// http.Handler, with the response headers that clients know.
//
// Nothing in this package starts a goroutine, and every type that decides is safe
// for concurrent use.
package ratelimit
