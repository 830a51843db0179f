package keyset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

type resource struct {
	Type string `json:"type"`
	ID   int    `json:"id,string"`
}

func resources(t *testing.T, opts *Options, ids ...int) (*Keyset[resource], Seeker[resource]) {
	t.Helper()
	k, err := New("articles", pagination.Preset{Size: 3, MaxSize: 10}, mustCursors(t, EphemeralKeyRing(), nil), []Column[resource]{
		{Name: "id", Expr: "id", Unique: true, Value: func(r resource) any { return r.ID }},
	}, opts)
	require.NoError(t, err)
	return k, SeekerFunc[resource](func(_ context.Context, q Seek) ([]resource, error) {
		list := slices.Clone(ids)
		desc := q.Order.Keys()[0].Desc != q.Backward
		if desc {
			slices.Reverse(list)
		}
		var rows []resource
		for _, id := range list {
			if q.After != nil {
				at := int(q.After[0].Any().(int64))
				if (!q.Inclusive || id != at) && (desc && id >= at || !desc && id <= at) {
					continue
				}
			}
			if len(rows) < q.Limit {
				rows = append(rows, resource{"articles", id})
			}
		}
		return rows, nil
	})
}

// The walks, ranges and errors of the profile.
func TestJSONAPI(t *testing.T) {
	count := pagination.CountPolicy{}
	k, plain := resources(t, &Options{Count: &count}, 1, 2, 3, 4, 5, 6, 7)
	source := counted{plain}
	read, ids := documents(t, k, source), idsOf
	first := read("/articles?filter=x")
	assert.Equal(t, []int{1, 2, 3}, ids(first))
	assert.Empty(t, first.Links.Prev)
	assert.EqualValues(t, 7, first.Meta.Page.Total.N)
	second := read(string(first.Links.Next))
	assert.Equal(t, []int{4, 5, 6}, ids(second))
	last := read(string(second.Links.Next))
	assert.Equal(t, []int{7}, ids(last))
	assert.Empty(t, last.Links.Next)
	assert.Equal(t, []int{4, 5, 6}, ids(read(string(last.Links.Prev))))
	assert.Equal(t, []int{1, 2, 3}, ids(read(string(second.Links.Prev))))
	assert.Equal(t, []int{7, 6}, ids(read("/articles?sort=-id&page[size]=2")))

	// A range, whole and truncated.
	next, prev := read("/articles?page[size]=1").Links.Next, read("/articles?page%5Bsize%5D=1&page%5Bafter%5D="+after(t, k, 6)).Links.Prev
	_ = next
	require.NotEmpty(t, prev)
	whole := read("/articles?page[size]=9&page[after]=" + after(t, k, 2) + "&page[before]=" + after(t, k, 5))
	assert.Equal(t, []int{3, 4}, ids(whole))
	assert.False(t, whole.Meta.Page.RangeTruncated)
	cut := read("/articles?page[size]=1&page[after]=" + after(t, k, 2) + "&page[before]=" + after(t, k, 5))
	assert.Equal(t, []int{3}, ids(cut))
	assert.True(t, cut.Meta.Page.RangeTruncated)

	w := httptest.NewRecorder()
	require.NoError(t, first.Write(w))
	assert.Equal(t, jsonAPIType, w.Header().Get("Content-Type"))
	assert.Contains(t, w.Body.String(), `{"data":[{"type":"articles","id":"1"}`)
	assert.Contains(t, w.Body.String(), `"prev":null`)

	row2, row3 := after(t, k, 2), after(t, k, 3)
	for url, parameter := range map[string]string{
		"/articles?page[size]=11":                                  "page[size]",
		"/articles?page[size]=x":                                   "page[size]",
		"/articles?page[number]=2":                                 "page[number]",
		"/articles?sort=name":                                      "sort",
		"/articles?page[after]=forged":                             "page[after]",
		"/articles?page[before]=forged":                            "page[before]",
		"/articles?filter=y&page[after]=" + row2:                   "page[after]",
		"/articles?sort=-id&page[before]=" + row2:                  "page[before]",
		"/articles?cursor=" + LastPage + "&page[after]=forge":      "page[after]",
		"/articles?page[size]=":                                    "page[size]",
		"/articles?page[size]=0":                                   "page[size]",
		"/articles?page[size]=-1":                                  "page[size]",
		"/articles?page[size]=%2B1":                                "page[size]",
		"/articles?page[size]=%201":                                "page[size]",
		"/articles?page[after]=":                                   "page[after]",
		"/articles?page[before]=":                                  "page[before]",
		"/articles?page[after]":                                    "page[after]",
		"/articles?page[after]=" + row2 + "&page[before]=forged":   "page[before]",
		"/articles?page[after]=" + row2 + "&page[before]=":         "page[before]",
		"/articles?page[after]=forged&page[before]=" + row2:        "page[after]",
		"/articles?page[before]=" + row2 + "&page[before]=" + row3: "page[before]",
		"/articles?sort=id&sort=-id":                               "sort",
	} {
		_, err := k.JSONAPI(httptest.NewRequest(http.MethodGet, url, nil), source)
		require.Error(t, err, url)
		w := httptest.NewRecorder()
		WriteJSONAPIError(w, err)
		assert.Equal(t, 400, w.Code, url)
		var body struct {
			Errors []struct {
				Status string
				Source struct{ Parameter string }
			}
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		assert.Equal(t, parameter, body.Errors[0].Source.Parameter, url)
	}
	w = httptest.NewRecorder()
	WriteJSONAPIError(w, errors.New("password=secret"))
	assert.Equal(t, 500, w.Code)
	assert.NotContains(t, w.Body.String(), "secret")
}

// A range has the maximum size by default, and links to the rows around it.
func TestJSONAPIRanges(t *testing.T) {
	k, source := resources(t, nil, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	read := documents(t, k, source)
	d := read("/articles?page[after]=" + after(t, k, 1) + "&page[before]=" + after(t, k, 7))
	assert.Equal(t, []int{2, 3, 4, 5, 6}, idsOf(d))
	assert.False(t, d.Meta.Page.RangeTruncated)
	assert.Equal(t, []int{7, 8, 9}, idsOf(read(string(d.Links.Next))))
	assert.Equal(t, []int{1}, idsOf(read(string(d.Links.Prev))))
	d = read("/articles?page[after]=" + after(t, k, 1) + "&page[before]=" + after(t, k, 13))
	assert.Equal(t, []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, idsOf(d))
	assert.True(t, d.Meta.Page.RangeTruncated)
	assert.Equal(t, []int{12, 13}, idsOf(read(string(d.Links.Next))))
}

// An empty page behind a cursor links to the rows before it, the row of the cursor included.
func TestJSONAPIEmptyPages(t *testing.T) {
	k, source := resources(t, nil, 1, 2, 3, 4)
	read := documents(t, k, source)
	d := read("/articles?page[after]=" + after(t, k, 4))
	assert.Empty(t, d.Data)
	assert.Empty(t, d.Links.Next)
	require.NotEmpty(t, d.Links.Prev)
	back := read(string(d.Links.Prev))
	assert.Equal(t, []int{2, 3, 4}, idsOf(back))
	assert.Equal(t, []int{1}, idsOf(read(string(back.Links.Prev))))
	d = read("/articles?page[before]=" + after(t, k, 1))
	assert.Empty(t, d.Data)
	assert.Empty(t, d.Links.Prev)
	assert.Equal(t, []int{1, 2, 3}, idsOf(read(string(d.Links.Next))))
	d = read("/articles?page[after]=" + after(t, k, 2) + "&page[before]=" + after(t, k, 3))
	assert.Empty(t, d.Data)
	assert.Equal(t, []int{1, 2}, idsOf(read(string(d.Links.Prev))))
	assert.Equal(t, []int{3, 4}, idsOf(read(string(d.Links.Next))))

	// The cursor of such a link includes its row, which a range does not.
	link, err := url.Parse(string(d.Links.Prev))
	require.NoError(t, err)
	_, err = k.JSONAPI(httptest.NewRequest(http.MethodGet, "/articles?page[after]="+after(t, k, 1)+"&"+link.RawQuery, nil), source)
	var fault *pagination.RequestError
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, "page[before]", fault.Parameter)

	k, source = resources(t, nil)
	d = documents(t, k, source)("/articles?page[after]=" + after(t, k, 4))
	assert.Empty(t, d.Links.Prev)
	assert.Empty(t, d.Links.Next)
}

// The errors with a type of their own have its link and the maximum.
func TestJSONAPIErrorTypes(t *testing.T) {
	k, source := resources(t, nil, 1)
	for url, want := range map[string]string{
		"/articles?page[size]=11":                   `"links":{"type":["` + JSONAPIProfile + `max-size-exceeded"]},"meta":{"page":{"maxSize":10}}`,
		"/articles?page[size]=99999999999999999999": `"links":{"type":["` + JSONAPIProfile + `max-size-exceeded"]},"meta":{"page":{"maxSize":10}}`,
		"/articles?sort=name":                       `"links":{"type":["` + JSONAPIProfile + `unsupported-sort"]}`,
		"/articles?page[size]=0":                    `"source":{"parameter":"page[size]"}}`,
		"/articles?sort=id&sort=id":                 `"source":{"parameter":"sort"}}`,
	} {
		_, err := k.JSONAPI(httptest.NewRequest(http.MethodGet, url, nil), source)
		require.ErrorIs(t, err, pagination.ErrInvalidParameter, url)
		w := httptest.NewRecorder()
		WriteJSONAPIError(w, fmt.Errorf("handler: %w", err))
		assert.Equal(t, 400, w.Code, url)
		assert.Contains(t, w.Body.String(), want, url)
	}
	d := documents(t, k, source)("/articles?page[size]=007")
	assert.Len(t, d.Data, 1)
}

func documents(t *testing.T, k *Keyset[resource], source Seeker[resource]) func(url string) *Document[resource] {
	t.Helper()
	return func(url string) *Document[resource] {
		t.Helper()
		d, err := k.JSONAPI(httptest.NewRequest(http.MethodGet, url, nil), source)
		require.NoError(t, err)
		return d
	}
}

func idsOf(d *Document[resource]) (ids []int) {
	for _, r := range d.Data {
		ids = append(ids, r.ID)
	}
	return ids
}

// after returns the cursor behind a resource.
func after(t *testing.T, k *Keyset[resource], id int) string {
	t.Helper()
	cursor, err := k.encode(k.newScope(k.initial, "?json:api", ""), k.initial, Position{Values: []Value{mustValue(t, id)}})
	require.NoError(t, err)
	return cursor
}

type counted struct{ Seeker[resource] }

func (counted) Count(context.Context) (int64, error) { return 7, nil }

// A list method by AIP-158 and AIP-132: order_by, tokens, sizes.
func TestListMethod(t *testing.T) {
	k, source := resources(t, &Options{Strict: true}, 1, 2, 3, 4, 5, 6, 7)
	ctx := t.Context()
	for _, c := range []struct{ orderBy, want string }{
		{"id desc", "-id"}, {"id asc", "id"}, {" id  desc ", "-id"}, {"-id", "-id"}, {"id", "id"}, {"", ""},
	} {
		got, err := k.Order(c.orderBy)
		require.NoError(t, err, c.orderBy)
		want, err := k.Order(c.want)
		require.NoError(t, err)
		assert.Equal(t, want.String(), got.String(), c.orderBy)
	}
	for _, bad := range []string{"id descending", "id desc desc", "name", "id; drop", "desc"} {
		_, err := k.Page(ctx, source, Query{Ordering: bad})
		require.ErrorIs(t, err, pagination.ErrInvalidParameter, bad)
	}
	seen := 0
	for q := (Query{Ordering: "id desc", Size: 2, Scope: "filter"}); ; {
		page, err := k.Page(ctx, source, q)
		require.NoError(t, err)
		seen += len(page.Rows)
		if q.Token = page.Next; q.Token == "" {
			break
		}
		_, err = k.Page(ctx, source, Query{Ordering: "id desc", Token: q.Token, Scope: "another filter"})
		require.ErrorIs(t, err, ErrInvalidCursor)
		_, err = k.Page(ctx, source, Query{Ordering: "id", Token: q.Token, Scope: "filter"})
		require.ErrorIs(t, err, ErrInvalidCursor)
	}
	assert.Equal(t, 7, seen)
	_, err := k.Page(ctx, source, Query{Size: -1})
	require.ErrorIs(t, err, pagination.ErrInvalidParameter)
	lenient, source := resources(t, nil, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	page, err := lenient.Page(ctx, source, Query{Size: 1 << 30, Ordering: "name desc"})
	require.NoError(t, err)
	assert.Len(t, page.Rows, 10)
	assert.Equal(t, []string{"ordering", "page_size"}, page.Ignored)
}
