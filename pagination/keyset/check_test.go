package keyset

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

type item struct {
	ID   int64
	Name string
	At   *time.Time
}

// itemSource sorts in Go, by a comparison of names, and lets a fault change each batch.
func itemSource(items []item, compare func(a, b string) int, fault func(q Seek, rows []item) []item) SeekerFunc[item] {
	return func(_ context.Context, q Seek) ([]item, error) {
		order := func(a, b item) int {
			c := 0
			for _, key := range q.Order.Keys() {
				switch key.Name {
				case "name":
					c = compare(a.Name, b.Name)
				case "id":
					c = cmp.Compare(a.ID, b.ID)
				}
				if key.Desc != q.Backward {
					c = -c
				}
				if c != 0 {
					return c
				}
			}
			return 0
		}
		rows := slices.Clone(items)
		slices.SortFunc(rows, order)
		if q.After != nil {
			var at item
			for i, key := range q.Order.Keys() {
				if key.Name == "name" {
					at.Name = q.After[i].Any().(string)
				} else {
					at.ID = q.After[i].Any().(int64)
				}
			}
			rows = slices.DeleteFunc(rows, func(r item) bool { return order(r, at) < 0 || order(r, at) == 0 && !q.Inclusive })
		}
		rows = rows[:min(q.Limit, len(rows))]
		if fault != nil {
			rows = fault(q, rows)
		}
		return rows, nil
	}
}

func itemKeyset(t testing.TB, collated bool) *Keyset[item] {
	t.Helper()
	k, err := New("items", pagination.Preset{Size: 5, MaxSize: 100}, mustCursors(t, EphemeralKeyRing(), nil), []Column[item]{
		{Name: "name", Expr: "name", Collated: collated, Value: func(i item) any { return i.Name }},
		{Name: "id", Expr: "id", Unique: true, Value: func(i item) any { return i.ID }},
	}, &Options{Ordering: "name"})
	require.NoError(t, err)
	return k
}

func fold(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }

// TestPlantedFaults plants a fault in a walk. The page that shows it is an error that
// names the column, over HTTP, in All and in Verify.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	var items []item
	for i := range 60 {
		items = append(items, item{ID: int64(i + 1), Name: string(rune("aBcDeF"[i%6]))})
	}
	swap := func(at int) func(Seek, []item) []item {
		return func(_ Seek, rows []item) []item {
			if len(rows) > at+1 {
				rows[at], rows[at+1] = rows[at+1], rows[at]
			}
			return rows
		}
	}
	for name, tc := range map[string]struct {
		source   SeekerFunc[item]
		column   string
		collated bool
	}{
		"out of order":                 {itemSource(items, strings.Compare, swap(2)), "id", false},
		"out of order at the end":      {itemSource(items, strings.Compare, swap(4)), "id", false},
		"another collation":            {itemSource(items, fold, nil), "name", false},
		"the wrong direction":          {itemSource(items, strings.Compare, func(_ Seek, rows []item) []item { slices.Reverse(rows); return rows }), "id", true},
		"fan-out":                      {itemSource(items, strings.Compare, func(_ Seek, rows []item) []item { return append(rows[:1], rows...) }), "id", false},
		"fan-out, collated":            {itemSource(items, fold, func(_ Seek, rows []item) []item { return append(rows[:1], rows...) }), "id", true},
		"After is not applied":         {itemSource(items, strings.Compare, nil).forget(), "id", false},
		"After, collated, not applied": {itemSource(items, fold, nil).forget(), "id", true},
		"inclusive":                    {itemSource(items, strings.Compare, nil).inclusive(), "id", false},
	} {
		t.Run(name, func(t *testing.T) {
			k := itemKeyset(t, tc.collated)
			check := func(err error) {
				t.Helper()
				var broken *WalkError
				require.ErrorAs(t, err, &broken)
				require.ErrorIs(t, err, ErrWalk)
				assert.Equal(t, "items", broken.List)
				if name != "After is not applied" { // both columns are at fault
					assert.Equal(t, tc.column, broken.Column)
				}
			}
			var err error
			for url, pages := "/", 0; url != "" && err == nil; pages++ {
				require.Less(t, pages, 100, "a walk that does not end")
				var page *Page[item]
				if page, err = k.Paginate(httptest.NewRequest(http.MethodGet, url, nil), tc.source); err == nil {
					url = string(page.Next)
				}
			}
			check(err)
			rec := httptest.NewRecorder()
			pagination.WriteError(rec, err)
			assert.Equal(t, 500, rec.Code)
			n := 0
			for _, err = range k.All(t.Context(), tc.source, &AllOptions{Batch: 10}) {
				n++
				require.Less(t, n, 1000)
			}
			check(err)
			_, err = k.Verify(t.Context(), tc.source, nil)
			check(err)
		})
	}
	_, err := itemKeyset(t, true).Verify(t.Context(), itemSource(items, fold, nil), nil)
	require.NoError(t, err)
	_, err = itemKeyset(t, false).Verify(t.Context(), itemSource(items, strings.Compare, nil), nil)
	require.NoError(t, err)
}

func (f SeekerFunc[T]) forget() SeekerFunc[T] {
	return func(ctx context.Context, q Seek) ([]T, error) { q.After = nil; return f(ctx, q) }
}

func (f SeekerFunc[T]) inclusive() SeekerFunc[T] {
	return func(ctx context.Context, q Seek) ([]T, error) { q.Inclusive = true; return f(ctx, q) }
}

func TestNullsOutOfPlace(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k, err := New("items", pagination.Preset{Size: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[item]{
		{Name: "at", Expr: "at", Nullable: true, Nulls: NullsLast, Value: func(i item) any { return i.At }},
		{Name: "id", Expr: "id", Unique: true, Value: func(i item) any { return i.ID }},
	}, &Options{Ordering: "at"})
	require.NoError(t, err)
	for want, rows := range map[bool][]item{true: {{ID: 1, At: &noon}, {ID: 2}}, false: {{ID: 2}, {ID: 1, At: &noon}}} {
		_, err := k.Page(t.Context(), SeekerFunc[item](func(context.Context, Seek) ([]item, error) { return rows, nil }), Query{})
		assert.Equal(t, want, err == nil, "%v", err)
	}
}
