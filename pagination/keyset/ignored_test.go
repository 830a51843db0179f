package keyset

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

// policies are a list of numbers that can be counted in every way.
type policies struct {
	Seeker[int64]
	n int64
}

func (p policies) Count(context.Context) (int64, error) { return p.n, nil }
func (p policies) CountUpTo(_ context.Context, most int64) (int64, error) {
	return min(most, p.n), nil
}
func (p policies) EstimateCount(context.Context) (int64, error) { return p.n * 9 / 10, nil }

// TestCountPolicies reads the total of a keyset list in each form: the page over HTTP with
// its headers, a page without HTTP, Relay and JSON:API.
func TestCountPolicies(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5}
	exact := pagination.CountPolicy{}
	kept := int64(0)
	for name, c := range map[string]struct {
		policy *pagination.CountPolicy
		want   pagination.Total
		fields string // behind "previous", and at the end
		header string
	}{
		"no policy":  {nil, pagination.Total{Precision: pagination.Unknown}, `"results":[1,2]}`, ""},
		"none":       {of(pagination.CountNone()), pagination.Total{Precision: pagination.Unknown}, `"count":null,"results":[1,2],"count_exact":false}`, ""},
		"exact":      {&exact, pagination.Total{N: 50}, `"count":50,"results":[1,2]}`, "50"},
		"capped":     {of(pagination.CountCapped(10)), pagination.Total{N: 10, Precision: pagination.AtLeast}, `"count":10,"results":[1,2],"count_exact":false}`, "10"},
		"not capped": {of(pagination.CountCapped(100)), pagination.Total{N: 50}, `"count":50,"results":[1,2]}`, "50"},
		"estimated":  {of(pagination.CountEstimated(10)), pagination.Total{N: 45, Precision: pagination.Estimate}, `"count":45,"results":[1,2],"count_exact":false}`, "45"},
		"small":      {of(pagination.CountEstimated(100)), pagination.Total{N: 50}, `"count":50,"results":[1,2]}`, "50"},
		"remembered": {of(exact.Remembered(time.Minute, func(ctx context.Context, key string, _ time.Duration, load func(context.Context) (int64, error)) (int64, error) {
			assert.Less(t, len(key), 60, "a client must not choose the length")
			if kept == 0 {
				kept, _ = load(ctx)
			}
			return kept, nil
		})), pagination.Total{N: 50}, `"count":50,"results":[1,2]}`, "50"},
	} {
		k := numbers(t, &Options{Count: c.policy, Links: &pagination.Links{Headers: true}})
		source := policies{memorySeek(&rows), 50}
		page, err := k.Paginate(httptest.NewRequest(http.MethodGet, "/?q=long+text+of+a+client+that+would+make+a+long+key", nil), source)
		require.NoError(t, err, name)
		rec := httptest.NewRecorder()
		require.NoError(t, page.Write(rec))
		assert.Contains(t, rec.Body.String(), `"previous":null,`+c.fields, name)
		assert.Equal(t, c.header, rec.Header().Get("X-Total-Count"), name)
		properties := k.OpenAPIResponse(nil)["properties"].(pagination.Schema)
		var body map[string]any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &body))
		for field := range body {
			assert.Contains(t, properties, field, name)
		}

		plain, err := k.Page(t.Context(), source, Query{})
		require.NoError(t, err, name)
		assert.Equal(t, c.want, plain.Total, name)
		conn, err := k.Connection(t.Context(), source, ConnectionArgs{})
		require.NoError(t, err, name)
		assert.Equal(t, c.want, conn.TotalCount, name)
		doc, err := k.JSONAPI(httptest.NewRequest(http.MethodGet, "/", nil), source)
		require.NoError(t, err, name)
		total := doc.Meta.Page
		switch c.want.Precision {
		case pagination.Unknown:
			assert.Nil(t, total.Total, name)
			assert.Nil(t, total.EstimatedTotal, name)
		case pagination.Exact:
			assert.Equal(t, c.want, *total.Total, name)
		default:
			assert.Equal(t, c.want, total.EstimatedTotal.BestGuess, name)
		}
	}
	// A source that cannot count is an error and not a page without a count.
	_, err := numbers(t, &Options{Count: &exact}).Page(t.Context(), memorySeek(&rows), Query{})
	require.ErrorContains(t, err, "no Count method")
}

func of(p pagination.CountPolicy) *pagination.CountPolicy { return &p }

// TestIgnoredParameters names every parameter and argument without effect. A strict list
// rejects it, except one of a tracker.
func TestIgnoredParameters(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5}
	filters := []string{"status"}
	for _, c := range []struct {
		url      string
		want     []string
		header   string
		accepted bool
	}{
		{"/?status=1&page_size=3&ordering=id", nil, "", true},
		{"/?page_size=51", []string{"page_size"}, "page_size", false},
		{"/?page_size=x&page_size=y", []string{"page_size"}, "page_size", false},
		{"/?ordering=password", []string{"ordering"}, "ordering", false},
		{"/?ordering=id,-id", []string{"ordering"}, "ordering", false},
		{"/?ordering=-id&ordering=id", []string{"ordering"}, "ordering", false},
		{"/?page=2&stauts=1", []string{"page", "stauts"}, "page, stauts", false},
		{"/?utm_source=mail&msclkid=1", []string{"msclkid", "utm_source"}, "msclkid, utm_source", true},
		{"/?cursor=&cursor=", []string{"cursor"}, "cursor", false},
	} {
		page, err := numbers(t, &Options{FilterParams: filters}).Paginate(httptest.NewRequest(http.MethodGet, c.url, nil), memorySeek(&rows))
		require.NoError(t, err, c.url)
		assert.Equal(t, c.want, page.Ignored, c.url)
		rec := httptest.NewRecorder()
		require.NoError(t, page.Write(rec))
		assert.Equal(t, c.header, rec.Header().Get("X-Ignored-Parameters"), c.url)
		_, err = numbers(t, &Options{FilterParams: filters, Strict: true}).Paginate(httptest.NewRequest(http.MethodGet, c.url, nil), memorySeek(&rows))
		if c.accepted {
			require.NoError(t, err, c.url)
		} else {
			require.ErrorIs(t, err, pagination.ErrInvalidParameter, c.url)
		}
	}
	many := 51
	conn, err := numbers(t, nil).Connection(t.Context(), memorySeek(&rows), ConnectionArgs{First: &many, Last: &many, Ordering: "password"})
	require.NoError(t, err)
	assert.Equal(t, []string{"first", "last", "ordering"}, conn.Ignored)
	strict := numbers(t, &Options{Strict: true})
	for _, args := range []ConnectionArgs{{First: &many}, {Last: &many}, {Ordering: "password"}} {
		_, err = strict.Connection(t.Context(), memorySeek(&rows), args)
		require.ErrorIs(t, err, pagination.ErrInvalidParameter)
	}
	page, err := numbers(t, nil).Page(t.Context(), memorySeek(&rows), Query{Size: many, Ordering: "password, id"})
	require.NoError(t, err)
	assert.Equal(t, []string{"ordering", "page_size"}, page.Ignored)
	for _, q := range []Query{{Size: many}, {Ordering: "password"}, {Ordering: "id,id desc"}} {
		_, err = strict.Page(t.Context(), memorySeek(&rows), q)
		require.ErrorIs(t, err, pagination.ErrInvalidParameter)
	}
}

// JSON:API rejects what it does not know, and a tracker changes no filter.
func TestJSONAPIParameters(t *testing.T) {
	t.Parallel()
	k, source := resources(t, &Options{FilterParams: []string{"filter[status]"}}, 1, 2, 3, 4, 5)
	get := func(url string) (*Document[resource], error) {
		return k.JSONAPI(httptest.NewRequest(http.MethodGet, url, nil), source)
	}
	for _, url := range []string{
		"/?filter[stauts]=1", "/?cursor=x", "/?page[size]=1&page[size]=2", "/?sort=id&sort=-id", "/?sort=id,-id", "/?page[offset]=1",
	} {
		_, err := get(url)
		require.ErrorIs(t, err, pagination.ErrInvalidParameter, url)
	}
	first, err := get("/?filter[status]=1&page[size]=2")
	require.NoError(t, err)
	second, err := get(string(first.Links.Next) + "&utm_source=mail")
	require.NoError(t, err)
	assert.Equal(t, 3, second.Data[0].ID)
}
