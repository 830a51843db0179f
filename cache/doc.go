// Package cache keeps what is dear to compute: in memory, in Redis, or in both.
//
// [Cache] is the seam for back-ends, bytes under keys: packages ristrettocache (this
// process) and rediscache (all processes) have one each, and package cachetest proves
// others. [Typed] is what a service uses: one variable for each kind of value.
//
//	products, err := cache.New[[]Product](store, "products", 5*time.Minute, nil)
//	...
//	list, err := products.GetOrLoad(ctx, "page=1", func(ctx context.Context) ([]Product, error) {
//		return db.Products(ctx, 1)
//	})
//
// # What is guaranteed
//
// Once Delete, Set, InvalidateTags or Clear has returned, no later read in this process
// returns an older value: a load that began before is not kept, and a reader that comes
// after does not join it. With a store that is a [Leaser], such as rediscache, the same
// holds for what the store has, whoever loaded it, and one load runs for all processes.
// What other processes have in memory goes with a message, and lives for a stated time
// where messages are lost. The load does not end because the first of its readers went
// away, and each of them waits no longer than its own context.
//
// A cache that fails is never the caller's failure in GetOrLoad: the value is loaded,
// and the failure is counted, traced and logged once per change of state.
//
// # What is not
//
// A failover of Redis may undo a write. A store may drop any value at any time. Values
// in [Options].Near are shared. docs/cache.md has the whole of both lists, and why they
// hold.
package cache
