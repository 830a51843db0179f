package postgres

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// postgresQuerier is a *sql.DB or a *sql.Tx.
type postgresQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// postgresOwn leaves out what belongs to the server, to sessions and to
// extensions; CREATE EXTENSION brings the latter back.
const postgresOwn = `
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
	AND c.relpersistence <> 't'
	AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')`

// postgresTable is a table by its plain names.
type postgresTable struct{ schema, table string }

// String writes it as postgresName does.
func (t postgresTable) String() string { return postgresName(t.schema, t.table) }

// postgresTables lists the tables that hold rows: partitions rather than the tables
// that they form.
func postgresTables(ctx context.Context, q postgresQuerier) ([]postgresTable, error) {
	rows, err := q.QueryContext(ctx, `
		SELECT n.nspname, c.relname
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace`+postgresOwn+`
		AND c.relkind = 'r' ORDER BY n.nspname, c.relname`)
	if err != nil {
		return nil, fmt.Errorf("backup: list the tables: %w", err)
	}
	defer rows.Close()
	var tables []postgresTable
	for rows.Next() {
		var t postgresTable
		if err := rows.Scan(&t.schema, &t.table); err != nil {
			return nil, fmt.Errorf("backup: list the tables: %w", err)
		}
		tables = append(tables, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("backup: list the tables: %w", err)
	}
	return tables, nil
}

// narrow leaves of an archive's tables those that the catalogue names; one that is
// missing is an error. The others are extensions', whose rows pg_dump keeps in part.
func narrow(holds []driver.Table, tables []postgresTable) ([]driver.Table, error) {
	rows := make(map[string]driver.Table, len(holds))
	for _, t := range holds {
		rows[t.Name] = t
	}
	var kept []driver.Table
	var missing []string
	for _, t := range tables {
		measured, found := rows[t.String()]
		if !found {
			missing = append(missing, t.String())
		}
		kept = append(kept, measured)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("backup: pg_dump has left out %s", server.ShortList(missing))
	}
	return kept, nil
}

// countPostgres lists what a database holds, as pg_dump would write it. Tables that are
// not among the measured ones are counted.
func countPostgres(ctx context.Context, q postgresQuerier, measured map[string]driver.Table) (driver.Contents, error) {
	var c driver.Contents
	tables, err := postgresTables(ctx, q)
	if err != nil {
		return c, err
	}
	for _, t := range tables {
		if m, ok := measured[t.String()]; ok {
			c.Tables = append(c.Tables, m)
			continue
		}
		counted := driver.Table{Name: t.String()}
		query := "SELECT count(*) FROM ONLY " + quotePostgres(t.schema) + "." + quotePostgres(t.table)
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
