package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/ratelimit"
)

func (a *API) categories(w http.ResponseWriter, r *http.Request) {
	a.cached(w, r, a.Caches.Categories, func(v store.Versions) string { return v.Stock(0) }, func(ctx context.Context) (any, error) {
		list, err := a.Store.Categories(ctx)
		return map[string]any{"count": len(list), "results": list}, err
	})
}

func (a *API) card(w http.ResponseWriter, r *http.Request) {
	number := r.PathValue("number")
	if !plain(number, 190) {
		fail(w, http.StatusNotFound, "not found")
		return
	}
	card, err := a.Store.Card(r.Context(), number)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, card)
}

func (a *API) dashboard(w http.ResponseWriter, r *http.Request) {
	var now time.Time
	a.cached(w, r, a.Caches.Dashboard, func(v store.Versions) string {
		now = v.Now()
		date, _, _ := a.Calendar.Day(now)
		return date + "." + a.inDays(v)
	}, func(ctx context.Context) (any, error) { return a.Store.Dashboard(ctx, a.Calendar, now) })
}

func (a *API) day(w http.ResponseWriter, r *http.Request) {
	date := r.PathValue("date")
	if date == "today" {
		now, err := a.Store.Now(r.Context())
		if err != nil {
			a.failed(w, r, err)
			return
		}
		date, _, _ = a.Calendar.Day(now)
	}
	from, to, err := a.Calendar.Date(date)
	if err != nil || from.UTC().Year() < 1 || to.UTC().Year() > 9999 { // JSON has no such times
		fail(w, http.StatusBadRequest, "want a day such as 2026-11-23, or today")
		return
	}
	day, err := a.Store.Day(r.Context(), a.Calendar, date, from, to)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, day)
}

// topUpLimit is the largest amount that a caller may top up at once.
func (a *API) topUpLimit(c *caller) int64 {
	if c.user.Role == store.Admin {
		return store.MaxMoney
	}
	return a.Settings.TopUpLimit
}

func (a *API) topUp(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Card   string `json:"card"`
		Amount int64  `json:"amount"`
	}
	if !read(w, r, &in) {
		return
	}
	if in.Card == "" || !plain(in.Card, 190) {
		fail(w, http.StatusBadRequest, "card: want the number of a card")
		return
	}
	if limit := a.topUpLimit(callerOf(r)); in.Amount < 1 || in.Amount > limit {
		fail(w, http.StatusBadRequest, fmt.Sprintf("amount: want 1 to %d", limit))
		return
	}
	once, ok := a.once(w, r, in)
	if !ok {
		return
	}
	made, replayed, err := a.Store.TopUp(r.Context(), in.Card, in.Amount, once)
	a.done(w, r, made, replayed, err)
}

// topUps lists the newest top-ups of a card, or the top-up of an Idempotency-Key.
func (a *API) topUps(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	card, key := q.Get("card"), q.Get("key")
	var list []store.TopUp
	var err error
	switch {
	case !plain(card, 190) || key != "" && !visible(key):
		fail(w, http.StatusBadRequest, "card or key: want at most 190 characters")
		return
	case key != "":
		list, err = a.Store.TopUpsByKey(r.Context(), callerOf(r).user.Name, key)
	default:
		list, err = a.Store.TopUps(r.Context(), card, 20)
	}
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"results": list})
}

// maxLines is the maximum number of different products in one sale.
const maxLines = 100

func (a *API) sell(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Card  *string `json:"card"`
		Total *int64  `json:"total,omitempty"` // that the customer saw
		Items []struct {
			Product  int64 `json:"product"`
			Quantity int64 `json:"quantity"`
		} `json:"items"`
	}
	if !read(w, r, &in) {
		return
	}
	if in.Card != nil && (*in.Card == "" || !plain(*in.Card, 190)) {
		fail(w, http.StatusBadRequest, "card: want the number of a card; leave it out for cash")
		return
	}
	if len(in.Items) < 1 || len(in.Items) > maxLines {
		fail(w, http.StatusBadRequest, fmt.Sprintf("items: want 1 to %d", maxLines))
		return
	}
	lines := make([]store.Line, len(in.Items))
	seen := map[int64]bool{}
	for i, item := range in.Items {
		switch {
		case item.Product < 1:
			fail(w, http.StatusBadRequest, fmt.Sprintf("items[%d].product: want the id of a product", i))
			return
		case item.Quantity < 1 || item.Quantity > store.MaxQuantity:
			fail(w, http.StatusBadRequest, fmt.Sprintf("items[%d].quantity: want 1 to %d", i, store.MaxQuantity))
			return
		case seen[item.Product]:
			fail(w, http.StatusBadRequest, fmt.Sprintf("items[%d].product: %d is there twice; add the quantities up", i, item.Product))
			return
		}
		seen[item.Product] = true
		lines[i] = store.Line{Product: item.Product, Quantity: item.Quantity}
	}
	once, ok := a.once(w, r, in)
	if !ok {
		return
	}
	sale, replayed, err := a.Store.Sell(r.Context(), once.User, in.Card, lines, in.Total, once)
	a.done(w, r, sale, replayed, err)
}

// cancel ends an Idempotency-Key of the caller, or returns what the key has made. A till that
// received no response sends it before the basket may be sold in another way.
func (a *API) cancel(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Key string `json:"key"`
	}
	if !read(w, r, &in) {
		return
	}
	if !visible(in.Key) {
		fail(w, http.StatusBadRequest, "key: want 1 to 190 visible characters")
		return
	}
	end, err := a.Store.Cancel(r.Context(), callerOf(r).user.Name, in.Key)
	if err != nil || !end.Stored { // a till that asks again, also while the database is away, uses up no limit
		_ = ratelimit.AdmissionFrom(r.Context()).Charge(0, cancels.Name)
	}
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, end)
}

func (a *API) sale(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	sale, err := a.Store.Sale(r.Context(), id)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, sale)
}

func (a *API) voidSale(w http.ResponseWriter, r *http.Request) {
	void(a, w, r, a.Store.VoidSale)
}

func (a *API) voidTopUp(w http.ResponseWriter, r *http.Request) {
	void(a, w, r, a.Store.VoidTopUp)
}

func void[T any](a *API, w http.ResponseWriter, r *http.Request, undo func(context.Context, int64, string, store.Once) (T, bool, error)) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if !read(w, r, &in) {
		return
	}
	if !reason(w, &in.Reason) {
		return
	}
	once, ok := a.once(w, r, in)
	if !ok {
		return
	}
	made, replayed, err := undo(r.Context(), id, in.Reason, once)
	a.done(w, r, made, replayed, err)
}

// reason tidies a reason, and refuses one that is empty or too long.
func reason(w http.ResponseWriter, text *string) (ok bool) {
	if *text, ok = words(*text, 190); !ok {
		fail(w, http.StatusBadRequest, "reason: want 1 to 190 visible characters")
	}
	return ok
}

// pathID reads the number in a path, or responds with 404.
func pathID(w http.ResponseWriter, r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		fail(w, http.StatusNotFound, "not found")
		return 0, false
	}
	return id, true
}

// once reads the Idempotency-Key of a request. Two requests are the same if their route and
// their JSON are the same. White space does not matter.
func (a *API) once(w http.ResponseWriter, r *http.Request, in any) (store.Once, bool) {
	once := store.Once{User: callerOf(r).user.Name}
	keys, given := r.Header["Idempotency-Key"]
	if !given {
		return once, true
	}
	if len(keys) != 1 || !visible(keys[0]) {
		fail(w, http.StatusBadRequest, "Idempotency-Key: want one of 1 to 190 visible characters")
		return once, false
	}
	body, err := json.Marshal(in)
	if err != nil {
		a.failed(w, r, err)
		return once, false
	}
	once.Key, once.Body = keys[0], append([]byte(r.URL.Path+"\n"), body...)
	return once, true
}

func visible(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 190
}

// done responds to a change with its record, also when an earlier request has made that change.
func (a *API) done(w http.ResponseWriter, r *http.Request, made any, replayed bool, err error) {
	if err != nil {
		a.failed(w, r, err)
		return
	}
	a.Caches.Changed()
	if replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	answer(w, http.StatusCreated, made)
}
