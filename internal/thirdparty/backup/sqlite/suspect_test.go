package sqlite_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/sqlite"
)

// TestColumnsThatChangedEverywhere: a column that became empty, the same or noise in all rows
// makes a backup suspect, and the message names it. Ordinary changes do not.
func TestColumnsThatChangedEverywhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ change, column string }{
		"noise":              {"UPDATE customers SET note = hex(randomblob(length(note) / 2))", "the column note of the table customers compresses to"},
		"an UPDATE of all":   {"UPDATE customers SET email = 'me@example.org'", "the column email of the table customers has 1 different values"},
		"emptied":            {"UPDATE customers SET email = NULL", "the column email of the table customers is empty"},
		"other texts":        {"UPDATE customers SET note = 'customer number ' || id || ' was written to on a Monday, and has not responded yet'", ""},
		"old ones go":        {"DELETE FROM customers WHERE id < 1000", ""},
		"new ones":           {"INSERT INTO customers SELECT id + 5000, email, note, state FROM customers", ""},
		"a state is reached": {"UPDATE customers SET state = 'active'", ""},
		"a new column":       {"ALTER TABLE customers ADD COLUMN phone TEXT", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _ := open(t, "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, note TEXT, state TEXT)",
				`INSERT INTO customers WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i < 3000)
				SELECT i, 'customer' || i || '@example.org', 'has bought ' || (i % 7) || ' times, prefers to be called in the morning', CASE i % 3 WHEN 0 THEN 'new' ELSE 'active' END FROM s`)
			source := sqlite.New(db)
			source.Scratch = t.TempDir()
			job, _ := jobOf(t, source, &backup.Options{RestoreTest: backup.RestoreTestOptions{Every: -1}})
			for range 3 {
				_, err := job.Backup(t.Context())
				require.NoError(t, err)
			}
			_, err := db.ExecContext(t.Context(), c.change)
			require.NoError(t, err)
			_, err = job.Backup(t.Context())
			if c.column == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, backup.ErrSuspect)
			require.ErrorContains(t, err, c.column)
		})
	}
}
