// Package shopcache is what the shop keeps in the cache, for how long, and what makes it
// fresh again.
package shopcache

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/contrib/prommetrics"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// How old each kind of thing may be.
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
	stockVersion  *cache.Typed[string]
	reports       *cache.Typed[[]store.SaleRow]
	reportCounts  *cache.Typed[int64]

	logger *slog.Logger
}

// New returns the caches in one store.
func New(c cache.Cache, logger *slog.Logger) (*Caches, error) {
	s := &Caches{logger: logger}
	// JSON, since instants come back from it in UTC, as the store has them.
	o := &cache.Options{Codec: cache.JSON(), Logger: logger}
	var first error
	s.Categories = typed[[]store.Category](c, "categories", categoryTTL, o, &first)
	s.Cards = typed[store.Card](c, "card", cardTTL, o, &first)
	s.Dashboard = typed[store.Dashboard](c, "dashboard", dashboardTTL, o, &first)
	s.products = typed[[]store.Product](c, "products", productTTL, o, &first)
	s.productCounts = typed[int64](c, "product-counts", productTTL, o, &first)
	s.stockVersion = typed[string](c, "stock-version", productTTL, o, &first)
	s.reports = typed[[]store.SaleRow](c, "reports", reportTTL, o, &first)
	s.reportCounts = typed[int64](c, "report-counts", reportTTL, o, &first)
	return s, first
}

func typed[V any](c cache.Cache, name string, ttl time.Duration, o *cache.Options, first *error) *cache.Typed[V] {
	t, err := cache.New[V](c, name, ttl, o)
	if err != nil && *first == nil {
		*first = err
	}
	return t
}

// version stands in the keys of everything that shows stock. A sale deletes it, the next
// reader makes a new one, and all pages under the old one are out of reach at once.
func (s *Caches) version(ctx context.Context) (string, error) {
	return s.stockVersion.GetOrLoad(ctx, "now", func(context.Context) (string, error) { return rand.Text(), nil })
}

// Today is the dashboard's only key.
const Today = "today"

// freshen bounds what a sale waits for the cache.
const freshen = time.Second

// Sold makes fresh what a sale has changed.
func (s *Caches) Sold(ctx context.Context, card *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), freshen)
	defer cancel()
	s.told(s.stockVersion.Delete(ctx, "now"))
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
		s.Categories, s.Cards, s.Dashboard, s.products, s.productCounts, s.stockVersion, s.reports, s.reportCounts,
	}
}
