// Package export writes long lists as CSV or as newline-delimited JSON, to a writer or as
// the response of a request, with one buffer of memory.
//
// The rows come from any iter.Seq2, such as the All method of a keyset:
//
//	err := export.ServeCSV(w, "sales.csv", columns, sales.All(r.Context(), source, nil), nil)
//
// The bytes of a cell arrive as they are, line breaks included. By default, text that a
// spreadsheet would run as a formula gets an apostrophe before it, in headers too.
package export
