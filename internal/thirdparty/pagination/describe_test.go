package pagination_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// The parts of a UNION have columns of other affinities on SQLite.
func TestUnionOfAffinities(t *testing.T) {
	t.Parallel()
	db := memory(t, "CREATE TABLE a (id INTEGER PRIMARY KEY, k TEXT COLLATE NOCASE)", "CREATE TABLE b (id INTEGER PRIMARY KEY, k INTEGER)",
		"INSERT INTO a VALUES (1,'10'),(2,'2'),(3,'x'),(4,'4'),(5,'05'),(6,'X')", "INSERT INTO b VALUES (11,5),(12,30),(13,7),(14,2),(15,100),(16,2.5)",
		"CREATE VIEW v AS SELECT id, k FROM a UNION ALL SELECT id, k FROM b", "CREATE VIEW w AS SELECT id, k FROM v UNION SELECT id, k FROM b ORDER BY k LIMIT 50",
		"CREATE INDEX a_k ON a (k, id)")
	for name, base := range map[string]keyset.Base{
		"query":     {Query: "SELECT id, k FROM a UNION ALL SELECT id, k FROM b WHERE id > ?", Args: []any{0}},
		"view":      {From: "v t", Where: "t.id IN (SELECT id FROM a UNION SELECT id FROM b) AND t.id > ?", Args: []any{0}},
		"views":     {From: "w"},
		"sub-query": {From: "(SELECT id, k FROM b WHERE id > ? UNION SELECT id, k FROM a) t", Where: "id < ?", Args: []any{0, 100}},
		"recursive": {Query: "WITH RECURSIVE c(id, k) AS (SELECT id, k FROM a UNION SELECT b.id, b.k FROM b JOIN c ON c.id = b.id - 10) SELECT id, k FROM c UNION SELECT id, k FROM b WHERE id = 16"},
	} {
		base.Columns = []string{"id"}
		k, source, _ := declared(t, db, engines[0], base, keyset.Column[typeRow]{Name: "k", Expr: "k"}, keyset.Column[typeRow]{Name: "id", Expr: "id", Unique: true})
		source.Base.Columns = []string{"id"}
		for _, ordering := range []string{"k", "-k", "k,-id"} {
			for _, token := range []string{"", keyset.LastPage} {
				n, err := byTokens(t, k, source, keyset.Query{Ordering: ordering, Token: token, Size: 2})
				require.NoError(t, err, name)
				assert.Equal(t, 12, n, "%s by %s", name, ordering)
			}
		}
		_, err := k.Verify(t.Context(), source, nil)
		require.NoError(t, err, name)
	}
	// A table keeps its index, also with a UNION in the filter.
	source := pairSource(db, keyset.Base{From: "a t", Where: "t.id + 0 IN (SELECT id FROM a UNION SELECT id FROM b)"})
	k, err := keyset.New("a", pagination.Standard, mustCursors(t), []keyset.Column[pair]{
		{Name: "k", Expr: "t.k"}, {Name: "id", Expr: "t.id", Unique: true},
	}, &keyset.Options{Ordering: "k"})
	require.NoError(t, err)
	report, err := k.Verify(t.Context(), source, nil)
	require.NoError(t, err)
	assert.Contains(t, report.Orders[0].Plan, "a_k")
}
