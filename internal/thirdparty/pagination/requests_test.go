package pagination_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// TestKeysetRequests sends cursors where they do not belong, over HTTP.
func TestKeysetRequests(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	createSalesTable(t, db, keyset.SQLite)
	source := salesSource(db, keyset.SQLite)
	cursors := mustCursors(t)
	columns := []keyset.Column[sale]{
		{Name: "id", Expr: "id", Unique: true},
		{Name: "created_at", Expr: "created_at"},
	}
	tenant := "1"
	newKeyset := func(resource string, strict bool) *keyset.Keyset[sale] {
		k, err := keyset.New(resource, pagination.Preset{Size: 5, MaxSize: 20}, cursors, columns, &keyset.Options{
			Ordering: "-created_at", Strict: strict, Scope: func(*http.Request) string { return tenant },
			Links: &pagination.Links{Headers: true},
		})
		require.NoError(t, err)
		return k
	}
	k := newKeyset("sales", false)
	get := func(k *keyset.Keyset[sale], url string) (*httptest.ResponseRecorder, *keyset.Page[sale]) {
		rec := httptest.NewRecorder()
		page, err := k.Paginate(request("http://testserver"+url), source)
		if err != nil {
			pagination.WriteError(rec, err)
		} else {
			require.NoError(t, page.Write(rec))
		}
		return rec, page
	}
	rec, first := get(k, "/?status=1&cursor=")
	require.Equal(t, 200, rec.Code)
	assert.Empty(t, first.Previous)
	assert.True(t, strings.HasPrefix(rec.Body.String(), `{"next":"http://testserver/?cursor=`), rec.Body.String())
	assert.Contains(t, rec.Header().Get("Link"), `<http://testserver/?status=1>; rel="first"`)
	next, err := url.Parse(string(first.Next))
	require.NoError(t, err)
	cursor := next.Query().Get("cursor")

	rec, second := get(k, "/?cursor="+cursor+"&status=1")
	require.Equal(t, 200, rec.Code, "the order of parameters does not matter")
	assert.NotEmpty(t, second.Previous)
	rec, again := get(k, "/?cursor="+cursor+"&status=1")
	require.Equal(t, 200, rec.Code)
	assert.Equal(t, second.Next, again.Next, "equal requests, equal bytes")

	for _, url := range []string{
		"/?cursor=123", "/?cursor=cD1hYmM%3D", "/?cursor=cD0%3D", "/?cursor=%00", "/?cursor=" + strings.Repeat("A", 5000),
		"/?cursor=" + cursor,                              // without the filter
		"/?status=2&cursor=" + cursor,                     // another filter
		"/?status=1&ordering=created_at&cursor=" + cursor, // another direction
		"/?status=1&ordering=id&cursor=" + cursor,         // another order
		"/?status=1&cursor=" + cursor[:len(cursor)-1],     // cut
		"/?status=1&cursor=" + strings.ToUpper(cursor),    // changed
		"/?status=1&cursor=" + cursor + "&cursor=x",       // the last one counts
	} {
		rec, _ := get(k, url)
		assert.Equal(t, 404, rec.Code, url)
		assert.JSONEq(t, `{"detail":"Invalid cursor"}`, rec.Body.String(), url)
	}
	rec, _ = get(newKeyset("orders", false), "/?status=1&cursor="+cursor)
	assert.Equal(t, 404, rec.Code, "another list")
	tenant = "2"
	rec, _ = get(k, "/?status=1&cursor="+cursor)
	assert.Equal(t, 404, rec.Code, "another tenant")
	tenant = "1"

	for url, size := range map[string]int{
		"/?page_size=20": 20, "/?page_size=30": 20, "/?page_size=0": 5, "/?page_size=-5": 5, "/?page_size=abc": 5,
		"/?status=1&page_size=7&cursor=" + cursor: 7, // a changed size is honoured
		"/?ordering=nonsense":                     5, // the default order
	} {
		rec, page := get(k, url)
		require.Equal(t, 200, rec.Code, url)
		assert.Len(t, page.Results, size, url)
	}
	_, page := get(k, "/?page_size=30")
	assert.Contains(t, page.Next, "page_size=30", "the size is kept as it was sent")

	strict := newKeyset("sales", true)
	for url, parameter := range map[string]string{
		"/?cursor=123": "cursor", "/?page_size=30": "page_size", "/?ordering=password": "ordering",
		"/?ordering=id%3B+DROP+TABLE+sales": "ordering",
	} {
		rec, _ := get(strict, url)
		assert.Equal(t, 400, rec.Code, url)
		assert.Contains(t, rec.Body.String(), `"parameter":"`+parameter+`"`, url)
	}
}
