package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/pagination"
)

// answer writes v as a JSON response.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, "internal error")
		return
	}
	answerRaw(w, status, body)
}

func answerRaw(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// fail writes the response {"detail": …}.
func fail(w http.ResponseWriter, status int, detail string) {
	answer(w, status, map[string]string{"detail": detail})
}

// refuse responds to a conflict. It includes the figures, because a page has its own words for
// the conflict.
func refuse(w http.ResponseWriter, c store.Conflict) {
	body := map[string]any{"detail": c.Detail}
	if c.Code != "" {
		body["code"] = c.Code
	}
	switch c.Code {
	case "stock":
		body["product"], body["left"] = c.Product, c.Left
	case "inactive":
		body["product"] = c.Product
	case "balance":
		body["balance"], body["total"] = c.Balance, c.Total
	case "price":
		body["total"], body["prices"] = c.Total, c.Prices
	}
	answer(w, http.StatusConflict, body)
}

// tryAgain is the text of a 503. A change without a response may have been made, so the client
// must send it again with the same key.
const tryAgain = "the shop does not answer at the moment; try again, a change with the same Idempotency-Key"

// failed responds to an error of the store or of a paginator. It logs internal errors, and the
// client receives no details.
func (a *API) failed(w http.ResponseWriter, r *http.Request, err error) {
	var conflict store.Conflict
	var invalid store.Invalid
	switch {
	case errors.As(err, &conflict):
		refuse(w, conflict)
	case errors.As(err, &invalid):
		fail(w, http.StatusBadRequest, invalid.Detail)
	case errors.Is(err, store.ErrKeyReused):
		fail(w, http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, store.ErrNotFound):
		fail(w, http.StatusNotFound, "not found")
	case errors.As(err, new(*pagination.RequestError)):
		pagination.WriteError(w, err)
	case errors.Is(r.Context().Err(), context.Canceled): // the client disconnected
		fail(w, http.StatusServiceUnavailable, "the request was given up")
	case r.Context().Err() != nil, errors.Is(err, cache.ErrLoadTimeout), errors.Is(err, ErrUnavailable), store.Away(err):
		a.Logger.ErrorContext(r.Context(), "no answer in time", "method", r.Method, "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusServiceUnavailable, tryAgain)
	default:
		a.Logger.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		fail(w, http.StatusInternalServerError, "internal error")
	}
}
