package cache_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/cachetest"
	"github.com/mainstay-go/mainstay/cache/driver"
)

// mapStore is a store that can be told to fail, to hang, and to be slow to write.
type mapStore struct {
	mu      sync.Mutex
	values  map[string][]byte
	expires map[string]time.Time
	err     error
	hang    bool
	onSet   func(key string)
	calls   int
}

func newMapStore() *mapStore {
	return &mapStore{values: map[string][]byte{}, expires: map[string]time.Time{}}
}

func (s *mapStore) enter(ctx context.Context) error {
	s.mu.Lock()
	s.calls++
	err, hang := s.err, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *mapStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if key == "" {
		return nil, false, cache.ErrEmptyKey
	}
	if err := s.enter(ctx); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.values[key]; ok && time.Now().Before(s.expires[key]) {
		return bytes.Clone(v), true, nil
	}
	return nil, false, nil
}

func (s *mapStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := validate(ctx, key, ttl); err != nil {
		return err
	}
	if s.onSet != nil {
		s.onSet(key)
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key], s.expires[key] = append([]byte{}, value...), time.Now().Add(ttl)
	return nil
}

func (s *mapStore) Delete(ctx context.Context, keys ...string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if key == "" {
			return cache.ErrEmptyKey
		}
		delete(s.values, key)
	}
	return nil
}

func (s *mapStore) breakDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func TestSuiteOnAGoodStore(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, cachetest.Harness{New: func(testing.TB) driver.Store { return driver.Local(newMapStore(), nil) }})
}

// TestSuiteCatchesBrokenStores gives the suite stores with one fault each.
func TestSuiteCatchesBrokenStores(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(*mapStore) driver.Simple{
		"keeps the caller's slice": func(s *mapStore) driver.Simple { return aliasing{s} },
		"never expires":            func(s *mapStore) driver.Simple { return immortal{s} },
		"forgets to delete":        func(s *mapStore) driver.Simple { return undeletable{s} },
		"takes empty for absent":   func(s *mapStore) driver.Simple { return emptyIsAbsent{s} },
		"cuts keys":                func(s *mapStore) driver.Simple { return cutsKeys{s} },
		"keeps the older":          func(s *mapStore) driver.Simple { return keepsOlder{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if cachetest.Check(t, cachetest.Harness{New: func(testing.TB) driver.Store { return driver.Local(wrap(newMapStore()), nil) }}) == nil {
				t.Error("the store passed")
			}
		})
	}
}

type aliasing struct{ *mapStore }

func (s aliasing) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	err := s.mapStore.Set(ctx, key, value, ttl)
	if err == nil {
		s.mu.Lock()
		s.values[key] = value
		s.mu.Unlock()
	}
	return err
}

type immortal struct{ *mapStore }

func (s immortal) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := validate(ctx, key, ttl); err != nil {
		return err
	}
	return s.mapStore.Set(ctx, key, value, time.Hour)
}

type undeletable struct{ *mapStore }

func (s undeletable) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if key == "" {
			return cache.ErrEmptyKey
		}
	}
	return ctx.Err()
}

type emptyIsAbsent struct{ *mapStore }

func (s emptyIsAbsent) Get(ctx context.Context, key string) ([]byte, bool, error) {
	v, found, err := s.mapStore.Get(ctx, key)
	return v, found && len(v) > 0, err
}

type cutsKeys struct{ *mapStore }

func (s cutsKeys) cut(key string) string { return key[:min(len(key), 250)] }

func (s cutsKeys) Get(ctx context.Context, key string) ([]byte, bool, error) {
	return s.mapStore.Get(ctx, s.cut(key))
}

func (s cutsKeys) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.mapStore.Set(ctx, s.cut(key), value, ttl)
}

type keepsOlder struct{ *mapStore }

func (s keepsOlder) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := validate(ctx, key, ttl); err != nil {
		return err
	}
	if _, found, _ := s.Get(ctx, key); found {
		return nil
	}
	return s.mapStore.Set(ctx, key, value, ttl)
}

func validate(ctx context.Context, key string, ttl time.Duration) error {
	return cmp.Or((&driver.Op{Kind: driver.Set, Key: key, TTL: ttl}).Check(), ctx.Err())
}

var locals sync.Map // the driver.Store of each Simple

// storeOf is one store for all caches on the same Simple.
func storeOf(store any) driver.Store {
	switch s := store.(type) {
	case nil:
		return nil
	case driver.Store:
		return s
	}
	made, _ := locals.LoadOrStore(store, driver.Local(store.(driver.Simple), nil))
	return made.(driver.Store)
}

var errDown = errors.New("connection refused")
