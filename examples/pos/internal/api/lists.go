package api

import (
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// lists are the paginators. They are created once.
type lists struct {
	products  *list[store.Product]
	customers *list[store.Customer]
	sales     *list[store.Sale]
	audit     *list[store.Audit]
}

// list pages one kind of record by number, or by keyset with ?cursor=. The keyset also reads
// ?ordering= for both.
type list[T any] struct {
	numbers *pagination.PageNumber
	keyset  *keyset.Keyset[T]
}

// source is the source of both kinds of pages.
type source[T any] interface {
	pagination.Lister[T]
	pagination.Counter
	keyset.Seeker[T]
}

func newLists(links *pagination.Links, cursors *keyset.Cursors) (l *lists, err error) {
	l = &lists{}
	if l.products, err = newList("products", "name", pagination.Large, store.ProductColumns(), links, cursors); err != nil {
		return nil, err
	}
	if l.customers, err = newList("customers", "name", pagination.Standard, store.CustomerColumns(), links, cursors); err != nil {
		return nil, err
	}
	if l.sales, err = newList("sales", "-created_at", pagination.Standard, store.SaleColumns(), links, cursors); err != nil {
		return nil, err
	}
	l.audit, err = newList("audit", "-id", pagination.Standard, store.AuditColumns(), links, cursors)
	return l, err
}

func newList[T any](name, ordering string, preset pagination.Preset, columns []keyset.Column[T], links *pagination.Links, cursors *keyset.Cursors) (*list[T], error) {
	numbers, err := pagination.NewPageNumber(preset, &pagination.PageNumberOptions{Links: links})
	if err != nil {
		return nil, err
	}
	pages, err := keyset.New(name, preset, cursors, columns, &keyset.Options{
		Ordering: ordering, Links: links,
		Logger: slog.New(slog.DiscardHandler), // the tests of the store verify the lists
	})
	return &list[T]{numbers: numbers, keyset: pages}, err
}

// serve responds with a page of the list that open returns.
func serve[T any](a *API, w http.ResponseWriter, r *http.Request, l *list[T], open func(keyset.Order) source[T]) {
	order, err := l.keyset.RequestOrder(r)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	var page interface {
		Write(http.ResponseWriter) error
	}
	if l.keyset.Wants(r) {
		page, err = l.keyset.Paginate(r, open(order))
	} else {
		page, err = pagination.Paginate(r, l.numbers, open(order))
	}
	if err != nil {
		a.failed(w, r, err)
		return
	}
	_ = page.Write(w) // an error means that the client disconnected: JSON can encode each row
}

func (a *API) products(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	filter := store.ProductFilter{Search: q.Get("search"), All: q.Get("all") == "1" && IsAdmin(r)}
	if !plain(filter.Search, 200) {
		fail(w, http.StatusBadRequest, "search: at most 200 characters of text")
		return
	}
	if c := q.Get("category"); c != "" {
		id, err := strconv.ParseInt(c, 10, 64)
		if err != nil || id < 1 {
			fail(w, http.StatusBadRequest, "category: want the id of a category")
			return
		}
		filter.Category = id
	}
	open := func(o keyset.Order) source[store.Product] { return a.Store.Products(filter, o) }
	a.cachedList(w, r, a.Caches.Products, func(v store.Versions) string { return v.Stock(filter.Category) },
		func(w http.ResponseWriter, r *http.Request) { serve(a, w, r, a.lists.products, open) })
}

func (a *API) customers(w http.ResponseWriter, r *http.Request) {
	search := r.URL.Query().Get("search")
	if !plain(search, 200) {
		fail(w, http.StatusBadRequest, "search: at most 200 characters of text")
		return
	}
	serve(a, w, r, a.lists.customers, func(o keyset.Order) source[store.Customer] { return a.Store.Customers(search, o) })
}

func (a *API) sales(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Has("key") {
		a.salesByKey(w, r, q.Get("key"))
		return
	}
	filter, detail := a.saleFilter(q)
	if detail != "" {
		fail(w, http.StatusBadRequest, detail)
		return
	}
	serve(a, w, r, a.lists.sales, func(o keyset.Order) source[store.Sale] { return a.Store.Sales(filter, o) })
}

// salesByKey returns the sale of an Idempotency-Key, for a till that received no response.
func (a *API) salesByKey(w http.ResponseWriter, r *http.Request, key string) {
	list := []store.Sale{}
	if visible(key) {
		var err error
		if list, err = a.Store.SalesByKey(r.Context(), callerOf(r).user.Name, key); err != nil {
			a.failed(w, r, err)
			return
		}
	}
	answer(w, http.StatusOK, map[string]any{"results": list})
}

func (a *API) audit(w http.ResponseWriter, r *http.Request) {
	if q := r.URL.Query(); !q.Has("page") && !q.Has("cursor") { // by keyset, unless the request has a page number
		q.Set("cursor", "")
		u := *r.URL
		u.RawQuery = q.Encode()
		r2 := *r
		r2.URL = &u
		r = &r2
	}
	serve(a, w, r, a.lists.audit, func(o keyset.Order) source[store.Audit] { return a.Store.AuditLog(o) })
}

// saleFilter reads ?from= and ?to=. Each is an instant or a business day. A day in "to"
// includes the whole day.
func (a *API) saleFilter(q url.Values) (f store.SaleFilter, detail string) {
	for _, p := range []struct {
		name string
		to   *time.Time
		end  bool
	}{{"from", &f.From, false}, {"to", &f.To, true}} {
		text := q.Get(p.name)
		if text == "" {
			continue
		}
		if from, to, err := a.Calendar.Date(text); err == nil {
			if *p.to = from; p.end {
				*p.to = to
			}
		} else if *p.to, err = time.Parse(time.RFC3339, text); err != nil {
			return f, p.name + ": want a day such as 2026-11-23, or an instant such as 2026-11-23T08:00:00Z"
		}
	}
	return f, ""
}
