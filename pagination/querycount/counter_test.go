package querycount

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/mainstay-go/mainstay/pagination/internal/lex"
)

// A statement that writes is no N+1, also if it begins with WITH.
func TestRepeatedLeavesOutWrites(t *testing.T) {
	t.Parallel()
	for sql, read := range map[string]bool{
		"SELECT a FROM t WHERE id = %d":                             true,
		"WITH c AS (SELECT a FROM t WHERE id = %d) SELECT a FROM c": true,
		"with c AS (SELECT 'delete from t' AS \"insert into\" FROM t WHERE id = %d) SELECT deleted, t.update FROM c /* merge into */": true,
		"WITH c AS (SELECT id FROM t WHERE id = %d FOR UPDATE) SELECT id FROM c":                                                      true,
		"WITH c AS (SELECT replace(a, 'x', 'y'), insert(a, 1, 2, 'z') FROM t WHERE id = %d) SELECT id FROM c":                         true,
		"WITH gone AS (DELETE FROM t WHERE id = %d RETURNING *) INSERT INTO old SELECT * FROM gone":                                   false,
		"WITH gone AS (DELETE FROM t WHERE id = %d RETURNING *) SELECT * FROM gone":                                                   false,
		"WITH c AS (SELECT %d AS id) INSERT INTO t SELECT id FROM c":                                                                  false,
		"WITH c AS (SELECT %d AS id) UPDATE t SET a = 1 FROM c WHERE c.id = t.id":                                                     false,
		"WITH c AS MATERIALIZED (SELECT 1), d AS (\n update t SET a = %d RETURNING a) SELECT a FROM d":                                false,
		"WITH c AS (SELECT %d AS id) MERGE INTO t USING c ON c.id = t.id WHEN MATCHED THEN DELETE":                                    false,
		"DELETE FROM t WHERE id = %d":                   false,
		"INSERT INTO t SELECT a FROM u WHERE id = %d":   false,
		"(SELECT a FROM t WHERE id = %d)":               true,
		"/* trace */ ((SELECT a FROM t WHERE id = %d))": true,
		"select a from t where id = %d":                 true,
		"VALUES (%d)":                                   true,
		"TABLE t LIMIT %d":                              true,
		"EXEC load_row %d":                              true,
		"CALL load_row(%d)":                             true,
	} {
		ctx, counter := With(t.Context())
		for i := range 5 {
			Record(ctx, lex.Postgres, fmt.Sprintf(sql, i), 0)
		}
		assert.Len(t, counter.Repeated(2), map[bool]int{true: 1, false: 0}[read], sql)
	}
}
