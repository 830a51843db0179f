package pagination

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

func mustValue(t testing.TB, kind Kind, v any) Value {
	t.Helper()
	value, err := NewValue(kind, v)
	require.NoError(t, err)
	return value
}

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	var kinds []Kind
	var values []Value
	add := func(kind Kind, list ...any) {
		for _, v := range list {
			kinds = append(kinds, kind)
			values = append(values, mustValue(t, kind, v))
		}
	}
	add(KindInt, 0, int64(math.MinInt64), int64(math.MaxInt64), nil, int8(-3))
	add(KindUint, uint64(math.MaxUint64), 7)
	add(KindFloat, math.Pi, math.Inf(-1), math.NaN(), float32(0.1))
	add(KindBool, true, false)
	add(KindText, "", "é\x00", nil)
	add(KindBytes, []byte{0, 1, 255})
	add(KindDecimal, "12345678901234567890.000000000000000001")
	add(KindUUID, "01234567-89ab-cdef-0123-456789abcdef", [16]byte{1, 2, 3})
	add(
		KindTime, time.Date(2026, 11, 23, 17, 0, 0, 123456000, time.UTC), time.Date(2026, 11, 23, 17, 0, 0, 123456789, time.FixedZone("", 7200)),
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
			got, err := c.Decode(NewScope("x"), kinds, cursor)
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
		cursor, err := c.Encode(NewScope("x"), Position{Values: []Value{mustValue(t, KindTime, tc.at), mustValue(t, KindInt, tc.id)}})
		require.NoError(t, err)
		assert.LessOrEqual(t, len(cursor), 44, "%v %d", tc.at, tc.id)
	}
	_, err := c.Encode(NewScope("x"), Position{Values: []Value{mustValue(t, KindText, strings.Repeat("x", 800))}})
	require.ErrorContains(t, err, "shorter key")
	_, err = c.Encode(NewScope("x"), Position{Values: make([]Value, 65)})
	require.Error(t, err)
}

func TestCursorRefusals(t *testing.T) {
	t.Parallel()
	kinds := []Kind{KindTime, KindInt}
	at := Position{Values: []Value{mustValue(t, KindTime, time.Now()), mustValue(t, KindInt, 5)}}
	scope := NewScope("sales", "-created", "f=1", "tenant 1")
	for _, encrypt := range []bool{false, true} {
		c := mustCursors(t, mustRing(t, CursorKey{ID: 1, Secret: secret(1)}), &CursorsOptions{Encrypt: encrypt})
		good, err := c.Encode(scope, at)
		require.NoError(t, err)
		_, err = c.Decode(scope, kinds, good)
		require.NoError(t, err)

		bad := map[string]string{
			"empty": "", "text": "123", "not base64": "!!!", "padded": good + "=", "longer": good + "A",
			"newline": good[:4] + "\n" + good[4:], "huge": strings.Repeat("A", 1025), "huge valid": strings.Repeat("AAAA", 256),
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
			_, err := c.Decode(scope, kinds, cursor)
			require.ErrorIs(t, err, ErrInvalidCursor, name)
		}
		for _, foreign := range []Scope{
			NewScope("sales", "-created", "f=1", "tenant 2"), NewScope("sales", "-created", "f=2", "tenant 1"),
			NewScope("sales", "created", "f=1", "tenant 1"), NewScope("orders", "-created", "f=1", "tenant 1"),
			NewScope("sales-created", "", "f=1", "tenant 1"),
			{},
		} {
			_, err := c.Decode(foreign, kinds, good)
			require.ErrorIs(t, err, ErrInvalidCursor)
		}
		// Values of other kinds, should a caller's scope not cover them.
		for _, other := range [][]Kind{{KindInt}, {KindText, KindInt}, {KindTime, KindInt, KindInt}, {KindUUID, KindBool}, nil} {
			_, err := c.Decode(scope, other, good)
			require.ErrorIs(t, err, ErrInvalidCursor, "%v", other)
		}
		// A cursor of the other protection is no cursor.
		_, err = mustCursors(t, c.ring, &CursorsOptions{Encrypt: !encrypt}).Decode(scope, kinds, good)
		require.ErrorIs(t, err, ErrInvalidCursor)
		_, err = mustCursors(t, mustRing(t, CursorKey{ID: 1, Secret: secret(2)}), &CursorsOptions{Encrypt: encrypt}).Decode(scope, kinds, good)
		require.ErrorIs(t, err, ErrInvalidCursor, "another secret under the same ID")
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	old, next := CursorKey{ID: 1, Secret: secret(1)}, CursorKey{ID: 2, Secret: secret(2)}
	at := Position{Values: []Value{mustValue(t, KindInt, 5)}}
	for _, encrypt := range []bool{false, true} {
		opts := &CursorsOptions{Encrypt: encrypt}
		cursor, err := mustCursors(t, mustRing(t, old), opts).Encode(NewScope("x"), at)
		require.NoError(t, err)
		_, err = mustCursors(t, mustRing(t, next, old), opts).Decode(NewScope("x"), []Kind{KindInt}, cursor)
		require.NoError(t, err)
		_, err = mustCursors(t, mustRing(t, next), opts).Decode(NewScope("x"), []Kind{KindInt}, cursor)
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
	at := Position{Values: []Value{mustValue(t, KindInt, 5)}}
	kinds, scope, now := []Kind{KindInt}, NewScope("x"), time.Unix(1_800_000_000, 0)
	c := mustCursors(t, EphemeralKeyRing(), &CursorsOptions{TTL: time.Hour})
	cursor, err := c.encode(&scope, at, func() time.Time { return now })
	require.NoError(t, err)
	for after, want := range map[time.Duration]string{0: "", time.Hour: "", time.Hour * 17 / 16: "", time.Hour*17/16 + 2*time.Second: "expired"} {
		_, reason := c.decode(&scope, kinds, cursor, func() time.Time { return now.Add(after) })
		assert.Equal(t, want, reason, after)
	}
	again, err := c.encode(&scope, at, func() time.Time { return now.Add(10 * time.Second) })
	require.NoError(t, err)
	assert.Equal(t, cursor, again, "equal pages keep their ETag for a while")

	sealed := mustCursors(t, EphemeralKeyRing(), &CursorsOptions{Encrypt: true})
	assert.Equal(t, 72*time.Hour, sealed.ttl)
	hidden, err := sealed.Encode(scope, Position{Values: []Value{mustValue(t, KindText, "the hidden name")}})
	require.NoError(t, err)
	raw, err := base64.RawURLEncoding.DecodeString(hidden)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "hidden")
}

// TestKeysetRequests sends cursors where they do not belong, over HTTP.
func TestKeysetRequests(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	createSalesTable(t, db, SQLite)
	source := salesSource(db, SQLite)
	cursors := mustCursors(t, EphemeralKeyRing(), nil)
	columns := []Column[sale]{
		{Name: "id", Expr: "id", Kind: KindInt, Unique: true, Value: func(s sale) any { return s.ID }},
		{Name: "created_at", Expr: "created_at", Kind: KindInt, Value: func(s sale) any { return s.Created }},
	}
	tenant := "1"
	newKeyset := func(resource string, strict bool) *Keyset[sale] {
		k, err := NewKeyset(resource, Preset{Size: 5, MaxSize: 20}, cursors, columns, &KeysetOptions{
			Ordering: "-created_at", Strict: strict, Scope: func(*http.Request) string { return tenant },
			Links: &Links{Headers: true},
		})
		require.NoError(t, err)
		return k
	}
	k := newKeyset("sales", false)
	get := func(k *Keyset[sale], url string) (*httptest.ResponseRecorder, *KeysetPage[sale]) {
		rec := httptest.NewRecorder()
		page, err := k.Paginate(request(url), source)
		if err != nil {
			WriteError(rec, err)
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

// TestPastEveryRow deletes the rows behind a cursor, and before one.
func TestPastEveryRow(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	source := memorySeek(&rows)
	k, err := NewKeyset("rows", Preset{Size: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Kind: KindInt, Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	get := func(url Link) *KeysetPage[int64] {
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
	value := func(sale) any { return nil }
	for name, columns := range map[string][]Column[sale]{
		"no unique column":   {{Name: "a", Expr: "a", Kind: KindInt, Value: value}},
		"unique but NULLs":   {{Name: "a", Expr: "a", Kind: KindInt, Unique: true, Nullable: true, Value: value}},
		"no expression":      {{Name: "a", Kind: KindInt, Unique: true, Value: value}},
		"no kind":            {{Name: "a", Expr: "a", Unique: true, Value: value}},
		"no value":           {{Name: "a", Expr: "a", Kind: KindInt, Unique: true}},
		"a minus":            {{Name: "-a", Expr: "a", Kind: KindInt, Unique: true, Value: value}},
		"the same one twice": {{Name: "a", Expr: "a", Kind: KindInt, Unique: true, Value: value}, {Name: "a", Expr: "b", Kind: KindInt, Value: value}},
	} {
		_, err := NewKeyset("x", Standard, cursors, columns, nil)
		require.Error(t, err, name)
	}
	columns := []Column[sale]{
		{Name: "a", Expr: "a", Kind: KindInt, Value: value},
		{Name: "b", Expr: "b", Kind: KindInt, Value: value},
		{Name: "n", Expr: "n", Kind: KindInt, Nullable: true, Value: value},
	}
	k, err := NewKeyset("x", Standard, cursors, columns, &KeysetOptions{TieBreak: []string{"a", "b"}})
	require.NoError(t, err)
	order, err := k.Order("-b,unknown")
	require.NoError(t, err)
	assert.Len(t, order.Keys(), 2)
	assert.Equal(t, "a", order.Keys()[1].Name)
	assert.True(t, order.Keys()[1].Desc, "the tie-break goes the way of the last key")
	for _, o := range []KeysetOptions{
		{TieBreak: []string{"missing"}},
		{TieBreak: []string{"n"}},
		{TieBreak: []string{"a", "b"}, Ordering: "missing"},
		{TieBreak: []string{"a", "b"}, CursorParam: "x", SizeParam: "x"},
	} {
		_, err = NewKeyset("x", Standard, cursors, columns, &o)
		require.Error(t, err, "%+v", o)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	type named int32
	n := int64(4)
	for _, tc := range []struct {
		kind Kind
		in   any
		want any
	}{
		{KindInt, named(3), int64(3)},
		{KindInt, &n, int64(4)},
		{KindInt, (*int64)(nil), nil},
		{KindInt, sql.NullInt64{}, nil},
		{KindInt, sql.NullInt64{Int64: 5, Valid: true}, int64(5)},
		{KindInt, sql.Null[int64]{V: 6, Valid: true}, int64(6)},
		{KindInt, (*sql.NullInt64)(nil), nil},
		{KindUint, uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{KindText, []byte("x"), "x"},
		{KindBool, 1, true},
		{KindUUID, []byte("0123456789abcdef"), "30313233-3435-3637-3839-616263646566"},
	} {
		assert.Equal(t, tc.want, mustValue(t, tc.kind, tc.in).Any(), "%v %v", tc.kind, tc.in)
	}
	for _, tc := range []struct {
		kind Kind
		in   any
	}{
		{KindInt, "3"},
		{KindInt, uint64(math.MaxUint64)},
		{KindInt, 3.0},
		{KindUint, -1},
		{KindTime, "2026"},
		{KindTime, 5},
		{KindUUID, "no"},
		{KindBool, 2},
		{KindText, 5},
		{KindInt, struct{}{}},
		{KindFloat, 1},
	} {
		_, err := NewValue(tc.kind, tc.in)
		require.Error(t, err, "%v %v", tc.kind, tc.in)
	}
}
