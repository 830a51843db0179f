package export

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"net/http"
)

// WriteNDJSON writes rows as JSON, one a line, holds no more than a buffer in memory, and
// returns the number of rows. It stops as [WriteCSV] does. JSON has no bytes that are not
// UTF-8: encoding/json replaces them. opts may be nil.
func WriteNDJSON[T any](w io.Writer, rows iter.Seq2[T, error], opts *Options[T]) (int64, error) {
	var o Options[T]
	if opts != nil {
		o = *opts
	}
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return stream(w, rows, o, func(row T) error { return enc.Encode(row) }, out.Flush)
}

// ServeNDJSON writes rows as newline-delimited JSON. The filename "" serves it inline. The
// errors are those of [ServeCSV].
func ServeNDJSON[T any](w http.ResponseWriter, filename string, rows iter.Seq2[T, error], opts *Options[T]) error {
	lazy := &lazyResponse{w: w, contentType: "application/x-ndjson", filename: filename}
	_, err := WriteNDJSON(lazy, rows, opts)
	return lazy.end(err)
}
