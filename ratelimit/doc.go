// Package ratelimit limits how much a client may use, exactly.
//
// "5 per hour" means at most 5 in any hour, whichever hour one looks at. A fixed window
// admits 10 around its edge, and a sliding counter or a token bucket nearly 10. The
// sliding-window log of this package ([Exact], the default) admits 5, and refuses no client
// that kept to the limit. A [Memory] decision takes tens of nanoseconds and no
// allocation. Package redislimit decides in one round trip for all instances of a service.
//
// A [Policy] is the limit. A [Limiter] decides: [NewMemory] makes one for a single process, and
// the Store of package redislimit makes one for many. [Decide] decides several checks at once, all or none of
// them. [NewMiddleware] puts [Rule] values in front of an http.Handler, with the response
// fields that clients know. The handler states the outcome of a request with [AdmissionFrom].
//
// Package loginguard protects logins, package concurrency limits requests in flight, package
// outbound limits a client, and package operate serves operators.
//
// This package starts no goroutine, and every type that decides is safe for
// concurrent use.
package ratelimit
