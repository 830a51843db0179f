package postgres

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// tableFiles returns the name of each table and the file of its rows, by its oid. TRUNCATE and
// some forms of ALTER TABLE give a table a new file, which an older snapshot finds empty. VACUUM
// FULL and CLUSTER also do, with a file that holds the old rows. The catalogue does not tell them
// apart.
func tableFiles(ctx context.Context, q postgresQuerier) (map[string][2]string, error) {
	rows, err := q.QueryContext(ctx, `SELECT c.oid::text, format('%I.%I', n.nspname, c.relname), c.relfilenode::text
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace`+postgresOwn+` AND c.relkind = 'r'`)
	if err != nil {
		return nil, fmt.Errorf("backup: list the files of the tables: %w", err)
	}
	defer rows.Close()
	files := make(map[string][2]string)
	for rows.Next() {
		var oid, table, file string
		if err := rows.Scan(&oid, &table, &file); err != nil {
			return nil, fmt.Errorf("backup: list the files of the tables: %w", err)
		}
		files[oid] = [2]string{table, file}
	}
	return files, rows.Err()
}

// unchanged fails if a table has got a new file since the snapshot. While pg_dump has its
// locks, no table can get one.
func (p *Source) unchanged(ctx context.Context, snapshot map[string][2]string) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	files, err := tableFiles(ctx, p.db)
	if err != nil {
		return err
	}
	var changed []string
	for oid, was := range snapshot {
		if is, exists := files[oid]; exists && is[1] != was[1] {
			changed = append(changed, was[0])
		}
	}
	slices.Sort(changed)
	if len(changed) > 0 {
		return driver.Transient(fmt.Errorf("backup: the snapshot may find no rows in %s, because TRUNCATE, ALTER TABLE, VACUUM FULL or CLUSTER ended between it and the locks of pg_dump", server.ShortList(changed)))
	}
	return nil
}

// atFirst calls do before the first byte, and fails with its error. pg_dump writes nothing
// before it has all of its locks.
type atFirst struct {
	to io.Writer
	do func() error
}

func (w *atFirst) Write(b []byte) (int, error) {
	if do := w.do; do != nil {
		w.do = nil
		if err := do(); err != nil {
			return 0, err
		}
	}
	return w.to.Write(b)
}

// RowsSoFar implements [driver.RowCounter].
func (w *atFirst) RowsSoFar(n int64) { driver.RowsTo(w.to)(n) }
