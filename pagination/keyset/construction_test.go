package keyset

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

// TestRefusedAtConstruction declares lists that cannot work on any database.
func TestRefusedAtConstruction(t *testing.T) {
	t.Parallel()
	cursors := mustCursors(t, EphemeralKeyRing(), nil)
	id := Column[int64]{Name: "id", Expr: "id", Unique: true}
	name := Column[int64]{Name: "name", Expr: "name"}
	expr := func(e string, args ...any) []Column[int64] {
		return []Column[int64]{{Name: "name", Expr: e, Args: args}, id}
	}
	for fault, c := range map[string]struct {
		resource string // default: rows
		preset   pagination.Preset
		columns  []Column[int64] // default: name and id
		opts     Options
		want     string
	}{
		"no size":                         {preset: pagination.Preset{Size: -1}, want: "page size"},
		"a size above its maximum":        {preset: pagination.Preset{Size: 10, MaxSize: 5}, want: "page size"},
		"a negative maximum":              {preset: pagination.Preset{Size: 10, MaxSize: -5}, want: "page size"},
		"a size that overflows":           {preset: pagination.Preset{Size: 1<<31 - 1}, want: "page size"},
		"no column":                       {columns: []Column[int64]{}, want: "no column is Unique"},
		"no unique column":                {columns: []Column[int64]{name}, want: "no column is Unique"},
		"a unique column with NULLs":      {columns: []Column[int64]{{Name: "id", Expr: "id", Unique: true, Nullable: true}}, want: "no column is Unique"},
		"two columns with one name":       {columns: []Column[int64]{id, id}, want: `two columns are called "id"`},
		"no name":                         {columns: []Column[int64]{{Expr: "id", Unique: true}}, want: "needs a name"},
		"a name that is a direction":      {columns: []Column[int64]{{Name: "-id", Expr: "id", Unique: true}}, want: "needs a name"},
		"a name of two":                   {columns: []Column[int64]{{Name: "a,b", Expr: "id", Unique: true}}, want: "needs a name"},
		"an unknown place of NULLs":       {columns: []Column[int64]{{Name: "a", Expr: "a", Nullable: true, Nulls: 3}, id}, want: "Nulls"},
		"a tie-break without a column":    {opts: Options{TieBreak: []string{"nobody"}}, want: `"nobody", which is no column`},
		"a tie-break with a direction":    {opts: Options{TieBreak: []string{"-id"}}, want: `"-id", which is no column`},
		"a tie-break twice":               {opts: Options{TieBreak: []string{"name", "name"}}, want: `TieBreak has "name" twice`},
		"a tie-break with NULLs":          {columns: []Column[int64]{{Name: "a", Expr: "a", Nullable: true}, id}, opts: Options{TieBreak: []string{"a"}}, want: "must not be Nullable"},
		"a default order without column":  {opts: Options{Ordering: "name,-nobody"}, want: `"-nobody", which is no column`},
		"a default order with one twice":  {opts: Options{Ordering: "name,-name"}, want: `Ordering has "name" twice`},
		"two parameters with one name":    {opts: Options{SizeParam: "cursor"}, want: "must differ"},
		"no cursor parameter":             {opts: Options{CursorParam: "-"}, want: "CursorParam"},
		"a filter that is the cursor":     {opts: Options{FilterParams: []string{"status", "cursor"}}, want: `FilterParams has "cursor"`},
		"a filter that is the order":      {opts: Options{OrderingParam: "sort", FilterParams: []string{"sort"}}, want: `FilterParams has "sort"`},
		"a base without a host":           {opts: Options{Links: &pagination.Links{Base: "/api"}}, want: "Base"},
		"a host with a scheme":            {opts: Options{Links: &pagination.Links{AllowedHosts: []string{"https://shop.example"}}}, want: "AllowedHosts"},
		"a host with a port":              {opts: Options{Links: &pagination.Links{AllowedHosts: []string{"shop.example:8080"}}}, want: "AllowedHosts"},
		"a host with a star":              {opts: Options{Links: &pagination.Links{AllowedHosts: []string{"*.shop.example"}}}, want: "AllowedHosts"},
		"an empty host":                   {opts: Options{Links: &pagination.Links{AllowedHosts: []string{""}}}, want: "AllowedHosts"},
		"no expression":                   {columns: expr(" "), want: "is empty"},
		"a direction in the expression":   {columns: expr("t.created_at DESC"), want: "direction"},
		"NULLS in the expression":         {columns: expr("t.created_at nulls  last"), want: "place of NULLs"},
		"two expressions":                 {columns: expr("t.a, t.b"), want: "comma"},
		"two statements":                  {columns: expr("t.a; DROP TABLE t"), want: "semicolon"},
		"a comment that hides the rest":   {columns: expr("t.a -- the name"), want: "comment"},
		"a comment without an end":        {columns: expr("t.a /* the name"), want: "comment"},
		"a bracket without its end":       {columns: expr("lower(t.a"), want: "closing"},
		"a bracket too many":              {columns: expr("lower(t.a))"), want: "opening"},
		"brackets crosswise":              {columns: expr("(t.a[1)]"), want: "opening"},
		"a quote without its end":         {columns: expr("t.a || 'x"), want: "quote"},
		"a window function":               {columns: expr("COALESCE(sum (t.a) over (), 0)"), want: "window function"},
		"the place of a column":           {columns: expr(" 2 "), want: "is a number"},
		"a placeholder without argument":  {columns: expr("abs(t.a - ?)"), want: "placeholders"},
		"an argument without placeholder": {columns: expr("t.a", 1), want: "placeholders"},
		"a numbered placeholder":          {columns: expr("abs(t.a - $1)", 1), want: "placeholders"},
	} {
		preset, columns := c.preset, c.columns
		if preset == (pagination.Preset{}) {
			preset = pagination.Standard
		}
		if columns == nil {
			columns = []Column[int64]{name, id}
		}
		_, err := New("rows", preset, cursors, columns, &c.opts)
		require.ErrorContains(t, err, c.want, fault)
		var request *pagination.RequestError
		require.NotErrorAs(t, err, &request, "%s: no client is at fault", fault)
	}
	_, err := New("", pagination.Standard, cursors, []Column[int64]{id}, nil)
	require.Error(t, err)
	_, err = New("rows", pagination.Standard, nil, []Column[int64]{id}, nil)
	require.Error(t, err)
	for _, e := range []string{
		"t.a", `"t"."desc"`, "t.desc", "CASE WHEN t.a IS NULL THEN 1 ELSE 0 END", "COALESCE(t.a, t.b)", "t.a -- why\n", "t.a /* , */ + 1",
		"lower(t.a) COLLATE NOCASE", "t.a || ', it''s;'", "(SELECT MAX(u.a) FROM u WHERE u.id = t.id ORDER BY 1 DESC LIMIT 1)",
		"t.tags[1]", "t.data ->> 'a'", `replace(t.a, 'it\'s', '')`, "$$a'b$$", "t.a::numeric(12, 2)",
	} {
		_, err := New("rows", pagination.Standard, cursors, expr(e), nil)
		require.NoError(t, err, e)
	}
}

// An order that claims to be total by naming one column twice is not total.
func TestRefusedOrders(t *testing.T) {
	t.Parallel()
	a, b := Key{Name: "a", Expr: "a"}, Key{Name: "b", Expr: "b"}
	for fault, c := range map[string]struct {
		together []string
		keys     []Key
	}{
		"nothing":                   {nil, nil},
		"no unique key":             {nil, []Key{a, b}},
		"half of a pair":            {[]string{"a", "b"}, []Key{a}},
		"half of a pair, twice":     {[]string{"a", "b"}, []Key{a, a}},
		"a pair of one":             {[]string{"a", "a"}, []Key{a, b}},
		"a nullable half":           {[]string{"a", "b"}, []Key{a, {Name: "b", Expr: "b", Nullable: true}}},
		"a key with two directions": {nil, []Key{a, {Name: "a", Expr: "a", Desc: true}, {Name: "id", Expr: "id", Unique: true}}},
		"a direction":               {nil, []Key{{Name: "id", Expr: "id DESC", Unique: true}}},
		"a place":                   {nil, []Key{{Name: "id", Expr: "1", Unique: true}}},
	} {
		_, err := NewOrder(c.together, c.keys...)
		require.Error(t, err, fault)
	}
	_, err := NewOrder([]string{"a", "b"}, a, b)
	require.NoError(t, err)
}

// TestRefusedModels declares tags that would have no effect.
func TestRefusedModels(t *testing.T) {
	t.Parallel()
	refused := func(err error, want string) {
		t.Helper()
		require.ErrorContains(t, err, want)
	}
	_, err := NewModel[struct {
		ID int64 `db:"id"`
	}]("db", "")
	refused(err, "no field")
	_, err = NewModel[struct {
		ID    int64  `db:"id" page:"sort,unique"`
		Name  string `db:"name" page:"sort"`
		Other string `db:"name"`
	}]("db", "")
	refused(err, "two fields")
	_, err = NewModel[struct {
		ID   int64  `db:"id" page:"sort,unique"`
		Name string `page:"sort"`
	}]("db", "")
	refused(err, "field Name")
	_, err = NewModel[struct {
		ID   int64  `db:"id" page:"sort,unique"`
		name string `db:"name" page:"sort"`
	}]("db", "")
	refused(err, "field name")
	_, err = NewModel[struct {
		ID int64 `db:"id" page:"unique"`
	}]("db", "")
	refused(err, "without the word sort")
	_, err = NewModel[struct {
		ID int64 `db:"id" page:"sort,unique,first,last"`
	}]("db", "")
	refused(err, "two places")
	_, err = NewModel[struct {
		ID int64 `db:"id" page:"sort,uniqe"`
	}]("db", "")
	refused(err, `"uniqe"`)
	type hidden struct {
		Name string `db:"name"`
	}
	_, err = NewModel[struct {
		ID int64 `db:"id" page:"sort,unique"`
		*hidden
	}]("db", "")
	refused(err, "embedded pointer *hidden")
	_, err = NewModel[struct {
		ID int64 `db:"id" page:"sort,unique"`
		hidden
	}]("db", "")
	require.NoError(t, err)
	_, err = NewModel[int]("db", "")
	refused(err, "struct")
}

// A list without rows must not hide that its columns have no Value, and a source without
// Scan is an error.
func TestIncompleteSources(t *testing.T) {
	t.Parallel()
	k, err := New("rows", pagination.Standard, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "a", Expr: "a"}, {Name: "id", Expr: "id", Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	empty := SeekerFunc[int64](func(context.Context, Seek) ([]int64, error) { return nil, nil })
	_, err = k.Paginate(httptest.NewRequest(http.MethodGet, "/?ordering=a", nil), empty)
	require.ErrorContains(t, err, `column "a" has no Value`)
	_, err = k.Verify(t.Context(), empty, nil)
	require.ErrorContains(t, err, `column "a" has no Value`)
	source := SQLSource[int64]{Dialect: SQLite, Base: Base{Columns: []string{"id"}, From: "t"}}
	_, err = k.Page(t.Context(), source, Query{})
	require.ErrorIs(t, err, errNoScan)
	_, err = source.List(t.Context(), 1, 0)
	assert.ErrorIs(t, err, errNoScan)
}
