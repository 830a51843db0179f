package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// SetTags adds tags to the value that is being loaded. Use it for tags that depend on the
// value, such as the category of a product. Call it in a load, with the context of the
// load. In GetOrLoadMany it applies to all values of that load. A key has at most 16 tags,
// including those of Options.Tags and WithTags. More tags are an error, and the call adds
// none.
//
// If an InvalidateTags with such a tag returns during the load, the value is not stored,
// and callers that arrived later do not receive it. Invalidations of other tags have no
// effect. A store that currently receives no invalidations (see Run of rediscache) stores
// no value with such tags.
func SetTags(ctx context.Context, tags ...string) error {
	return metaOf(ctx, func(m *meta) error {
		if n := m.known + len(m.tags) + len(tags); n > maxTags {
			return fmt.Errorf("cache: %d tags with those known before the load; a key has at most %d", n, maxTags)
		}
		m.tags = append(m.tags, tags...)
		return nil
	})
}

// SetTTL sets the time to live of the value that is being loaded, such as the lifetime of a
// token. Call it in a load, with the context of the load.
func SetTTL(ctx context.Context, ttl time.Duration) error {
	return metaOf(ctx, func(m *meta) error {
		switch {
		case ttl < time.Millisecond:
			return ErrInvalidTTL
		case ttl > longestTTL:
			return fmt.Errorf("cache: the time to live %v is longer than %v", ttl, longestTTL)
		}
		m.ttl = ttl
		return nil
	})
}

// DoNotKeep returns the value that is being loaded to its callers without storing it. An
// ErrNotFound of the load is not remembered either. Call it in a load, with the context of
// the load.
func DoNotKeep(ctx context.Context) error {
	return metaOf(ctx, func(m *meta) error {
		m.drop = true
		return nil
	})
}

// Old returns the value of a key that the load replaces, if it may still be served within
// StaleFor. Use it for a conditional request with its version, whose response may be that
// the value has not changed. ctx is the context of the load.
func Old[V any](ctx context.Context, key string) (value V, ok bool) {
	m, _ := ctx.Value(metaKey{}).(*meta)
	if m == nil || m.old == nil {
		return value, false
	}
	value, ok = m.old(key).(V)
	return value, ok
}

// meta carries the settings of a load for its value, in the context of the load.
type meta struct {
	known int // number of tags that its fullest key already has
	old   func(key string) any
	node  *node // of the calls of this load

	mu   sync.Mutex
	over bool // the load has returned
	tags []string
	ttl  time.Duration
	drop bool
}

type metaKey struct{}

func metaOf(ctx context.Context, set func(*meta) error) error {
	m, ok := ctx.Value(metaKey{}).(*meta)
	if !ok {
		return errors.New("cache: SetTags, SetTTL and DoNotKeep need the context that the load received")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return errors.New("cache: SetTags, SetTTL and DoNotKeep come too late: the load has returned")
	}
	return set(m)
}

// end closes the meta. Later settings are errors.
func (m *meta) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
}
