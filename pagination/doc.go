// Package pagination pages lists by page number and by limit and offset, with the rules of
// Django REST Framework.
//
//   - [PageNumber] with the presets [Standard], [Large], [Small] and [Report]:
//     ?page= and ?page_size=, a total, links to the neighbours.
//   - [LimitOffset]: ?limit= and ?offset=.
//   - [Read] and [ReadOffset]: pages without HTTP.
//
// Package keyset pages long lists, and lists that change during the reading, by signed
// cursors. Package export writes whole lists as CSV or NDJSON.
//
// The package imports no database. A list is anything that implements [Lister].
//
// # What a client may send
//
// Bad paging parameters never reach the database. The rules are those of Django REST
// Framework: an invalid page size falls back to the default, a size that is too large is
// reduced to the maximum, and a page that does not exist is a 404. With Strict set, each of
// these is a 400 with a problem document (RFC 9457).
//
// # Deviations from Django REST Framework
//
// Digits grouped by underscores (1_0) and digits outside ASCII are not accepted as numbers.
// An offset past the end links back to the last full page. Links have the escapes of the
// path as the client sent them, such as %2F.
package pagination
