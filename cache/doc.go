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
// Within a process, once Delete or Set has returned, no later read returns an older
// value: a load that began before is not kept, and a reader that comes after it does
// not join that load. However many readers miss a key at once, one load runs. The load
// does not end because the first of them went away, and each of them waits no longer
// than its own context.
//
// A cache that fails is never the caller's failure in GetOrLoad: the value is loaded,
// and the failure is counted, traced and logged once per change of state.
//
// # What is not
//
// Between processes a value may be stored by one that loaded it before another deleted
// it; it then lives until its time to live ends. A store may drop any value at any
// time.
package cache
