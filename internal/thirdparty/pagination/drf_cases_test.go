package pagination_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Cases of Django REST Framework's own tests that are no exchange of one request.

// drfItems are the 30 items of its test of cursors: the numbers of the days on which
// they were made, with ties longer than a page.
var drfItems = []int64{1, 1, 1, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 9, 9, 9, 9, 9, 9}

type drfItem struct{ id, created int64 }

func drfSource(t testing.TB) keyset.SQLSource[drfItem] {
	t.Helper()
	db := open(t, "sqlite", ":memory:")
	db.SetMaxOpenConns(1)
	_, err := db.Exec("CREATE TABLE item (id INTEGER PRIMARY KEY, created INTEGER NOT NULL)")
	require.NoError(t, err)
	for i, created := range drfItems {
		_, err := db.Exec("INSERT INTO item VALUES (?, ?)", i+1, created)
		require.NoError(t, err)
	}
	return keyset.SQLSource[drfItem]{
		DB: db, Dialect: keyset.SQLite,
		Base: keyset.Base{Columns: []string{"id", "created"}, From: "item"},
		Scan: func(rows keyset.Scanner) (it drfItem, err error) { return it, rows.Scan(&it.id, &it.created) },
	}
}

// TestFilteredList pages the list that a filter leaves, and counts that.
func TestFilteredList(t *testing.T) {
	t.Parallel()
	source := drfSource(t)
	source.Base.Where, source.Base.Args = "id % 2 = ?", []any{0}
	var err error
	source.Order, err = keyset.NewOrder(nil, keyset.Key{Name: "id", Expr: "id", Unique: true})
	require.NoError(t, err)
	page, err := pagination.Paginate(request("http://testserver/?filter=even&page=2"), mustPageNumber(t, pagination.Preset{Size: 5}), pagination.Lister[drfItem](source))
	require.NoError(t, err)
	assert.EqualValues(t, 15, page.Count.N)
	assert.EqualValues(t, 3, page.TotalPages.N)
	assert.EqualValues(t, 12, page.Results[0].id)
	assert.Equal(t, pagination.Link("http://testserver/?filter=even&page=3"), page.Next)
	assert.Equal(t, pagination.Link("http://testserver/?filter=even"), page.Previous)
}

// TestNoPagingArtefact goes through ties longer than a page and back again. There, Django
// REST Framework's pages going back are not those of the way there; these are.
func TestNoPagingArtefact(t *testing.T) {
	t.Parallel()
	source := drfSource(t)
	k, err := keyset.New("items", pagination.Preset{Size: 5, MaxSize: 20}, mustCursors(t), []keyset.Column[drfItem]{
		{Name: "created", Expr: "created"},
		{Name: "id", Expr: "id", Unique: true},
	}, &keyset.Options{Ordering: "created"})
	require.NoError(t, err)
	get := func(url pagination.Link) (days []int64, page *keyset.Page[drfItem]) {
		page, err := k.Paginate(httptest.NewRequest(http.MethodGet, string(url), nil), source)
		require.NoError(t, err)
		for _, it := range page.Results {
			days = append(days, it.created)
		}
		return days, page
	}
	var there, back [][]int64
	days, page := get("http://testserver/")
	assert.Empty(t, page.Previous)
	for there = append(there, days); page.Next != ""; there = append(there, days) {
		days, page = get(page.Next)
	}
	assert.Equal(t, slices.Collect(slices.Chunk(drfItems, 5)), there)
	for back = append(back, days); page.Previous != ""; back = append(back, days) {
		days, page = get(page.Previous)
	}
	slices.Reverse(back)
	assert.Equal(t, there, back)

	// Turning round in the middle, too.
	_, page = get("http://testserver/")
	for range 3 {
		_, page = get(page.Next)
	}
	days, page = get(page.Previous)
	assert.Equal(t, []int64{4, 4, 5, 6, 7}, days)
	days, _ = get(page.Next)
	assert.Equal(t, []int64{7, 7, 7, 7, 7}, days)
}
