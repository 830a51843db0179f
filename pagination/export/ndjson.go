package export

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"net/http"
)

// WriteNDJSON writes rows as JSON, one per line, and returns the number of rows. It holds
// at most one buffer in memory. It stops as [WriteCSV] does. JSON must be UTF-8:
// encoding/json replaces other bytes. opts may be nil.
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
