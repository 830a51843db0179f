package keyset

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
)

func mustCursors(t testing.TB, ring *KeyRing, opts *CursorsOptions) *Cursors {
	t.Helper()
	c, err := NewCursors(ring, opts)
	require.NoError(t, err)
	return c
}

func mustRing(t testing.TB, keys ...CursorKey) *KeyRing {
	t.Helper()
	ring, err := NewKeyRing(keys[0], keys[1:]...)
	require.NoError(t, err)
	return ring
}

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func mustValue(t testing.TB, v any) Value {
	t.Helper()
	value, err := NewValue(v)
	require.NoError(t, err)
	return value
}

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	var values []Value
	add := func(list ...any) {
		for _, v := range list {
			values = append(values, mustValue(t, v))
		}
	}
	add(0, int64(math.MinInt64), int64(math.MaxInt64), nil, int8(-3))
	add(uint64(math.MaxUint64), 7)
	add(math.Pi, math.Inf(-1), math.NaN(), float32(0.1))
	add(true, false)
	add("", "é\x00", nil)
	add([]byte{0, 1, 255})
	add("12345678901234567890.000000000000000001")
	add("01234567-89ab-cdef-0123-456789abcdef", [16]byte{1, 2, 3})
	add(
		time.Date(2026, 11, 23, 17, 0, 0, 123456000, time.UTC), time.Date(2026, 11, 23, 17, 0, 0, 123456789, time.FixedZone("", 7200)),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 1, time.UTC),
		time.Date(200_000, 1, 1, 0, 0, 0, 5000, time.UTC),
	)
	for _, encrypt := range []bool{false, true} {
		c := mustCursors(t, EphemeralKeyRing(), &CursorsOptions{Encrypt: encrypt})
		for _, flags := range []Position{{}, {Backward: true}, {Inclusive: true}, {Backward: true, Inclusive: true}} {
			flags.Values = values
			cursor, err := c.Encode(NewScope("x"), flags)
			require.NoError(t, err)
			got, err := c.Decode(NewScope("x"), len(values), cursor)
			require.NoError(t, err)
			assert.Equal(t, flags, got)
		}
	}
}

func TestCursorLength(t *testing.T) {
	t.Parallel()
	c := mustCursors(t, mustRing(t, CursorKey{ID: 1, Secret: secret(1)}), nil)
	for _, tc := range []struct {
		at time.Time
		id int64
	}{
		{time.Date(2026, 11, 23, 17, 0, 0, 123456000, time.UTC), 1<<47 - 1},
		{time.Date(2026, 11, 23, 17, 0, 0, 123456789, time.UTC), 1<<40 - 1},
	} {
		cursor, err := c.Encode(NewScope("x"), Position{Values: []Value{mustValue(t, tc.at), mustValue(t, tc.id)}})
		require.NoError(t, err)
		assert.LessOrEqual(t, len(cursor), 46, "%v %d", tc.at, tc.id)
	}
	_, err := c.Encode(NewScope("x"), Position{Values: []Value{mustValue(t, strings.Repeat("x", 800))}})
	require.ErrorContains(t, err, "too long")
	_, err = c.Encode(NewScope("x"), Position{Values: make([]Value, 65)})
	require.Error(t, err)
}

func TestCursorRefusals(t *testing.T) {
	t.Parallel()
	at := Position{Values: []Value{mustValue(t, time.Now()), mustValue(t, 5)}}
	scope := NewScope("sales", "-created", "f=1", "tenant 1")
	for _, encrypt := range []bool{false, true} {
		c := mustCursors(t, mustRing(t, CursorKey{ID: 1, Secret: secret(1)}), &CursorsOptions{Encrypt: encrypt})
		good, err := c.Encode(scope, at)
		require.NoError(t, err)
		_, err = c.Decode(scope, 2, good)
		require.NoError(t, err)

		bad := map[string]string{
			"empty": "", "text": "123", "not base64": "!!!", "padded": good + "=", "longer": good + "A",
			"newline": good[:4] + "\n" + good[4:], "huge": strings.Repeat("A", 5025), "huge valid": strings.Repeat("AAAA", 1100),
		}
		for n := range len(good) {
			bad["cut to "+good[:n]] = good[:n]
		}
		raw, err := base64.RawURLEncoding.DecodeString(good)
		require.NoError(t, err)
		for i := range len(raw) * 8 {
			flipped := bytes.Clone(raw)
			flipped[i/8] ^= 1 << (i % 8)
			bad["bit "+string(rune('0'+i))] = base64.RawURLEncoding.EncodeToString(flipped)
		}
		for name, cursor := range bad {
			_, err := c.Decode(scope, 2, cursor)
			require.ErrorIs(t, err, ErrInvalidCursor, name)
		}
		for _, foreign := range []Scope{
			NewScope("sales", "-created", "f=1", "tenant 2"), NewScope("sales", "-created", "f=2", "tenant 1"),
			NewScope("sales", "created", "f=1", "tenant 1"), NewScope("orders", "-created", "f=1", "tenant 1"),
			NewScope("sales-created", "", "f=1", "tenant 1"),
			{},
		} {
			_, err := c.Decode(foreign, 2, good)
			require.ErrorIs(t, err, ErrInvalidCursor)
		}
		for _, other := range []int{0, 1, 3, 4, 70} { // should a scope not cover the order
			_, err := c.Decode(scope, other, good)
			require.ErrorIs(t, err, ErrInvalidCursor, "%d", other)
		}
		// A cursor of the other protection is no cursor.
		_, err = mustCursors(t, c.ring, &CursorsOptions{Encrypt: !encrypt}).Decode(scope, 2, good)
		require.ErrorIs(t, err, ErrInvalidCursor)
		_, err = mustCursors(t, mustRing(t, CursorKey{ID: 1, Secret: secret(2)}), &CursorsOptions{Encrypt: encrypt}).Decode(scope, 2, good)
		require.ErrorIs(t, err, ErrInvalidCursor, "another secret under the same ID")
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	old, next := CursorKey{ID: 1, Secret: secret(1)}, CursorKey{ID: 2, Secret: secret(2)}
	at := Position{Values: []Value{mustValue(t, 5)}}
	for _, encrypt := range []bool{false, true} {
		opts := &CursorsOptions{Encrypt: encrypt}
		cursor, err := mustCursors(t, mustRing(t, old), opts).Encode(NewScope("x"), at)
		require.NoError(t, err)
		_, err = mustCursors(t, mustRing(t, next, old), opts).Decode(NewScope("x"), 1, cursor)
		require.NoError(t, err)
		_, err = mustCursors(t, mustRing(t, next), opts).Decode(NewScope("x"), 1, cursor)
		require.ErrorIs(t, err, ErrInvalidCursor)
	}
	_, err := NewKeyRing(old, old)
	require.Error(t, err)
	_, err = NewKeyRing(CursorKey{Secret: []byte("short")})
	require.Error(t, err)
	_, err = NewCursors(nil, nil)
	require.Error(t, err)
	_, err = NewCursors(EphemeralKeyRing(), &CursorsOptions{TTL: -1})
	require.Error(t, err)
}

func TestCursorExpiryAndDeterminism(t *testing.T) {
	t.Parallel()
	at := Position{Values: []Value{mustValue(t, 5)}}
	scope, now := NewScope("x"), time.Unix(1_800_000_000, 0)
	c := mustCursors(t, EphemeralKeyRing(), &CursorsOptions{TTL: time.Hour})
	cursor, err := c.encode(&scope, at, func() time.Time { return now })
	require.NoError(t, err)
	for after, want := range map[time.Duration]string{0: "", time.Hour: "", time.Hour * 17 / 16: "", time.Hour*17/16 + 2*time.Second: "expired"} {
		_, reason := c.decode(&scope, 1, 1, cursor, func() time.Time { return now.Add(after) })
		assert.Equal(t, want, reason, after)
	}
	again, err := c.encode(&scope, at, func() time.Time { return now.Add(10 * time.Second) })
	require.NoError(t, err)
	assert.Equal(t, cursor, again, "equal pages keep their ETag for a while")

	sealed := mustCursors(t, EphemeralKeyRing(), &CursorsOptions{Encrypt: true})
	assert.Equal(t, 72*time.Hour, sealed.ttl)
	hidden, err := sealed.Encode(scope, Position{Values: []Value{mustValue(t, "the hidden name")}})
	require.NoError(t, err)
	raw, err := base64.RawURLEncoding.DecodeString(hidden)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "hidden")
}

// TestPastEveryRow deletes the rows behind a cursor, and before one.
func TestPastEveryRow(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	source := memorySeek(&rows)
	k, err := New("rows", pagination.Preset{Size: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	get := func(url pagination.Link) *Page[int64] {
		page, err := k.Paginate(httptest.NewRequest(http.MethodGet, string(url), nil), source)
		require.NoError(t, err)
		return page
	}
	first := get("http://testserver/")
	rows = rows[:5] // all that is behind the cursor
	page := get(first.Next)
	assert.Empty(t, page.Results)
	assert.NotNil(t, page.Results)
	assert.Empty(t, page.Next)
	assert.Equal(t, []int64{1, 2, 3, 4, 5}, get(page.Previous).Results, "the row at the cursor is there still")

	rows = []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	second := get(get("http://testserver/").Next)
	rows = rows[5:]
	page = get(second.Previous)
	assert.Empty(t, page.Results)
	assert.Empty(t, page.Previous)
	assert.Equal(t, []int64{6, 7, 8, 9, 10}, get(page.Next).Results)
}

func memorySeek(rows *[]int64) SeekerFunc[int64] {
	return func(_ context.Context, q Seek) ([]int64, error) {
		var found []int64
		for i := range *rows {
			n := (*rows)[i]
			if q.Backward {
				n = (*rows)[len(*rows)-1-i]
			}
			if len(q.After) > 0 {
				at := q.After[0].Any().(int64)
				if n == at && !q.Inclusive || !q.Backward && n < at || q.Backward && n > at {
					continue
				}
			}
			if found = append(found, n); len(found) == q.Limit {
				break
			}
		}
		return found, nil
	}
}

func TestNoTotalOrder(t *testing.T) {
	t.Parallel()
	cursors := mustCursors(t, EphemeralKeyRing(), nil)
	value := func(int64) any { return nil }
	for name, columns := range map[string][]Column[int64]{
		"no unique column":   {{Name: "a", Expr: "a", Value: value}},
		"unique but NULLs":   {{Name: "a", Expr: "a", Unique: true, Nullable: true, Value: value}},
		"no expression":      {{Name: "a", Unique: true, Value: value}},
		"a placeholder":      {{Name: "a", Expr: "abs(a - ?)", Unique: true}},
		"an operator":        {{Name: "a", Expr: "a ? 'k'", Unique: true}},
		"a number":           {{Name: "a", Expr: "a - $1", Unique: true}},
		"too many arguments": {{Name: "a", Expr: "a", Args: []any{1}, Unique: true}},
		"a minus":            {{Name: "-a", Expr: "a", Unique: true, Value: value}},
		"the same one twice": {{Name: "a", Expr: "a", Unique: true, Value: value}, {Name: "a", Expr: "b", Value: value}},
	} {
		_, err := New("x", pagination.Standard, cursors, columns, nil)
		require.Error(t, err, name)
	}
	columns := []Column[int64]{
		{Name: "a", Expr: "a", Value: value},
		{Name: "b", Expr: "b", Value: value},
		{Name: "n", Expr: "n", Nullable: true, Value: value},
	}
	k, err := New("x", pagination.Standard, cursors, columns, &Options{TieBreak: []string{"a", "b"}})
	require.NoError(t, err)
	order, err := k.Order("-b,unknown")
	require.NoError(t, err)
	assert.Len(t, order.Keys(), 2)
	assert.Equal(t, "a", order.Keys()[1].Name)
	assert.True(t, order.Keys()[1].Desc, "the tie-break goes the way of the last key")
	for _, o := range []Options{
		{TieBreak: []string{"missing"}},
		{TieBreak: []string{"n"}},
		{TieBreak: []string{"a", "b"}, Ordering: "missing"},
		{TieBreak: []string{"a", "b"}, CursorParam: "x", SizeParam: "x"},
	} {
		_, err = New("x", pagination.Standard, cursors, columns, &o)
		require.Error(t, err, "%+v", o)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	type named int32
	type day time.Time
	n, noon := int64(4), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct{ in, want any }{
		{named(3), int64(3)},
		{&n, int64(4)},
		{(*int64)(nil), nil},
		{sql.NullInt64{}, nil},
		{sql.NullInt64{Int64: 5, Valid: true}, int64(5)},
		{sql.Null[int64]{V: 6, Valid: true}, int64(6)},
		{sql.Null[uint64]{V: 1 << 63, Valid: true}, uint64(1 << 63)},
		{sql.Null[uint64]{}, nil},
		{(*sql.NullInt64)(nil), nil},
		{uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{uint8(7), int64(7)},
		{[]byte("x"), []byte("x")},
		{[]byte(nil), nil},
		{[2]byte{1, 2}, []byte{1, 2}},
		{true, true},
		{float32(0.5), 0.5},
		{day(noon), noon},
	} {
		assert.Equal(t, tc.want, mustValue(t, tc.in).Any(), "%v", tc.in)
	}
	for _, in := range []any{struct{}{}, []string{"a"}, map[string]int{}, func() {}, complex(1, 2)} {
		_, err := NewValue(in)
		require.Error(t, err, "%T", in)
	}
}

// A value has one spelling, in whatever part of a statement it was read.
func TestZerosOfDecimals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"001.50": "1.50", "000.05": "0.05", "0": "0", "00": "0", "-1.50": "-1.50", "100": "100", "0.5": "0.5"} {
		v, err := form{dialect: MySQL, class: classDecimal, scale: 2}.value([]byte(text))
		require.NoError(t, err)
		assert.Equal(t, mustValue(t, want), v, text)
	}
}
