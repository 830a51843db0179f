package pagination

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"
)

// ErrTruncated reports a download that failed after its first bytes were sent. The
// handler must end with panic(http.ErrAbortHandler), so that the client sees a broken
// transfer and not a file that looks whole.
var ErrTruncated = errors.New("pagination: the download was cut off")

// StreamOptions are the options of the streaming functions.
type StreamOptions[T any] struct {
	// Every is the number of rows after which what was written is flushed and Progress is
	// called. Default: 1,000.
	Every int
	// Progress is told of the rows written and flushed so far, and the last of them, whose
	// [Keyset.Cursor] continues there. It is called once more at the end if rows came since.
	// An error from it stops the stream. Default: nil.
	Progress func(rows int64, last T) error
	// Verbatim leaves CSV cells as they are. Otherwise text that a spreadsheet would run as
	// a formula (it begins with = + - @, a tab or a line break, and is no number)
	// gets an apostrophe before it. Default: false.
	Verbatim bool
}

// CSVColumn is a column of a CSV file.
type CSVColumn[T any] struct {
	Header string
	Value  func(T) string
}

// WriteCSV writes rows as CSV (RFC 4180) with a header line, holding no more than a
// buffer in memory, and returns the number of rows. It stops at the first error of the
// rows, of w or of Progress; the rows before it are flushed.
func WriteCSV[T any](w io.Writer, columns []CSVColumn[T], rows iter.Seq2[T, error], opts *StreamOptions[T]) (int64, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	enc := csv.NewWriter(out)
	enc.UseCRLF = true
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.Header
	}
	verbatim := opts != nil && opts.Verbatim
	if err := enc.Write(record); err != nil {
		return 0, err
	}
	return stream(w, rows, opts, func(row T) error {
		for i, c := range columns {
			record[i] = c.Value(row)
			if !verbatim {
				record[i] = disarm(record[i])
			}
		}
		return enc.Write(record)
	}, func() error {
		enc.Flush()
		return errors.Join(enc.Error(), out.Flush())
	})
}

// disarm puts an apostrophe before what a spreadsheet would take for a formula.
func disarm(cell string) string {
	if cell == "" {
		return cell
	}
	switch cell[0] {
	case '=', '@', '\t', '\r', '\n':
		return "'" + cell
	case '+', '-':
		if _, err := strconv.ParseFloat(cell, 64); err != nil {
			return "'" + cell
		}
	}
	return cell
}

// WriteNDJSON writes rows as JSON, one a line, holding no more than a buffer in memory,
// and returns the number of rows. It stops as [WriteCSV] does.
func WriteNDJSON[T any](w io.Writer, rows iter.Seq2[T, error], opts *StreamOptions[T]) (int64, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return stream(w, rows, opts, func(row T) error { return enc.Encode(row) }, out.Flush)
}

// ServeCSV answers a request with a CSV file of that name, as [WriteCSV] writes it. An
// error before the first byte leaves the response untouched, to be answered by
// [WriteError]; a later one wraps [ErrTruncated].
func ServeCSV[T any](w http.ResponseWriter, filename string, columns []CSVColumn[T], rows iter.Seq2[T, error], opts *StreamOptions[T]) error {
	lazy := &lazyResponse{w: w, contentType: "text/csv; charset=utf-8; header=present", filename: filename}
	_, err := WriteCSV(lazy, columns, rows, opts)
	return lazy.end(err)
}

// ServeNDJSON answers a request with newline-delimited JSON; filename "" serves it
// inline. Errors are those of [ServeCSV].
func ServeNDJSON[T any](w http.ResponseWriter, filename string, rows iter.Seq2[T, error], opts *StreamOptions[T]) error {
	lazy := &lazyResponse{w: w, contentType: "application/x-ndjson", filename: filename}
	_, err := WriteNDJSON(lazy, rows, opts)
	return lazy.end(err)
}

func stream[T any](w io.Writer, rows iter.Seq2[T, error], opts *StreamOptions[T], write func(T) error, flush func() error) (int64, error) {
	var o StreamOptions[T]
	if opts != nil {
		o = *opts
	}
	if o.Every < 1 {
		o.Every = 1000
	}
	var n, reported int64
	var last T
	report := func() error {
		if err := flush(); err != nil {
			return err
		}
		if f, ok := w.(interface{ flushHTTP() }); ok {
			f.flushHTTP()
		}
		reported = n
		if o.Progress == nil {
			return nil
		}
		return o.Progress(n, last)
	}
	for row, err := range rows {
		if err == nil {
			err = write(row)
		}
		if err != nil {
			if n == 0 {
				return 0, err // the header line is not sent either
			}
			return n, errors.Join(err, flush())
		}
		n, last = n+1, row
		if n%int64(o.Every) == 0 {
			if err := report(); err != nil {
				return n, err
			}
		}
	}
	if n > reported {
		return n, report()
	}
	return n, flush()
}

// lazyResponse sends its headers with the first byte.
type lazyResponse struct {
	w                     http.ResponseWriter
	contentType, filename string
	begun                 bool
}

func (l *lazyResponse) begin() {
	if l.begun {
		return
	}
	l.begun = true
	l.w.Header().Set("Content-Type", l.contentType)
	l.w.Header().Set("X-Content-Type-Options", "nosniff")
	if l.filename != "" {
		l.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": l.filename}))
	}
}

func (l *lazyResponse) Write(b []byte) (int, error) {
	l.begin()
	return l.w.Write(b)
}

func (l *lazyResponse) flushHTTP() {
	// A writer that cannot flush sends when it likes.
	_ = http.NewResponseController(l.w).Flush()
}

// end answers an empty list too.
func (l *lazyResponse) end(err error) error {
	if err == nil {
		l.begin()
		return nil
	}
	if l.begun {
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return err
}
