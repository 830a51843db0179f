package pagination

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzParse sends any query string. No answer may be an internal error, no size may
// exceed its maximum, and links must lead to the same list: the same parameters.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "page=2&page_size=25", "page=last", "page=%zz;&a;b=1", "page=9223372036854775808", "limit=-1&offset=1e9",
		"p%61ge=%2B2&page=\x00", "page_size=%F0%9F", "=&&=&flag", "limit=5&offset=1000", "page=1_0",
	} {
		f.Add(seed)
	}
	numbers := mustPageNumber(f, Preset{Size: 5, MaxSize: 20}, nil)
	strict := mustPageNumber(f, Preset{Size: 5, MaxSize: 20}, &PageNumberOptions{Strict: true})
	limits := mustLimitOffset(f, Preset{Size: 5, MaxSize: 20}, nil)
	list := items(100)
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "http://testserver/", nil)
		r.URL.RawQuery = query
		check := func(err error, size int, links ...Link) {
			t.Helper()
			if err != nil {
				rec := httptest.NewRecorder()
				WriteError(rec, err)
				require.Contains(t, []int{400, 404, 414}, rec.Code)
				return
			}
			require.LessOrEqual(t, size, 20)
			for _, l := range links {
				if l == "" {
					continue
				}
				u, err := url.Parse(string(l))
				require.NoError(t, err)
				require.Equal(t, "testserver", u.Host)
				parsed, err := url.ParseQuery(u.RawQuery)
				require.NoError(t, err, "a link that net/url does not read: %s", l)
				for _, p := range sortedPairs(query) {
					if p.name != "page" && p.name != "limit" && p.name != "offset" {
						require.Contains(t, parsed[p.name], p.value)
					}
				}
			}
		}
		page, err := Paginate(r, numbers, Lister[int](list))
		if err == nil {
			check(nil, len(page.Results), page.Next, page.Previous)
		} else {
			check(err, 0)
		}
		_, err = strict.Parse(r)
		check(err, 0)
		offset, err := PaginateOffset(r, limits, Lister[int](list))
		if err == nil {
			check(nil, len(offset.Results), offset.Next, offset.Previous)
		} else {
			check(err, 0)
		}
	})
}

// FuzzCursor tries to make a cursor: only those that the ring made are accepted.
func FuzzCursor(f *testing.F) {
	kinds := []Kind{KindTime, KindInt, KindText}
	signed := mustCursors(f, mustRing(f, CursorKey{ID: 1, Secret: secret(1)}), nil)
	sealed := mustCursors(f, mustRing(f, CursorKey{ID: 1, Secret: secret(1)}), &CursorsOptions{Encrypt: true})
	scope := NewScope("fuzz")
	real, err := signed.Encode(scope, Position{Values: []Value{
		mustValue(f, KindTime, time.Unix(1_800_000_000, 0)), mustValue(f, KindInt, 5), mustValue(f, KindText, "x"),
	}})
	require.NoError(f, err)
	other, err := signed.Encode(NewScope("other"), Position{Values: make([]Value, 3)})
	require.NoError(f, err)
	for _, seed := range []string{"", real, other, real[:20], "cD1hYmM=", strings.Repeat("A", 1024), real + "=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		_, err := signed.Decode(scope, kinds, cursor)
		if err == nil {
			require.Equal(t, real, cursor, "a forgery was accepted")
		} else {
			require.ErrorIs(t, err, ErrInvalidCursor)
		}
		_, err = sealed.Decode(scope, kinds, cursor)
		require.ErrorIs(t, err, ErrInvalidCursor)
		// What is inside is read without a panic, whoever wrote it.
		r := reader{b: []byte(cursor), ok: true}
		for kind := KindInt; kind <= KindUUID; kind++ {
			r.value(kind).Any()
		}
	})
}

// FuzzBuilder walks a table of SQLite in a random order and compares it with the
// database's own sorting.
func FuzzBuilder(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, seed*31)
	}
	db := openSQLite(f)
	createWalkTable(f, db, SQLite)
	cursors := mustCursors(f, EphemeralKeyRing(), nil)
	f.Fuzz(func(t *testing.T, a, b uint64) {
		dialect := SQLite
		if a%3 == 0 {
			dialect = Generic
		}
		walk(t, rand.New(rand.NewPCG(a, b)), db, dialect, SQLite, cursors)
	})
}
