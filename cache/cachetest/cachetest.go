// Package cachetest tests whether a store or a decorator keeps the contract of
// driver.Store: absence, expiry, overwriting, leases, tags, slice ownership, awkward keys,
// cancelled contexts, concurrency.
package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Harness describes a store to the suite.
type Harness struct {
	// New returns an empty store, or a store that shares a server with others. Keys differ
	// from test to test. Required.
	New func(t testing.TB) driver.Store
	// Sleep lets time pass for the store. Default: time.Sleep.
	Sleep func(time.Duration)
	// Lossy is for stores that may reject a value, for example by an admission policy. With
	// it a value may be absent, but never wrong.
	Lossy bool
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, test := range suite {
		t.Run(test.name, func(t *testing.T) {
			if err := test.run(client{h.New(t)}, h.kit(t.Name())); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check runs the suite outside a test runner and returns all failures, or nil.
func Check(t testing.TB, h Harness) error {
	var errs []error
	for _, test := range suite {
		if err := test.run(client{h.New(t)}, h.kit(test.name)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", test.name, err))
		}
	}
	return errors.Join(errs...)
}

// kit holds the tools of one test.
type kit struct {
	ctx    context.Context
	prefix string
	sleep  func(time.Duration)
	lossy  bool
}

func (h Harness) kit(name string) kit {
	k := kit{ctx: context.Background(), prefix: name + ":", sleep: h.Sleep, lossy: h.Lossy}
	if k.sleep == nil {
		k.sleep = time.Sleep
	}
	return k
}

func (k kit) key(s string) string { return k.prefix + s }

// want reads a key and compares its value with want. A nil want means absent.
func (k kit) want(c client, key string, want []byte) error {
	got, found, err := c.Get(k.ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("get %.40q: %w", key, err)
	case !found && want != nil && !k.lossy:
		return fmt.Errorf("get %.40q: absent, want %.40q", key, want)
	case found && want == nil:
		return fmt.Errorf("get %.40q: %.40q, want nothing", key, got)
	case found && !bytes.Equal(got, want):
		return fmt.Errorf("get %.40q: %.40q, want %.40q", key, got, want)
	}
	return nil
}

const long = time.Hour

var suite = []struct {
	name string
	run  func(client, kit) error
}{
	{"absent", func(c client, k kit) error {
		return errors.Join(k.want(c, k.key("a"), nil), c.Delete(k.ctx, k.key("a"), k.key("b")), c.Delete(k.ctx))
	}},
	{"set and delete", func(c client, k kit) error {
		a, b := k.key("a"), k.key("b")
		return errors.Join(
			c.Set(k.ctx, a, []byte("1"), long), c.Set(k.ctx, b, []byte("2"), long),
			k.want(c, a, []byte("1")), k.want(c, b, []byte("2")),
			c.Delete(k.ctx, a), k.want(c, a, nil), k.want(c, b, []byte("2")),
			c.Set(k.ctx, a, []byte("3"), long), c.Delete(k.ctx, a, k.key("never"), b), k.want(c, a, nil), k.want(c, b, nil))
	}},
	{"the newer of two", func(c client, k kit) error {
		for i := range 200 {
			key := k.key(strconv.Itoa(i))
			if err := errors.Join(c.Set(k.ctx, key, []byte("old"), long), c.Set(k.ctx, key, []byte("new"), long), k.want(c, key, []byte("new"))); err != nil {
				return err
			}
		}
		return nil
	}},
	{"delete after set", func(c client, k kit) error {
		for i := range 200 {
			key := k.key(strconv.Itoa(i))
			if err := errors.Join(c.Set(k.ctx, key, []byte("x"), long), c.Delete(k.ctx, key), k.want(c, key, nil)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"empty values are values", func(c client, k kit) error {
		return errors.Join(
			c.Set(k.ctx, k.key("empty"), []byte{}, long), k.want(c, k.key("empty"), []byte{}),
			c.Set(k.ctx, k.key("nil"), nil, long), k.want(c, k.key("nil"), []byte{}))
	}},
	{"binary and large", func(c client, k kit) error {
		large := bytes.Repeat([]byte("0123456789abcdef"), 12_500)
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		return errors.Join(
			c.Set(k.ctx, k.key("large"), large, long), k.want(c, k.key("large"), large),
			c.Set(k.ctx, k.key("all"), all, long), k.want(c, k.key("all"), all))
	}},
	{"awkward keys", func(c client, k kit) error {
		keys := []string{
			"a b", "a\nb", "a\x00b", "{a}b", "a}b{", "*", "ключ", "\xff\xfe", "a:b", "A:B",
			strings.Repeat("k", 2000), strings.Repeat("k", 2001),
		}
		for i, key := range keys {
			if err := c.Set(k.ctx, k.key(key), []byte(strconv.Itoa(i)), long); err != nil {
				return err
			}
		}
		for i, key := range keys {
			if err := k.want(c, k.key(key), []byte(strconv.Itoa(i))); err != nil {
				return err
			}
		}
		return nil
	}},
	{"expiry", func(c client, k kit) error {
		short, other := k.key("short"), k.key("other")
		if err := errors.Join(c.Set(k.ctx, short, []byte("1"), 300*time.Millisecond), c.Set(k.ctx, other, []byte("2"), long), k.want(c, other, []byte("2"))); err != nil {
			return err
		}
		k.sleep(400 * time.Millisecond)
		if err := errors.Join(k.want(c, short, nil), k.want(c, other, []byte("2"))); err != nil {
			return err
		}
		// A Set renews the time to live, and can also shorten it.
		if err := errors.Join(c.Set(k.ctx, other, []byte("3"), 300*time.Millisecond), c.Set(k.ctx, short, []byte("4"), 300*time.Millisecond), c.Set(k.ctx, short, []byte("5"), long)); err != nil {
			return err
		}
		k.sleep(400 * time.Millisecond)
		return errors.Join(k.want(c, other, nil), k.want(c, short, []byte("5")))
	}},
	{"whose memory", func(c client, k kit) error {
		in := []byte("mine")
		if err := c.Set(k.ctx, k.key("a"), in, long); err != nil {
			return err
		}
		copy(in, "XXXX")
		if err := k.want(c, k.key("a"), []byte("mine")); err != nil {
			return fmt.Errorf("the store kept the caller's slice: %w", err)
		}
		if out, found, err := c.Get(k.ctx, k.key("a")); err != nil {
			return err
		} else if found {
			copy(out, "YYYY")
		}
		if err := k.want(c, k.key("a"), []byte("mine")); err != nil {
			return fmt.Errorf("the store gave its own slice away: %w", err)
		}
		return nil
	}},
	{"bad arguments", func(c client, k kit) error {
		_, _, getErr := c.Get(k.ctx, "")
		for name, err := range map[string]error{"Get": getErr, "Set": c.Set(k.ctx, "", nil, long), "Delete": c.Delete(k.ctx, k.key("a"), "")} {
			if !errors.Is(err, driver.ErrEmptyKey) {
				return fmt.Errorf("%s of an empty key: %w, want ErrEmptyKey", name, err)
			}
		}
		for _, ttl := range []time.Duration{0, -time.Second, time.Microsecond} {
			if err := c.Set(k.ctx, k.key("a"), []byte("x"), ttl); !errors.Is(err, driver.ErrInvalidTTL) {
				return fmt.Errorf("set for %v: %w, want ErrInvalidTTL", ttl, err)
			}
		}
		// An operation that is refused does not affect the others.
		a, b := k.key("a"), k.key("b")
		if err := errors.Join(c.Set(k.ctx, a, []byte("1"), long), c.Set(k.ctx, b, []byte("2"), long)); err != nil {
			return err
		}
		if err := c.Delete(k.ctx, a, "", b); !errors.Is(err, driver.ErrEmptyKey) {
			return fmt.Errorf("Delete with an empty key: %w, want ErrEmptyKey", err)
		}
		return errors.Join(k.want(c, a, nil), k.want(c, b, nil))
	}},
	{"cancelled", func(c client, k kit) error {
		ctx, cancel := context.WithCancel(k.ctx)
		cancel()
		_, _, getErr := c.Get(ctx, k.key("a"))
		for name, err := range map[string]error{"Get": getErr, "Set": c.Set(ctx, k.key("a"), nil, long), "Delete": c.Delete(ctx, k.key("a"))} {
			if !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s with a cancelled context: %w, want context.Canceled", name, err)
			}
		}
		return k.want(c, k.key("a"), nil)
	}},
	{"concurrent", concurrent},
	{"expire", expire},
	{"leases", leases},
	{"tags", tags},
	{"many in one call", many},
}

// concurrent runs several goroutines. Each writes its own key and reads the keys of the
// others. A reader must find a value that was written to that key, or no value.
func concurrent(c client, k kit) error {
	const workers, rounds = 16, 50
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for round := range rounds {
				own := k.key(strconv.Itoa(w))
				if round%10 == 9 {
					if errs[w] = errors.Join(c.Delete(k.ctx, own), k.want(c, own, nil)); errs[w] != nil {
						return
					}
					continue
				}
				value := []byte(own + "=" + strconv.Itoa(round))
				if errs[w] = errors.Join(c.Set(k.ctx, own, value, long), k.want(c, own, value)); errs[w] != nil {
					return
				}
				other := k.key(strconv.Itoa((w + round) % workers))
				if got, found, err := c.Get(k.ctx, other); err != nil || found && !bytes.HasPrefix(got, []byte(other+"=")) {
					errs[w] = fmt.Errorf("get %q: %q, %w", other, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
