// Package shopcache is what the shop keeps in the cache, for how long, and what makes it
// fresh again.
package shopcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/contrib/prommetrics"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// How old each kind of thing may be where nothing makes it fresh before.
const (
	dashboardTTL = time.Minute
	cardTTL      = 30 * time.Second
	productTTL   = 5 * time.Minute
	categoryTTL  = 10 * time.Minute
	reportTTL    = 30 * time.Minute
)

// Caches are the shop's caches, one for each kind of value.
type Caches struct {
	Categories *cache.Typed[[]store.Category]
	Cards      *cache.Typed[store.Card]
	Dashboard  *cache.Typed[store.Dashboard]

	products      *cache.Typed[[]store.Product]
	productCounts *cache.Typed[int64]
	reports       *cache.Typed[[]store.SaleRow]
	reportCounts  *cache.Typed[int64]

	logger *slog.Logger
}

// New returns the caches: in a store that replicas share, or in the memory of this process
// if it is nil.
func New(shared driver.Store, logger *slog.Logger) (*Caches, error) {
	if shared == nil {
		shared = cache.NewMemory(0)
	}
	s := &Caches{logger: logger}
	var errs []error
	s.Categories = typed[[]store.Category](shared, "categories", categoryTTL, nil, logger, &errs)
	// A balance that was spent at another till must not be shown again, not even for
	// the moment that a message takes. So every read asks the shared store.
	card, err := cache.New(shared, "card", cardTTL, &cache.Options[store.Card]{Codec: cache.JSON(), Logger: logger, NoMemory: !shared.Capabilities().MemoryOnly})
	s.Cards, errs = card, append(errs, err)
	s.Dashboard = typed[store.Dashboard](shared, "dashboard", dashboardTTL, nil, logger, &errs)
	s.products = typed[[]store.Product](shared, "products", productTTL, pageTags, logger, &errs)
	s.productCounts = typed[int64](shared, "product-counts", productTTL, nil, logger, &errs)
	s.reports = typed[[]store.SaleRow](shared, "reports", reportTTL, nil, logger, &errs)
	s.reportCounts = typed[int64](shared, "report-counts", reportTTL, nil, logger, &errs)
	return s, errors.Join(errs...)
}

func typed[V any](shared driver.Store, name string, ttl time.Duration, tags func(string) []string, logger *slog.Logger, errs *[]error) *cache.Typed[V] {
	// JSON, since instants come back from it in UTC, as the database has them.
	t, err := cache.New(shared, name, ttl, &cache.Options[V]{Codec: cache.JSON(), Logger: logger, Tags: tags})
	*errs = append(*errs, err)
	return t
}

// Today is the dashboard's only key.
const Today = "today"

// filterKey names what a list of products is narrowed to, the category first.
func filterKey(f store.ProductFilter) string { return fmt.Sprintf("%d/%q", f.Category, f.Search) }

// pageTags groups pages of products by the category that they are narrowed to, 0 if none.
func pageTags(key string) []string {
	category, _, _ := strings.Cut(key, "/")
	return []string{categoryTag(category)}
}

func categoryTag[T int64 | string](id T) string { return fmt.Sprint("products of category ", id) }

// freshen bounds what a sale waits for the cache.
const freshen = time.Second

// Sold makes fresh what a sale has changed: the stock that pages of the categories show,
// and those of all categories. Without categories that is every page.
func (s *Caches) Sold(ctx context.Context, card *string, categories []int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freshen)
	defer cancel()
	if len(categories) == 0 {
		s.told(s.products.Clear(ctx))
	} else {
		tags := []string{categoryTag(int64(0))}
		for _, id := range categories {
			tags = append(tags, categoryTag(id))
		}
		s.told(s.products.InvalidateTags(ctx, tags...))
	}
	s.told(s.Dashboard.Delete(ctx, Today))
	if card != nil {
		s.told(s.Cards.Delete(ctx, *card))
	}
}

// ToppedUp makes fresh what a top-up has changed.
func (s *Caches) ToppedUp(ctx context.Context, card string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freshen)
	defer cancel()
	s.told(s.Dashboard.Delete(ctx, Today))
	s.told(s.Cards.Delete(ctx, card))
}

// told logs a deletion that failed: the sale stands, and the old value lives for its
// time.
func (s *Caches) told(err error) {
	if err != nil {
		s.logger.Warn("a cached value could not be made fresh and lives until its time ends", "error", err)
	}
}

// All are the caches as what they count.
func (s *Caches) All() []prommetrics.Reporter[cache.Stats] {
	return []prommetrics.Reporter[cache.Stats]{
		s.Categories, s.Cards, s.Dashboard, s.products, s.productCounts, s.reports, s.reportCounts,
	}
}
