package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
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

var numberColumns = []Column[int]{
	{"number", strconv.Itoa},
	{"text", func(n int) string { return fmt.Sprintf("a,%d", n) }},
}

func TestCSV(t *testing.T) {
	t.Parallel()
	var progress []int64
	var out bytes.Buffer
	n, err := WriteCSV(&out, numberColumns, numbersUpTo(25, nil), &Options[int]{Every: 10, Progress: func(rows int64, last int) error {
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
	n, err = WriteCSV(&bytes.Buffer{}, numberColumns, numbersUpTo(25, nil), &Options[int]{Every: 10, Progress: func(int64, int) error { return stop }})
	require.ErrorIs(t, err, stop)
	assert.EqualValues(t, 10, n)
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
		rec, err = serve(numbersUpTo(10, lost), asCSV) // ten rows fit into the buffer
		require.ErrorIs(t, err, lost)
		require.NotErrorIs(t, err, ErrTruncated)
		assert.Zero(t, rec.Body.Len(), "the error can be answered")
		_, err = serve(numbersUpTo(1500, lost), asCSV)
		require.ErrorIs(t, err, lost)
		require.ErrorIs(t, err, ErrTruncated)
	}
}

func TestFormulas(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"=1+1": true, "@x": true, "+cmd|' /C calc'!A0": true, "-1.5": false, "+4": false, "-": true, "": false, "a=b": false,
		"\tx": true, "\n=1": true, "＝1+1": true, "＋1": true, "－1": true, "＠x": true, "é": false, "\ufeff=1": true, "\ufeff": false, "\ufeff-1": false,
	} {
		assert.Equal(t, want, formula(in), in)
	}
	text := func(s string) string { return s }
	write := func(opts *Options[string]) string {
		var out bytes.Buffer
		_, err := WriteCSV(&out, []Column[string]{{"=HYPERLINK(1)", text}}, func(yield func(string, error) bool) { yield("=1;", nil) }, opts)
		require.NoError(t, err)
		return out.String()
	}
	assert.Equal(t, "'=HYPERLINK(1)\r\n'=1;\r\n", write(nil))
	assert.Equal(t, "\ufeff=HYPERLINK(1)\r\n\"=1;\"\r\n", write(&Options[string]{Verbatim: true, BOM: true, Delimiter: ';'}))
	_, err := WriteCSV(&bytes.Buffer{}, []Column[string]{{"x", text}}, nil, &Options[string]{Delimiter: '"'})
	require.Error(t, err)
}

// records reads CSV as RFC 4180 has it, byte by byte. encoding/csv changes line breaks.
func records(t *testing.T, data string) (list [][]string) {
	t.Helper()
	var record []string
	for i := 0; i < len(data); {
		var cell strings.Builder
		if data[i] == '"' {
			for i++; ; i++ {
				require.Less(t, i, len(data), "an open quote")
				if data[i] == '"' {
					if i+1 < len(data) && data[i+1] == '"' {
						i++
					} else {
						break
					}
				}
				cell.WriteByte(data[i])
			}
			i++
		} else {
			for ; data[i] != ',' && data[i] != '\r'; i++ {
				require.NotContains(t, "\n\"", string(data[i]))
				cell.WriteByte(data[i])
			}
		}
		record = append(record, cell.String())
		if data[i] == ',' {
			i++
			continue
		}
		require.Equal(t, "\r\n", data[i:i+2])
		i += 2
		list, record = append(list, record), nil
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "\r", "\n", "\r\n", ",", "\"", "'", " ", "\t", "=", "é", "\u2028", "\x00", "＝", ";", "\\", "\ufeff"}
	random := make([]string, 10_000)
	for i := range random {
		for range rng.IntN(9) {
			random[i] += alphabet[rng.IntN(len(alphabet))]
		}
	}
	rows := func(yield func(string, error) bool) {
		for _, s := range random {
			if !yield(s, nil) {
				return
			}
		}
	}
	text := func(s string) string { return s }
	for _, columns := range [][]Column[string]{{{"a", text}}, {{"a", text}, {"b", text}}} {
		var out bytes.Buffer
		_, err := WriteCSV(&out, columns, rows, &Options[string]{Verbatim: true})
		require.NoError(t, err)
		read := records(t, out.String())[1:]
		require.Len(t, read, len(random))
		for i, record := range read {
			for _, cell := range record {
				require.Equal(t, random[i], cell)
			}
		}
	}
	var out bytes.Buffer
	_, err := WriteNDJSON(&out, rows, nil)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, len(random))
	for i, line := range lines {
		var s string
		require.NoError(t, json.Unmarshal([]byte(line), &s))
		require.Equal(t, random[i], s)
	}
}

// A handler that returns after an error must not make a file that looks whole.
func TestBrokenDownloadLooksBroken(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		err := ServeNDJSON(w, "", numbersUpTo(5000, errors.New("lost")), nil)
		assert.ErrorIs(t, err, ErrTruncated)
	})
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = http2
		server.StartTLS()
		res, err := server.Client().Get(server.URL)
		if err == nil { // or the connection was broken before the headers came
			assert.Equal(t, http2, res.ProtoMajor == 2)
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		require.Error(t, err, "HTTP/2: %t", http2)
		server.Close()
	}
}
