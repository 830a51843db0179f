// Package cache stores values that are expensive to compute, in memory, in Redis, or in both.
//
// A service creates one [Typed] for each kind of value, on a store that all caches share.
// Package rediscache has Redis with a local tier in front. With a nil store the values
// exist in this process only. Package driver is for authors of stores and of decorators,
// and package cachetest tests both.
//
//	products, err := cache.New[[]Product](store, "products", 5*time.Minute, nil)
//	...
//	list, err := products.GetOrLoad(ctx, "page=1", func(ctx context.Context) ([]Product, error) {
//		return db.Products(ctx, 1)
//	})
//
// # Guarantees
//
// After Delete, Set, InvalidateTags or Clear has returned, no later read in this process
// returns an older value. A load that began before is not stored, and later readers do not
// join it. The same holds for the values in Redis. One load runs for all processes. A
// message drops the values in the memory of other processes. A load continues when its
// first caller leaves, and each caller waits for its own context only.
//
// A failing store does not fail GetOrLoad: the value is loaded. The failure is counted,
// traced, and logged once.
//
// # Limits
//
// A failover of Redis may undo a write. A store may drop any value at any time. Callers
// share the values in memory unless Options.Clone is set. docs/cache.md has both lists in
// full, and the reasons.
package cache
