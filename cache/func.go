package cache

import "context"

// Func returns fn with its results kept in c, under the key that key makes of the
// argument. Different arguments must have different keys.
func Func[K, V any](c *Typed[V], key func(K) string, fn func(context.Context, K) (V, error)) func(context.Context, K) (V, error) {
	return func(ctx context.Context, arg K) (V, error) {
		return c.GetOrLoad(ctx, key(arg), func(ctx context.Context) (V, error) { return fn(ctx, arg) })
	}
}
