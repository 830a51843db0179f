package cache

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"
)

// CallOption tunes one call; see [WithTags] and [WithTTL].
type CallOption struct {
	tags []string
	ttl  time.Duration
}

// WithTags gives the value that this call loads or sets tags besides those of
// Options.Tags. They are known before the load, so an InvalidateTags with one of them
// that comes during the load keeps the value from being stored, and no other does.
func WithTags(tags ...string) CallOption { return CallOption{tags: tags} }

// WithTTL is the time to live of the value that this call loads or sets.
func WithTTL(ttl time.Duration) CallOption { return CallOption{ttl: ttl} }

// SetTags gives the value that is being loaded more tags, which only what was loaded can
// tell: the category of a product. It is called in a load with the load's own context;
// in GetOrLoadMany it is for all values of that load. A key has 16 tags at most, those of
// Options.Tags and WithTags among them; more are an error, and none of the call is kept.
//
// What was invalidated before the tags were known cannot be told from their states, so
// any InvalidateTags on the same store that comes during the load keeps the value from
// being stored. Readers in other processes need a second round trip for such a value.
func SetTags(ctx context.Context, tags ...string) error {
	return metaOf(ctx, func(m *meta) error {
		if n := m.known + len(m.tags) + len(tags); n > maxTags {
			return fmt.Errorf("cache: %d tags with those known before the load; a key has at most %d", n, maxTags)
		}
		m.tags = append(m.tags, tags...)
		return nil
	})
}

// SetTTL is the time to live of the value that is being loaded, such as what a token says
// of itself. It is called in a load with the load's own context.
func SetTTL(ctx context.Context, ttl time.Duration) error {
	return metaOf(ctx, func(m *meta) error {
		if ttl < time.Millisecond {
			return ErrInvalidTTL
		}
		m.ttl = ttl
		return nil
	})
}

// meta is what a load says of its value.
type meta struct {
	known int // tags that its fullest key has already
	mu    sync.Mutex
	over  bool // the load has returned
	tags  []string
	ttl   time.Duration
}

type metaKey struct{}

func metaOf(ctx context.Context, set func(*meta) error) error {
	m, ok := ctx.Value(metaKey{}).(*meta)
	if !ok {
		return errors.New("cache: SetTags and SetTTL need the context that the load was given")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return errors.New("cache: SetTags and SetTTL come too late: the load has returned")
	}
	return set(m)
}

// end returns what was set; nothing can be set from now on.
func (m *meta) end() (tags []string, ttl time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	return m.tags, m.ttl
}

// anyTag is invalidated before all others: who knows its tags only after the load asks
// whether any tag was invalidated since the load began.
const anyTag = "any"

func clearTag(name string) string { return "all:" + name }

// userTag is a caller's tag as the store knows it; a long one by its hash.
func userTag(tag string) string {
	const longest = 200
	if len(tag) > longest {
		sum := sha256.Sum256([]byte(tag))
		return "tag#" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return "tag:" + tag
}

func userTags(tags []string) []string {
	if len(tags) == 0 {
		return nil
	}
	full := make([]string, len(tags))
	for i, tag := range tags {
		full[i] = userTag(tag)
	}
	return full
}

// want is a key with the names of its tags: those that each reader knows, first the one
// of all keys, which Clear invalidates; and those of this call.
type want struct {
	key       string
	own, call []string
	ttl       time.Duration
}

// tags is how many of the 16 tags are known before the load.
func (w *want) tags() int { return len(w.own) - 1 + len(w.call) }

// want completes a key.
func (c *Typed[V]) want(key string, opts []CallOption) (want, error) {
	w := want{key: key, own: c.ownTags, ttl: c.ttl}
	if key == "" {
		return w, ErrEmptyKey
	}
	for _, o := range opts {
		w.call = append(w.call, userTags(o.tags)...)
		if o.ttl != 0 {
			w.ttl = o.ttl
		}
	}
	if w.ttl < time.Millisecond {
		return w, fmt.Errorf("cache: %s: %w", c.name, ErrInvalidTTL)
	}
	if c.opts.Tags != nil {
		w.own = append(append(make([]string, 0, 4), c.ownTags...), userTags(c.opts.Tags(key))...)
	}
	if n := w.tags(); n > maxTags {
		return w, fmt.Errorf("cache: %s: %d tags; a key has at most %d", c.name, n, maxTags)
	}
	return w, nil
}

// stamp reads the counters of a key and all of its known tags.
func (c *Typed[V]) stamp(w *want) stamp { return c.coh.stamp(c.hash(w.key), w.own, w.call) }

// tagSet numbers the names of tags.
type tagSet struct {
	names []string
	at    map[string]int
}

func (s *tagSet) add(name string) int {
	if i, ok := s.index(name); ok {
		return i
	}
	s.names = append(s.names, name)
	i := len(s.names) - 1
	if s.at != nil {
		s.at[name] = i
	} else if i == 16 { // above that a map is faster than a look at each
		s.at = make(map[string]int)
		for i, name := range s.names {
			s.at[name] = i
		}
	}
	return i
}

func (s *tagSet) index(name string) (int, bool) {
	if s.at != nil {
		i, ok := s.at[name]
		return i, ok
	}
	for i, n := range s.names {
		if n == name {
			return i, true
		}
	}
	return 0, false
}

// states returns the states of tags.
func (c *Typed[V]) states(ctx context.Context, tags []string) ([]string, error) {
	if c.tagger == nil {
		return c.coh.localTags(tags), nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
	defer cancel()
	_, states, err := c.tagger.Read(ctx, nil, tags)
	return states, err
}

// InvalidateTags makes absent all keys that bear any of the tags, in every cache on the
// same store, in a time that does not depend on their number. Once it has returned nil
// no value that was loaded before is served by the store, nor by this process.
func (c *Typed[V]) InvalidateTags(ctx context.Context, tags ...string) error {
	if len(tags) == 0 {
		return nil
	}
	return c.invalidate(ctx, append([]string{anyTag}, userTags(tags)...))
}

// Clear makes all keys of this cache absent, as InvalidateTags does, and touches no
// other.
func (c *Typed[V]) Clear(ctx context.Context) error { return c.invalidate(ctx, c.ownTags) }

func (c *Typed[V]) invalidate(ctx context.Context, tags []string) (err error) {
	if c.tagger != nil {
		storeCtx, cancel := context.WithTimeout(ctx, c.opts.StoreTimeout)
		defer cancel()
		err = c.tagger.InvalidateTags(storeCtx, tags...)
		c.observe(ctx, "", err)
	}
	for _, tag := range tags {
		c.coh.TagChanged(tag) // after the store: what was read during the call may be old
	}
	if err != nil {
		return fmt.Errorf("cache: %s: %w", c.name, err)
	}
	return nil
}
