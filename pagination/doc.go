// Package pagination pages lists: by page number and by limit and offset with the
// rules of Django REST Framework, and by keyset with signed cursors for lists that
// are long, that change while they are read, or that are exported whole.
//
//   - [PageNumber] with the presets [Standard], [Large], [Small] and [Report]:
//     ?page= and ?page_size=, a total, links to the neighbours.
//   - [LimitOffset]: ?limit= and ?offset=.
//   - [Keyset]: ?cursor=, as fast on page 10,000 as on page 1, correct with NULLs,
//     ties and mixed directions, forwards and backwards.
//
// The package imports no database. A list is anything that implements [Lister]
// (page numbers, offsets) or [Seeker] (keysets); [SQLSource] implements both over
// the one method of *sql.DB, *sql.Tx and *sql.Conn that they need.
//
// # What a client may send
//
// Bad paging parameters never reach the database. As in Django REST Framework, a
// page size that makes no sense falls back to the default, one that is too large is
// cut to the maximum, and a page that does not exist answers 404. With Strict set,
// each of these answers 400 with a problem document (RFC 9457) instead. A cursor that
// was forged, cut, expired or made for another list, order, filter or tenant
// is one error, [ErrInvalidCursor]: it never means page 1 and never an internal error.
//
// # Deviations from Django REST Framework
//
// Digits grouped by underscores (1_0) and digits outside ASCII are no numbers here. An
// offset past the end links back to the last full page. Cursors name a position by its
// key values and not by an offset among equals, so pages read backwards equal the pages
// read forwards.
package pagination
