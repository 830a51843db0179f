package pagination_test

import (
	"math/rand/v2"
	"testing"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// FuzzBuilder walks a table of SQLite in a random order and compares it with the
// database's own sorting.
func FuzzBuilder(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, seed*31)
	}
	db := openSQLite(f)
	createWalkTable(f, db, keyset.SQLite)
	cursors := mustCursors(f)
	f.Fuzz(func(t *testing.T, a, b uint64) {
		dialect := keyset.SQLite
		if a%3 == 0 {
			dialect = keyset.Generic
		}
		walk(t, rand.New(rand.NewPCG(a, b)), db, dialect, keyset.SQLite, cursors)
	})
}
