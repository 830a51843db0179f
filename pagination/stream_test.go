package pagination

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbersUpTo yields 1..n and then the error, if there is one.
func numbersUpTo(n int, err error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i+1, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

var numberColumns = []CSVColumn[int]{
	{"number", strconv.Itoa},
	{"text", func(n int) string { return fmt.Sprintf("a,%d", n) }},
}

func TestCSV(t *testing.T) {
	t.Parallel()
	var progress []int64
	var out bytes.Buffer
	n, err := WriteCSV(&out, numberColumns, numbersUpTo(25, nil), &StreamOptions[int]{Every: 10, Progress: func(rows int64, last int) error {
		assert.EqualValues(t, rows, last)
		read, err := csv.NewReader(bytes.NewReader(out.Bytes())).ReadAll()
		require.NoError(t, err)
		assert.Len(t, read, last+1, "what is reported was flushed")
		progress = append(progress, rows)
		return nil
	}})
	require.NoError(t, err)
	assert.EqualValues(t, 25, n)
	assert.Equal(t, []int64{10, 20, 25}, progress)
	assert.True(t, strings.HasPrefix(out.String(), "number,text\r\n1,"))

	stop := errors.New("stop")
	n, err = WriteCSV(&bytes.Buffer{}, numberColumns, numbersUpTo(25, nil), &StreamOptions[int]{Every: 10, Progress: func(int64, int) error { return stop }})
	require.ErrorIs(t, err, stop)
	assert.EqualValues(t, 10, n)
}

func TestCSVFormulas(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"=1+1": "'=1+1", "@x": "'@x", "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0", "-1.5": "-1.5", "+4": "+4", "-": "'-", "": "", "a=b": "a=b", "\tx": "'\tx", "\n=1": "'\n=1",
	} {
		assert.Equal(t, want, disarm(in))
	}
	var out bytes.Buffer
	_, err := WriteCSV(&out, []CSVColumn[string]{{"x", func(s string) string { return s }}}, func(yield func(string, error) bool) {
		yield("=1", nil)
	}, &StreamOptions[string]{Verbatim: true})
	require.NoError(t, err)
	assert.Equal(t, "x\r\n=1\r\n", out.String())
}

func TestServeDownloads(t *testing.T) {
	t.Parallel()
	serve := func(rows iter.Seq2[int, error], asCSV bool) (*httptest.ResponseRecorder, error) {
		rec := httptest.NewRecorder()
		if asCSV {
			return rec, ServeCSV(rec, "ümlaut.csv", numberColumns, rows, nil)
		}
		return rec, ServeNDJSON(rec, "", rows, nil)
	}
	rec, err := serve(numbersUpTo(2, nil), true)
	require.NoError(t, err)
	assert.Equal(t, "text/csv; charset=utf-8; header=present", rec.Header().Get("Content-Type"))
	assert.Equal(t, "attachment; filename*=utf-8''%C3%BCmlaut.csv", rec.Header().Get("Content-Disposition"))
	rec, err = serve(numbersUpTo(2, nil), false)
	require.NoError(t, err)
	assert.Equal(t, "1\n2\n", rec.Body.String())
	rec, err = serve(numbersUpTo(0, nil), false)
	require.NoError(t, err)
	assert.Equal(t, "application/x-ndjson", rec.Header().Get("Content-Type"))
	rec, err = serve(numbersUpTo(0, nil), true)
	require.NoError(t, err)
	assert.Equal(t, "number,text\r\n", rec.Body.String())

	lost := errors.New("connection lost")
	for _, asCSV := range []bool{true, false} {
		rec, err = serve(numbersUpTo(0, lost), asCSV)
		require.ErrorIs(t, err, lost)
		require.NotErrorIs(t, err, ErrTruncated)
		assert.Zero(t, rec.Body.Len(), "the error can be answered")
		assert.Empty(t, rec.Header())
		_, err = serve(numbersUpTo(1500, lost), asCSV)
		require.ErrorIs(t, err, lost)
		require.ErrorIs(t, err, ErrTruncated)
	}
}

// TestBrokenDownloadLooksBroken proves the promise of ErrTruncated over a connection.
func TestBrokenDownloadLooksBroken(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := ServeNDJSON(w, "", numbersUpTo(5000, errors.New("lost")), nil); errors.Is(err, ErrTruncated) {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = new(bytes.Buffer).ReadFrom(res.Body)
	require.Error(t, err)
}

// TestExportMemory reads a long list and sees that memory does not grow with it.
func TestExportMemory(t *testing.T) {
	k, err := NewKeyset("rows", Preset{Size: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Kind: KindInt, Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	const total = 2_000_000
	source := SeekerFunc[int64](func(_ context.Context, q Seek) ([]int64, error) {
		var from int64
		if len(q.After) > 0 {
			from = q.After[0].Any().(int64)
		}
		rows := make([]int64, 0, q.Limit)
		for n := from + 1; n <= total && len(rows) < q.Limit; n++ {
			rows = append(rows, n)
		}
		return rows, nil
	})
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	written, err := WriteNDJSON(discard{}, k.All(t.Context(), source, nil), &StreamOptions[int64]{Every: total / 4, Progress: func(int64, int64) error {
		runtime.GC()
		runtime.ReadMemStats(&now)
		assert.Less(t, int64(now.HeapAlloc)-int64(before.HeapAlloc), int64(8<<20))
		return nil
	}})
	require.NoError(t, err)
	assert.EqualValues(t, total, written)
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func TestRelayConnection(t *testing.T) {
	t.Parallel()
	rows := []int64{1, 2, 3, 4, 5, 6, 7}
	source := memorySeek(&rows)
	k, err := NewKeyset("rows", Preset{Size: 3, MaxSize: 5}, mustCursors(t, EphemeralKeyRing(), nil), []Column[int64]{
		{Name: "id", Expr: "id", Kind: KindInt, Unique: true, Value: func(n int64) any { return n }},
	}, nil)
	require.NoError(t, err)
	number := func(n int) *int { return &n }
	nodes := func(c *Connection[int64]) (list []int64) {
		for _, e := range c.Edges {
			list = append(list, e.Node)
		}
		return list
	}
	first, err := k.Connection(t.Context(), source, ConnectionArgs{First: number(3)})
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3}, nodes(first))
	assert.True(t, first.PageInfo.HasNextPage)
	assert.False(t, first.PageInfo.HasPreviousPage)
	assert.Equal(t, first.Edges[2].Cursor, *first.PageInfo.EndCursor)

	second, err := k.Connection(t.Context(), source, ConnectionArgs{First: number(9), After: *first.PageInfo.EndCursor})
	require.NoError(t, err)
	assert.Equal(t, []int64{4, 5, 6, 7}, nodes(second))
	assert.False(t, second.PageInfo.HasNextPage)
	assert.True(t, second.PageInfo.HasPreviousPage)

	last, err := k.Connection(t.Context(), source, ConnectionArgs{Last: number(2)})
	require.NoError(t, err)
	assert.Equal(t, []int64{6, 7}, nodes(last), "the order does not flip")
	assert.True(t, last.PageInfo.HasPreviousPage)
	back, err := k.Connection(t.Context(), source, ConnectionArgs{Last: number(9), Before: *last.PageInfo.StartCursor})
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3, 4, 5}, nodes(back))
	assert.False(t, back.PageInfo.HasPreviousPage)
	assert.True(t, back.PageInfo.HasNextPage)

	none, err := k.Connection(t.Context(), source, ConnectionArgs{First: number(0)})
	require.NoError(t, err)
	assert.Empty(t, none.Edges)
	assert.True(t, none.PageInfo.HasNextPage)
	assert.Nil(t, none.PageInfo.StartCursor)
	data, err := encodeJSON(none)
	require.NoError(t, err)
	assert.JSONEq(t, `{"edges":[],"pageInfo":{"hasNextPage":true,"hasPreviousPage":false,"startCursor":null,"endCursor":null}}`, string(data))

	for _, args := range []ConnectionArgs{
		{First: number(-1)},
		{Last: number(-1)},
		{First: number(1), Last: number(1)},
		{First: number(1), Before: "x"},
		{After: "x"},
		{Before: "x"},
		{After: *first.PageInfo.EndCursor, Scope: "another tenant"},
		{After: *first.PageInfo.EndCursor, Ordering: "-id"},
	} {
		_, err := k.Connection(t.Context(), source, args)
		var refused *RequestError
		require.ErrorAs(t, err, &refused, "%+v", args)
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	type parent struct {
		id       int
		children []string
	}
	parents := make([]parent, 2500)
	for i := range parents {
		parents[i].id = i / 2
	}
	var calls []int
	err := Attach(
		t.Context(), parents,
		func(p parent) (int, bool) { return p.id, p.id != 7 },
		func(_ context.Context, ids []int) (map[int][]string, error) {
			calls = append(calls, len(ids))
			return GroupBy([]string{"0", "7", "42", "42"}, func(s string) int { n, _ := strconv.Atoi(s); return n }), nil
		},
		func(p *parent, children []string) { p.children = children },
	)
	require.NoError(t, err)
	assert.Equal(t, []int{1000, 249}, calls)
	assert.Equal(t, []string{"42", "42"}, parents[85].children)
	assert.Nil(t, parents[14].children, "a row without a key gets nothing")
	assert.Nil(t, parents[9].children)

	fail := errors.New("lost")
	require.ErrorIs(t, Attach(t.Context(), parents, func(p parent) (int, bool) { return p.id, true },
		func(context.Context, []int) (map[int]int, error) { return nil, fail }, func(*parent, int) {}), fail)
	require.NoError(t, Attach(t.Context(), parents, func(parent) (int, bool) { return 0, false },
		func(context.Context, []int) (map[int]int, error) { return nil, fail }, func(*parent, int) {}))

	assert.Equal(t, Fragment{SQL: "(?, ?)", Args: []any{1, 2}}, In([]int{1, 2}))
	assert.Equal(t, "(NULL)", In([]int{}).SQL)
}
