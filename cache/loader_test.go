package cache_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
)

// panicking is a codec with a Marshal that panics.
type panicking struct{ cache.Codec }

func (panicking) Marshal(any) ([]byte, error) { panic("no such type") }

// outage is a store of several processes that cannot be reached while down is set.
type outage struct {
	driver.Store
	down *atomic.Bool
}

func (s outage) Capabilities() driver.Capabilities {
	caps := s.Store.Capabilities()
	caps.Shared = true
	return caps
}

func (s outage) Do(ctx context.Context, ops []driver.Op) {
	if s.down.Load() {
		driver.Fail(ops, driver.ErrUnavailable)
		return
	}
	s.Store.Do(ctx, ops)
}

// TestMarshalPanics: the caller receives a value that the codec cannot encode. The value is
// not stored, and the log has the reason. The same holds for a value that was loaded during
// an outage and is stored after it.
func TestMarshalPanics(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := outage{storeOf(newMapStore()), &atomic.Bool{}}
			s.Capabilities().Memory.SetOnline(true, 0)
			s.down.Store(down)
			c, err := cache.New(s, "n", time.Hour, &cache.Options[int]{Codec: panicking{cache.JSON()}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if v, err := c.GetOrLoad(t.Context(), "k", constant(1)); v != 1 || err != nil {
				t.Errorf("down %v: %d, %v", down, v, err)
			}
			s.down.Store(false)
			time.Sleep(time.Second)
			synctest.Wait()
			if stored := stored(t, s, "n:k"); stored != nil {
				t.Errorf("down %v: %q is stored", down, stored)
			}
			if !strings.Contains(log.String(), "the codec panicked: no such type") {
				t.Errorf("down %v: the log does not have the panic: %s", down, &log)
			}
			if err := c.Set(t.Context(), "k", 2); err == nil || !strings.Contains(err.Error(), "the codec panicked") {
				t.Errorf("down %v: Set: %v", down, err)
			}
		})
	}
}

// TestDoNotKeepAnAbsence: DoNotKeep applies to ErrNotFound too.
func TestDoNotKeepAnAbsence(t *testing.T) {
	onEach(t, func(t *testing.T, make func(*cache.Options[int]) *cache.Typed[int]) {
		c := make(&cache.Options[int]{})
		loads := 0
		for range 3 {
			_, err := c.GetOrLoad(t.Context(), "k", func(ctx context.Context) (int, error) {
				loads++
				return 0, errors.Join(cache.DoNotKeep(ctx), cache.ErrNotFound)
			})
			if !errors.Is(err, cache.ErrNotFound) {
				t.Error(err)
			}
		}
		if loads != 3 {
			t.Errorf("%d loads of an absence that must not be kept", loads)
		}
	})
}
