package export

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Column is a column of a CSV file.
type Column[T any] struct {
	Header string         // in the first line
	Value  func(T) string // the field of one row; WriteCSV quotes it
}

// WriteCSV writes rows as CSV (RFC 4180) with a header line and returns the number of rows.
// It holds at most one buffer in memory. It stops at the first error of the rows, of w or
// of Progress, and flushes the rows before the error. opts may be nil.
func WriteCSV[T any](w io.Writer, columns []Column[T], rows iter.Seq2[T, error], opts *Options[T]) (int64, error) {
	var o Options[T]
	if opts != nil {
		o = *opts
	}
	o.Delimiter = cmp.Or(o.Delimiter, ',')
	if strings.ContainsRune("\"\r\n", o.Delimiter) || !utf8.ValidRune(o.Delimiter) {
		return 0, errors.New("export: the delimiter must not be a quote or a line break")
	}
	if len(columns) == 0 {
		return 0, errors.New("export: a CSV file needs a column")
	}
	out := &csvWriter{Writer: bufio.NewWriterSize(w, 64<<10), delimiter: string(o.Delimiter), verbatim: o.Verbatim, alone: len(columns) == 1}
	if o.BOM {
		out.WriteString("\ufeff")
	}
	for i, c := range columns {
		out.cell(i, c.Header)
	}
	out.WriteString("\r\n")
	return stream(w, rows, o, func(row T) error {
		for i, c := range columns {
			out.cell(i, c.Value(row))
		}
		_, err := out.WriteString("\r\n")
		return err
	}, out.Flush)
}

// csvWriter writes the cells. bufio.Writer keeps its first error, so the last write of a
// record reports an error of any earlier write.
type csvWriter struct {
	*bufio.Writer
	delimiter string
	verbatim  bool
	alone     bool // the file has one column, and an empty cell would be an empty line
}

func (w *csvWriter) cell(i int, cell string) {
	if i > 0 {
		w.WriteString(w.delimiter)
	}
	if !w.verbatim && formula(cell) {
		cell = "'" + cell
	}
	if cell == "" && w.alone || strings.ContainsAny(cell, "\"\r\n") || strings.Contains(cell, w.delimiter) || strings.HasPrefix(cell, " ") {
		w.WriteByte('"')
		for {
			before, after, found := strings.Cut(cell, `"`)
			w.WriteString(before)
			if !found {
				break
			}
			w.WriteString(`""`)
			cell = after
		}
		w.WriteByte('"')
		return
	}
	w.WriteString(cell)
}

// formula reports whether a spreadsheet would run a cell. Such a cell is not a number, and
// begins with a tab, a line break, or a formula sign in its common or full-width form. A byte
// order mark at the beginning of a file is no part of the first cell.
func formula(cell string) bool {
	cell = strings.TrimPrefix(cell, "\ufeff")
	switch first, _ := utf8.DecodeRuneInString(cell); first {
	case '=', '@', '\t', '\r', '\n', '＝', '＠', '＋', '－':
		return cell != ""
	case '+', '-':
		_, err := strconv.ParseFloat(cell, 64)
		return err != nil
	}
	return false
}

// ServeCSV writes rows as a CSV file for download under a name. If an error occurs before
// any output is sent, the response is untouched and pagination.WriteError can write it. A
// later error wraps [ErrTruncated].
func ServeCSV[T any](w http.ResponseWriter, filename string, columns []Column[T], rows iter.Seq2[T, error], opts *Options[T]) error {
	lazy := &lazyResponse{w: w, contentType: "text/csv; charset=utf-8; header=present", filename: filename}
	_, err := WriteCSV(lazy, columns, rows, opts)
	return lazy.end(err)
}
