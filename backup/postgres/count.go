package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// postgresQuerier is implemented by *sql.DB and *sql.Tx.
type postgresQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// postgresOwn leaves out objects of the server, of sessions and of extensions. CREATE
// EXTENSION creates the objects of extensions again.
const postgresOwn = `
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
	AND c.relpersistence <> 't'
	AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')`

// postgresTable is a table by its unquoted names, with the root of a partition.
type postgresTable struct {
	schema, table string
	root          *postgresTable
}

// String returns the name in the form of postgresName.
func (t postgresTable) String() string { return postgresName(t.schema, t.table) }

// postgresTables lists the tables that hold rows. It lists partitions instead of their
// partitioned tables.
func postgresTables(ctx context.Context, q postgresQuerier) ([]postgresTable, error) {
	rows, err := q.QueryContext(ctx, `
		WITH RECURSIVE parts(oid, root) AS (
			SELECT oid, oid FROM pg_class WHERE relkind = 'p' AND NOT relispartition
			UNION ALL SELECT i.inhrelid, p.root FROM parts p JOIN pg_inherits i ON i.inhparent = p.oid)
		SELECT n.nspname, c.relname, coalesce(rn.nspname, ''), coalesce(r.relname, '')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN parts p ON p.oid = c.oid LEFT JOIN pg_class r ON r.oid = p.root LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace`+postgresOwn+`
		AND c.relkind = 'r' ORDER BY n.nspname, c.relname`)
	if err != nil {
		return nil, fmt.Errorf("backup: list the tables: %w", err)
	}
	defer rows.Close()
	var tables []postgresTable
	for rows.Next() {
		var t, root postgresTable
		if err := rows.Scan(&t.schema, &t.table, &root.schema, &root.table); err != nil {
			return nil, fmt.Errorf("backup: list the tables: %w", err)
		}
		if root.table != "" {
			t.root = &root
		}
		tables = append(tables, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("backup: list the tables: %w", err)
	}
	return tables, nil
}

// narrow returns the tables of an archive that are in the catalogue. A missing one is an
// error. The other tables belong to extensions, and pg_dump stores only part of their rows.
func (a *postgresArchive) narrow(tables []postgresTable) ([]driver.Table, error) {
	rows := make(map[string]driver.Table, len(a.holds.Tables))
	for _, t := range a.holds.Tables {
		rows[t.Name] = t
	}
	var kept []driver.Table
	var missing []string
	taken := map[string]bool{}
	for _, t := range tables {
		name := t.String()
		if root, ok := a.roots[name]; ok {
			name = root
		}
		measured, found := rows[name]
		switch {
		case !found:
			missing = append(missing, name)
		case !taken[name]:
			kept = append(kept, measured)
		}
		taken[name] = true
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("backup: pg_dump has left out %s", server.ShortList(missing))
	}
	return kept, nil
}

// extensionRows lists tables of extensions with rows that pg_dump leaves out, because the
// extension does not mark the table for dumps.
func extensionRows(ctx context.Context, q postgresQuerier) (warnings []string, err error) {
	names, err := queryStrings(ctx, q, `SELECT format('%I.%I', n.nspname, c.relname) || E'\n' || e.extname
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid
		WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))
		AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("backup: list the tables of extensions: %w", err)
	}
	for _, one := range names {
		table, extension, _ := strings.Cut(one, "\n")
		var some bool
		if err := q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+table+")").Scan(&some); err != nil {
			return nil, fmt.Errorf("backup: look into the table %s: %w", table, err)
		}
		if some {
			warnings = append(warnings, fmt.Sprintf("the rows of the table %s are not in the backup, because it belongs to the extension %s, which does not mark it for dumps: ALTER EXTENSION … DROP TABLE, if the rows are yours", table, extension))
		}
	}
	return warnings, nil
}

// countPostgres returns the contents of a database as pg_dump would write it. It counts
// tables that are not among the measured ones. It counts partitions together with their
// root if the dump contains the root.
func countPostgres(ctx context.Context, q postgresQuerier, measured map[string]driver.Table, want driver.Contents) (driver.Contents, error) {
	var c driver.Contents
	tables, err := postgresTables(ctx, q)
	if err != nil {
		return c, err
	}
	wanted := map[string]bool{}
	for _, t := range want.Tables {
		wanted[t.Name] = true
	}
	taken := map[string]bool{}
	for _, t := range tables {
		only := "ONLY "
		if t.root != nil && wanted[t.root.String()] {
			t, only = *t.root, ""
		}
		if taken[t.String()] {
			continue
		}
		taken[t.String()] = true
		if m, ok := measured[t.String()]; ok {
			c.Tables = append(c.Tables, m)
			continue
		}
		counted := driver.Table{Name: t.String()}
		query := "SELECT count(*) FROM " + only + quotePostgres(t.schema) + "." + quotePostgres(t.table)
		if err := q.QueryRowContext(ctx, query).Scan(&counted.Rows); err != nil {
			return c, fmt.Errorf("backup: count the rows of %s: %w", t, err)
		}
		c.Tables = append(c.Tables, counted)
	}
	large := driver.Table{Name: largeObjects}
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM pg_largeobject_metadata").Scan(&large.Rows); err != nil {
		return c, fmt.Errorf("backup: count the large objects: %w", err)
	}
	if m, ok := measured[largeObjects]; ok && m.Rows == large.Rows {
		large = m
	}
	if large.Rows > 0 {
		c.Tables = append(c.Tables, large)
	}
	err = q.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace`+postgresOwn+` AND c.relkind IN ('v','m')),
		(SELECT count(*) FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
			WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
			AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = f.oid AND e.deptype IN ('e', 'i'))),
		(SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace`+postgresOwn+`
			AND NOT t.tgisinternal AND t.tgparentid = 0)`).
		Scan(&c.Views, &c.Routines, &c.Triggers)
	if err != nil {
		return c, fmt.Errorf("backup: count views, routines and triggers: %w", err)
	}
	return c, nil
}

func queryStrings(ctx context.Context, q postgresQuerier, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
