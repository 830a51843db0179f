package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestService reads a page and the health, and sends more requests than the limit allows.
func TestService(t *testing.T) {
	data := t.TempDir()
	db, err := openDatabase(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	_, _, handler, err := newService(db, data)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return w
	}
	if w := get("/products?page=2"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"count":100`) || !strings.Contains(w.Body.String(), `"name":"Product 26"`) {
		t.Errorf("a page: %d %s", w.Code, w.Body)
	}
	if w := get("/alive/"); w.Code != http.StatusOK {
		t.Errorf("alive: %d %s", w.Code, w.Body)
	}
	codes := map[int]int{}
	for range 101 {
		codes[get("/products").Code]++
	}
	if codes[http.StatusOK] != 99 || codes[http.StatusTooManyRequests] != 2 {
		t.Errorf("codes %v", codes)
	}
}
