// Package keyset pages lists by position: each page begins behind the last row of the page
// before. A page costs the same at any depth. Inserts and deletes elsewhere do not shift
// its rows. NULLs, ties, mixed directions and walks backwards are supported.
//
//   - [Keyset] serves pages over HTTP, for gRPC and jobs ([Keyset.Page]), and for GraphQL
//     ([Keyset.Connection]). [Keyset.All] reads whole lists.
//   - [SQLSource] is a list in a SQL database. Its statement selects the sort keys, so that
//     the position of a page is what the database compares and sorts. [Model] reads the
//     columns from the tags of a struct. The adapters in contrib serve gorm, bun, ent,
//     squirrel and pgx.
//   - [Cursors] are signed or encrypted, and bound to the list, the order, the filter and
//     the tenant.
//
// Each page is compared with the position and the order. A [WalkError] reports a source
// that would lose, double or repeat rows without end, and names the column. [Keyset.Verify]
// compares a list with its database at start-up or in a test.
//
// A row whose sort keys change during a walk may be read twice or never. [Snapshot] reads
// one state of the database.
package keyset
