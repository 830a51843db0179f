package shopcache

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

func open(t *testing.T) *Caches {
	t.Helper()
	s, err := New(nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// loads reports whether a read of the key loads it.
func loads[V any](t *testing.T, c *cache.Typed[V], key string) (loaded bool) {
	t.Helper()
	_, err := c.GetOrLoad(t.Context(), key, func(context.Context) (v V, err error) { loaded = true; return v, nil })
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// TestPolicy is the table of how old each kind of thing may be. A tenth of the time may
// be missing, so that what was loaded together does not end together.
func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		for name, policy := range map[string]struct {
			ttl  time.Duration
			read func() bool
		}{
			"dashboard":      {60 * time.Second, func() bool { return loads(t, s.Dashboard, Today) }},
			"products":       {5 * time.Minute, func() bool { return loads(t, s.products, "0/\"\"/id/10/0") }},
			"product counts": {5 * time.Minute, func() bool { return loads(t, s.productCounts, "0/\"\"") }},
			"categories":     {10 * time.Minute, func() bool { return loads(t, s.Categories, "all") }},
			"reports":        {30 * time.Minute, func() bool { return loads(t, s.reports, "0/0/id/10/0") }},
			"report counts":  {30 * time.Minute, func() bool { return loads(t, s.reportCounts, "0/0") }},
			"balances":       {30 * time.Second, func() bool { return loads(t, s.Cards, "C1") }},
		} {
			got := []bool{policy.read(), policy.read()}
			time.Sleep(policy.ttl*9/10 - time.Millisecond)
			got = append(got, policy.read())
			time.Sleep(policy.ttl/10 + time.Millisecond)
			got = append(got, policy.read())
			if fmt.Sprint(got) != "[true false false true]" {
				t.Errorf("%s: loaded %v", name, got)
			}
		}
	})
}

// TestSold: a sale makes fresh what it has changed and nothing else.
func TestSold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		page := func(category int64, search string) string {
			return filterKey(store.ProductFilter{Category: category, Search: search}) + "/id/10/0"
		}
		reads := map[string]func() bool{
			"all products":     func() bool { return loads(t, s.products, page(0, "")) },
			"a search":         func() bool { return loads(t, s.products, page(0, "1/2")) },
			"category 1":       func() bool { return loads(t, s.products, page(1, "")) },
			"search in 1":      func() bool { return loads(t, s.products, page(1, "juice")) },
			"category 2":       func() bool { return loads(t, s.products, page(2, "")) },
			"category 12":      func() bool { return loads(t, s.products, page(12, "")) },
			"how many":         func() bool { return loads(t, s.productCounts, filterKey(store.ProductFilter{})) },
			"dashboard":        func() bool { return loads(t, s.Dashboard, Today) },
			"the buyer's card": func() bool { return loads(t, s.Cards, "C1") },
			"another card":     func() bool { return loads(t, s.Cards, "C2") },
			"categories":       func() bool { return loads(t, s.Categories, "all") },
		}
		check := func(what string, fresh ...string) {
			t.Helper()
			want := map[string]bool{}
			for _, name := range fresh {
				want[name] = true
			}
			for name, read := range reads {
				if got := read(); got != want[name] {
					t.Errorf("%s, %s: loaded %v", what, name, got)
				}
			}
		}
		for _, read := range reads {
			read()
		}
		check("nothing happened")
		card := "C1"
		s.Sold(t.Context(), &card, []int64{1})
		check("a sale by card", "all products", "a search", "category 1", "search in 1", "dashboard", "the buyer's card")
		s.Sold(t.Context(), nil, []int64{2, 12})
		check("a sale for cash", "all products", "a search", "category 2", "category 12", "dashboard")
		s.Sold(t.Context(), nil, nil)
		check("an earlier sale", "all products", "a search", "category 1", "search in 1", "category 2", "category 12", "dashboard")
		s.ToppedUp(t.Context(), "C2")
		check("a top-up", "another card", "dashboard")
	})
}
