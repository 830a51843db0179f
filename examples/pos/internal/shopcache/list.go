package shopcache

import (
	"context"
	"fmt"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// list is a list whose pages by number are kept. Pages by keyset and downloads read the
// database: they are for those who want to miss nothing.
type list[T any] struct {
	keyset.SQLSource[T]
	pages  *cache.Typed[[]T]
	counts *cache.Typed[int64]
	key    string // names the filter
}

// List returns a page, from the cache if it is there.
func (l list[T]) List(ctx context.Context, limit int, offset int64) ([]T, error) {
	return l.pages.GetOrLoad(ctx, fmt.Sprintf("%s/%s/%d/%d", l.key, l.Order, limit, offset), func(ctx context.Context) ([]T, error) {
		return l.SQLSource.List(ctx, limit, offset)
	})
}

// Count returns the length of the list, from the cache if it is there.
func (l list[T]) Count(ctx context.Context) (int64, error) {
	return l.counts.GetOrLoad(ctx, l.key, l.SQLSource.Count)
}

// List is what the cached lists are.
type List[T any] interface {
	pagination.Lister[T]
	pagination.Counter
	keyset.Seeker[T]
}

// Products is st.Products with its pages kept until something of their category is sold.
func (s *Caches) Products(st *store.Store, f store.ProductFilter, o keyset.Order) List[store.Product] {
	return list[store.Product]{
		SQLSource: st.Products(f, o), pages: s.products, counts: s.productCounts,
		key: filterKey(f),
	}
}

// SaleRows is st.SaleRows with its pages kept.
func (s *Caches) SaleRows(st *store.Store, f store.SaleFilter, o keyset.Order) List[store.SaleRow] {
	return list[store.SaleRow]{
		SQLSource: st.SaleRows(f, o), pages: s.reports, counts: s.reportCounts,
		key: fmt.Sprintf("%d/%d", f.From.UnixMicro(), f.To.UnixMicro()),
	}
}
