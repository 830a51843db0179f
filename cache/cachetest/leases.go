package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// client makes single calls of a store.
type client struct{ driver.Store }

func (c client) do(ctx context.Context, op driver.Op) driver.Op {
	ops := []driver.Op{op}
	c.Do(ctx, ops)
	return ops[0]
}

func (c client) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	op := c.do(ctx, driver.Op{Kind: driver.Get, Key: key})
	return op.Value, op.Value != nil, op.Err
}

func (c client) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return c.do(ctx, driver.Op{Kind: driver.Set, Key: key, Value: value, TTL: ttl}).Err
}

func (c client) Delete(ctx context.Context, keys ...string) error {
	ops := make([]driver.Op, len(keys))
	for i, key := range keys {
		ops[i] = driver.Op{Kind: driver.Delete, Key: key}
	}
	c.Do(ctx, ops)
	var errs []error
	for i := range ops {
		errs = append(errs, ops[i].Err)
	}
	return errors.Join(errs...)
}

func (c client) lease(k kit, key string, seen uint64) (token string, state driver.LeaseState, err error) {
	op := c.do(k.ctx, driver.Op{Kind: driver.Lease, Key: key, Token: driver.NewToken(), TTL: long, Seen: seen})
	return op.Token, op.State, op.Err
}

func (c client) fill(k kit, key, token, value string) (bool, error) {
	op := c.do(k.ctx, driver.Op{Kind: driver.Fill, Key: key, Token: token, Value: []byte(value), TTL: long})
	return op.Done, op.Err
}

func expect[T comparable](what string, got T, err error, want T) error {
	if err == nil && got != want {
		err = fmt.Errorf("got %v, want %v", got, want)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// expire checks that Expire keeps a value and marks it, and that the value of a key that was
// deleted does not return.
func expire(c client, k kit) error {
	key := k.key("a")
	end := func() error { return c.do(k.ctx, driver.Op{Kind: driver.Expire, Key: key, TTL: long}).Err }
	read := func(what string, want []byte, expired bool) error {
		op := c.do(k.ctx, driver.Op{Kind: driver.Get, Key: key})
		switch {
		case op.Err != nil:
			return fmt.Errorf("%s: %w", what, op.Err)
		case op.Value == nil && (want == nil || k.lossy):
			return nil
		case !bytes.Equal(op.Value, want) || op.Expired != expired:
			return fmt.Errorf("%s: %.40q, expired %v, want %.40q, expired %v", what, op.Value, op.Expired, want, expired)
		}
		return nil
	}
	return errors.Join(
		end(), read("Expire of an absent key", nil, false),
		c.Set(k.ctx, key, []byte("1"), long), read("a Get before Expire", []byte("1"), false),
		end(), read("a Get after Expire", []byte("1"), true),
		c.Set(k.ctx, key, []byte("2"), long), read("a Get after a later Set", []byte("2"), false),
		end(), c.Delete(k.ctx, key), read("a Get after a later Delete", nil, false),
		end(), read("Expire of a deleted key", nil, false))
}

// leases checks that one caller loads, and that a write ends its right to store.
func leases(c client, k kit) error {
	key := k.key("a")
	first, state, err := c.lease(k, key, 0)
	if err := expect("a lease", state, err, driver.LeaseGranted); err != nil {
		return err
	}
	_, state, err = c.lease(k, key, 0)
	if err := expect("a second lease", state, err, driver.LeaseHeld); err != nil {
		return err
	}
	// The key is absent during its load.
	if err := k.want(c, key, nil); err != nil {
		return err
	}
	for name, write := range map[string]func() error{
		"Delete": func() error { return c.Delete(k.ctx, key) },
		"Set":    func() error { return c.Set(k.ctx, key, []byte("new"), long) },
		"Expire": func() error { return c.do(k.ctx, driver.Op{Kind: driver.Expire, Key: key, TTL: long}).Err },
	} {
		if err := c.Delete(k.ctx, key); err != nil {
			return err
		}
		token, state, err := c.lease(k, key, 0)
		if err := errors.Join(expect("a lease before "+name, state, err, driver.LeaseGranted), write()); err != nil {
			return err
		}
		done, err := c.fill(k, key, token, "old")
		if err := expect("a Fill behind "+name, done, err, false); err != nil {
			return err
		}
	}
	if err := c.Delete(k.ctx, key); err != nil {
		return err
	}
	done, err := c.fill(k, key, first, "old")
	if err := expect("a Fill with an old token", done, err, false); err != nil {
		return err
	}
	// An offer gives way to a load.
	offered := driver.NewOfferToken()
	offer := c.do(k.ctx, driver.Op{Kind: driver.Lease, Key: key, Token: offered, TTL: long})
	loading, state, err := c.lease(k, key, 0)
	if err := errors.Join(expect("an offer", offer.State, offer.Err, driver.LeaseGranted), expect("a lease after an offer", state, err, driver.LeaseGranted)); err != nil {
		return err
	}
	done, err = c.fill(k, key, offered, "offered")
	if err := errors.Join(expect("a Fill of an offer behind a lease", done, err, false), c.do(k.ctx, driver.Op{Kind: driver.Release, Key: key, Token: loading}).Err); err != nil {
		return err
	}
	// Release lets the next caller load. A lease for a replaced value is moot.
	token, _, err := c.lease(k, key, 0)
	if err := errors.Join(err, c.do(k.ctx, driver.Op{Kind: driver.Release, Key: key, Token: token}).Err); err != nil {
		return err
	}
	token, state, err = c.lease(k, key, 0)
	if err := expect("a lease after Release", state, err, driver.LeaseGranted); err != nil {
		return err
	}
	if err := c.do(k.ctx, driver.Op{Kind: driver.Extend, Key: key, Token: token, TTL: long}).Err; err != nil {
		return err
	}
	done, err = c.fill(k, key, token, "loaded")
	if err := errors.Join(expect("a Fill", done, err, !k.lossy || done), k.want(c, key, []byte("loaded"))); err != nil || k.lossy {
		return err
	}
	_, state, err = c.lease(k, key, 0)
	if err := expect("a lease by a caller that saw nothing", state, err, driver.LeaseMoot); err != nil {
		return err
	}
	seen := c.do(k.ctx, driver.Op{Kind: driver.Get, Key: key})
	token, state, err = c.lease(k, key, seen.Seen)
	if err := expect("a lease of what was seen", state, err, driver.LeaseGranted); err != nil {
		return err
	}
	// The old value stays readable during the next load.
	done, err = c.fill(k, key, token, "again")
	return errors.Join(k.want(c, key, []byte("again")), expect("a Fill", done, err, true))
}

// tags checks that Invalidate ends a state, and that the state never returns.
func tags(c client, k kit) error {
	a, b := k.key("tag a"), k.key("tag b")
	state := func(tag string, ttl time.Duration) string {
		return c.do(k.ctx, driver.Op{Kind: driver.TagState, Key: tag, TTL: ttl}).Token
	}
	first, other := state(a, long), state(b, long)
	if first == "" || other == "" || state(a, 0) != first || state(a, long) != first {
		return errors.New("the state of a tag does not stay")
	}
	seen := map[string]bool{first: true}
	for range 3 {
		if op := c.do(k.ctx, driver.Op{Kind: driver.Invalidate, Key: a}); op.Err != nil {
			return op.Err
		}
		now := state(a, long)
		if now == "" || seen[now] {
			return fmt.Errorf("the state %q of an invalidated tag was there before", now)
		}
		seen[now] = true
	}
	if state(b, 0) != other {
		return errors.New("another tag has lost its state")
	}
	return nil
}

// many checks that each operation of one call has its own result.
func many(c client, k kit) error {
	ops := []driver.Op{
		{Kind: driver.Set, Key: k.key("a"), Value: []byte("1"), TTL: long},
		{Kind: driver.Get, Key: ""},
		{Kind: driver.Set, Key: k.key("b"), Value: []byte("2"), TTL: 0},
		{Kind: driver.Set, Key: k.key("c"), Value: []byte("3"), TTL: long},
	}
	c.Do(k.ctx, ops)
	if ops[0].Err != nil || ops[3].Err != nil || !errors.Is(ops[1].Err, driver.ErrEmptyKey) || !errors.Is(ops[2].Err, driver.ErrInvalidTTL) {
		return fmt.Errorf("not each operation has its own error: %w", errors.Join(ops[0].Err, ops[1].Err, ops[2].Err, ops[3].Err))
	}
	reads := []driver.Op{{Kind: driver.Get, Key: k.key("c")}, {Kind: driver.Get, Key: k.key("b")}, {Kind: driver.Get, Key: k.key("a")}, {Kind: driver.Get, Key: k.key("a")}}
	c.Do(k.ctx, reads)
	for i, want := range []string{"3", "", "1", "1"} {
		got := reads[i]
		if got.Err != nil {
			return got.Err
		}
		if string(got.Value) != want && !k.lossy {
			return fmt.Errorf("read %d: %q, want %q", i, got.Value, want)
		}
	}
	return nil
}

// Decorator checks that a decorator preserves all features of a store: the suite of the
// store, its capabilities, and the invalidations.
func Decorator(t *testing.T, decorate func(driver.Store) driver.Store) {
	t.Helper()
	below := func() driver.Store { return driver.Local(newMap(), nil) }
	Run(t, Harness{New: func(testing.TB) driver.Store { return decorate(below()) }})
	t.Run("capabilities", func(t *testing.T) {
		store := below()
		if decorate(store).Capabilities() != store.Capabilities() {
			t.Error("the decorator changes the capabilities of the store")
		}
	})
	t.Run("every operation once", func(t *testing.T) {
		count := &counter{Store: below(), ops: map[driver.Kind]int{}}
		c := decorate(count)
		for kind := driver.Get; kind <= driver.Sync; kind++ {
			c.Do(t.Context(), []driver.Op{{Kind: kind, Key: "k", Token: "t", Value: []byte("v"), TTL: long}})
			if n := count.ops[kind]; n != 1 {
				t.Errorf("an operation of kind %d reached the store %d times", kind, n)
			}
		}
	})
}

type counter struct {
	driver.Store
	ops map[driver.Kind]int
}

func (c *counter) Do(ctx context.Context, ops []driver.Op) {
	for i := range ops {
		c.ops[ops[i].Kind]++
	}
	c.Store.Do(ctx, ops)
}

// mapStore is the simplest store.
type mapStore struct {
	mu      sync.Mutex
	values  map[string][]byte
	expires map[string]time.Time
}

func newMap() *mapStore {
	return &mapStore{values: map[string][]byte{}, expires: map[string]time.Time{}}
}

func (m *mapStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok || !time.Now().Before(m.expires[key]) {
		return nil, false, nil
	}
	return bytes.Clone(v), true, nil
}

func (m *mapStore) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key], m.expires[key] = append([]byte{}, value...), time.Now().Add(ttl)
	return nil
}

func (m *mapStore) Delete(_ context.Context, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.values, key)
	}
	return nil
}
