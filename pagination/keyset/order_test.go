package keyset

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

// Two processes have one text for an order, so that a cursor of one is valid in the other.
func TestOrderOfArguments(t *testing.T) {
	t.Parallel()
	spec := func(arg any) string {
		order, err := NewOrder(nil, Key{Name: "near", Expr: "abs(t.k - ?)", Args: []any{arg}}, Key{Name: "id", Expr: "t.id", Unique: true})
		require.NoError(t, err)
		return order.String()
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	berlin := at.In(time.FixedZone("x", 7200))
	for _, fresh := range []func() any{
		func() any { n := 5; return &n },
		func() any { s := "x\x00\"y"; return &s },
		func() any { p := &at; return &p },
		func() any { return &sql.NullInt64{Int64: 3, Valid: true} },
		func() any { a, b := "a", "b"; return []*string{&a, &b, nil} },
		func() any { return &[]int64{1, 2} },
		func() any { return (*int)(nil) },
	} {
		assert.Equal(t, spec(fresh()), spec(fresh()))
	}
	assert.Equal(t, spec(at), spec(&berlin), "one instant")
	different := []any{5, "5", []byte("5"), 5.0, true, nil, []int{5}, []int{5, 5}, []int{}, []string{"5"}, [][]int{{5}, {}}, [][]int{{}, {5}}, at}
	seen := map[string]any{}
	for _, arg := range different {
		s := spec(arg)
		assert.NotContains(t, seen, s, "%v and %v", arg, seen[s])
		seen[s] = arg
	}
	for _, arg := range []any{struct{ a *int }{}, map[string]int{"a": 1}, func() {}, []any{struct{}{}}} {
		_, err := New("x", pagination.Standard, mustCursors(t, EphemeralKeyRing(), nil), []Column[int]{{Name: "near", Expr: "abs(t.k - ?)", Args: []any{arg}}, {Name: "id", Expr: "id", Unique: true}}, nil)
		require.ErrorContains(t, err, `Arg of sort key "near"`)
	}
}
