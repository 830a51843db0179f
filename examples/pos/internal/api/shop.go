package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/shopcache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

func (a *API) categories(w http.ResponseWriter, r *http.Request) {
	list, err := a.Caches.Categories.GetOrLoad(r.Context(), "all", a.Store.Categories)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"count": len(list), "results": list})
}

func (a *API) card(w http.ResponseWriter, r *http.Request) {
	number := r.PathValue("number")
	if !plain(number, 190) {
		fail(w, http.StatusNotFound, "not found")
		return
	}
	card, err := a.Caches.Cards.GetOrLoad(r.Context(), number, func(ctx context.Context) (store.Card, error) {
		return a.Store.Card(ctx, number)
	})
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, card)
}

func (a *API) dashboard(w http.ResponseWriter, r *http.Request) {
	d, err := a.Caches.Dashboard.GetOrLoad(r.Context(), shopcache.Today, func(ctx context.Context) (store.Dashboard, error) {
		return a.Store.Dashboard(ctx, time.Now())
	})
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, d)
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
	if in.Amount < 1 || in.Amount > store.MaxMoney {
		fail(w, http.StatusBadRequest, fmt.Sprintf("amount: want 1 to %d", int64(store.MaxMoney)))
		return
	}
	once, ok := a.once(w, r, in)
	if !ok {
		return
	}
	outcome, err := a.Store.TopUp(r.Context(), store.TopUp{Card: in.Card, Amount: in.Amount, Cashier: once.User}, once)
	if err == nil {
		a.Caches.ToppedUp(r.Context(), in.Card)
	}
	a.done(w, r, outcome, err)
}

// maxLines is the most different products in one sale.
const maxLines = 100

func (a *API) sell(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Card  *string `json:"card"`
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
	outcome, err := a.Store.Sell(r.Context(), once.User, in.Card, lines, once)
	if err == nil {
		a.Caches.Sold(r.Context(), in.Card, outcome.Categories)
	}
	a.done(w, r, outcome, err)
}

// once reads the Idempotency-Key of a request. Two requests are the same if they ask for
// the same thing on the same route, whatever their spacing.
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

// done answers a change with what its first request was answered.
func (a *API) done(w http.ResponseWriter, r *http.Request, outcome store.Outcome, err error) {
	if err != nil {
		a.failed(w, r, err)
		return
	}
	if outcome.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	answerRaw(w, outcome.Status, outcome.Body)
}
