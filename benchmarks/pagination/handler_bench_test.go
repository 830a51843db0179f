package pagination_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// BenchmarkHandler answers a request for a page of 25 by keyset as bytes: the whole
// handler, beside one as it is written by hand with net/url, a signed cursor of JSON and
// encoding/json.
func BenchmarkHandler(b *testing.B) {
	db := openShop(b, sql.Open, salesInPages)
	pages := salesByTime(b)
	source := keyset.SQLSource[sale]{DB: db, Dialect: keyset.SQLite, Base: saleBase, Scan: scanSale}
	ours := func(w http.ResponseWriter, r *http.Request) {
		page, err := pages.Paginate(r, source)
		if err == nil {
			err = page.Write(w)
		}
		if err != nil {
			pagination.WriteError(w, err)
		}
	}
	byHand := handWritten(b, db)
	second := func(handler http.HandlerFunc) *http.Request {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/sales?amount=200", nil))
		var page struct{ Next string }
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || page.Next == "" {
			b.Fatal(w.Body, err)
		}
		return httptest.NewRequestWithContext(b.Context(), http.MethodGet, page.Next, nil)
	}
	mine, hand := second(ours), second(byHand)
	ask := func(handler http.HandlerFunc, r *http.Request) {
		w := httptest.NewRecorder()
		handler(w, r)
		if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes(), []byte(`"previous":"http`)) {
			b.Fatal(w.Code, w.Body)
		}
	}
	versus(b, func() { ask(ours, mine) }, func() { ask(byHand, hand) })
}

type handCursor struct {
	Created, ID int64
	Back        bool
}

// handWritten returns a handler that does for one order, one filter and one direction
// what the package does for any.
func handWritten(b *testing.B, db *sql.DB) http.HandlerFunc {
	key := bytes.Repeat([]byte{7}, 32)
	sum := func(data []byte, amount string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("sales by created_at, id; amount " + amount + ";"))
		mac.Write(data)
		return mac.Sum(nil)[:16]
	}
	link := func(r *http.Request, c handCursor, amount string) (string, error) {
		data, err := json.Marshal(c)
		u := *r.URL
		u.Scheme, u.Host = "http", r.Host
		query := u.Query()
		query.Set("cursor", base64.RawURLEncoding.EncodeToString(append(data, sum(data, amount)...)))
		u.RawQuery = query.Encode()
		return u.String(), err
	}
	read := func(text, amount string) (c handCursor, err error) {
		data, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(data) < 16 {
			return c, errors.New("malformed")
		}
		data, mac := data[:len(data)-16], data[len(data)-16:]
		if !hmac.Equal(mac, sum(data, amount)) {
			return c, errors.New("forged")
		}
		return c, json.Unmarshal(data, &c)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		parameters := r.URL.Query()
		amount, err := strconv.Atoi(parameters.Get("amount"))
		if err != nil {
			http.Error(w, "amount", http.StatusBadRequest)
			return
		}
		statement, args := "SELECT id, created_at, product, amount, note FROM sales WHERE (amount >= ?1)", []any{amount}
		if text := parameters.Get("cursor"); text != "" {
			at, err := read(text, parameters.Get("amount"))
			if err != nil {
				http.Error(w, "cursor", http.StatusNotFound)
				return
			}
			statement, args = statement+" AND (created_at, id) > (?2, ?3)", append(args, at.Created, at.ID)
		}
		rows := query(b, db, statement+" ORDER BY created_at, id LIMIT 26", args...)
		var page struct {
			Next     *string `json:"next"`
			Previous *string `json:"previous"`
			Results  []sale  `json:"results"`
		}
		page.Results = slices.Clip(rows[:min(25, len(rows))])
		if len(rows) > 25 {
			next, err := link(r, handCursor{rows[24].Created, rows[24].ID, false}, parameters.Get("amount"))
			if err != nil {
				b.Fatal(err)
			}
			page.Next = &next
		}
		if len(args) > 1 && len(rows) > 0 {
			previous, err := link(r, handCursor{rows[0].Created, rows[0].ID, true}, parameters.Get("amount"))
			if err != nil {
				b.Fatal(err)
			}
			page.Previous = &previous
		}
		w.Header().Set("Content-Type", "application/json")
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		if err := out.Encode(page); err != nil {
			b.Fatal(err)
		}
	}
}
