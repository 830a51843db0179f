// Package export writes long lists as CSV or as newline-delimited JSON, to a writer or as
// an HTTP response, with one buffer of memory.
//
// The rows come from any iter.Seq2, such as the All method of a keyset:
//
//	err := export.ServeCSV(w, "sales.csv", columns, sales.All(r.Context(), source, nil), nil)
//
// The bytes of a cell are written unchanged, including line breaks. By default, text that a
// spreadsheet would run as a formula gets an apostrophe before it, also in headers.
package export
