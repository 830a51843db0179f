package dbreport

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// catalogue has the queries for one engine. They return the same columns on every engine.
type catalogue struct {
	version string
	size    string // bytes, bytes free within them
	tables  string // name, estimated rows (negative = unknown), bytes
	// indexes: table, index, column, unique, primary, partial, scans (NULL = not counted). There
	// is one row for each column, in the order of the index. The first query that works is used:
	// counting of scans may be off, or unknown in this version.
	indexes     []string
	foreignKeys string // table, constraint, column, referenced table; a row for each column
	quote       string
}

const mysqlIndexes = `SELECT s.table_name, s.index_name, coalesce(s.column_name, '(expression)'), s.non_unique = 0, s.index_name = 'PRIMARY', 0, %s
	FROM information_schema.statistics s WHERE s.table_schema = database() ORDER BY s.table_name, s.index_name, s.seq_in_index`

var catalogues = map[settings.Engine]catalogue{
	settings.SQLite: {
		version: "SELECT sqlite_version()",
		size: `SELECT (SELECT page_count FROM pragma_page_count()) * page_size, (SELECT freelist_count FROM pragma_freelist_count()) * page_size
			FROM pragma_page_size()`,
		tables: `SELECT m.name, -1, (SELECT coalesce(sum(d.pgsize), 0) FROM sqlite_schema o JOIN dbstat d ON d.name = o.name AND d.aggregate = TRUE
				WHERE o.tbl_name = m.name AND o.type IN ('table', 'index'))
			FROM sqlite_schema m WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY m.name`,
		// A single INTEGER PRIMARY KEY is the table itself and has no index of its own.
		indexes: []string{`SELECT m.name, l.name, coalesce(i.name, '(expression)'), l."unique", l.origin = 'pk', l.partial, NULL
			FROM sqlite_schema m JOIN pragma_index_list(m.name) l JOIN pragma_index_info(l.name) i
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\'
			UNION ALL SELECT m.name, 'rowid', c.name, 1, 1, 0, NULL FROM sqlite_schema m JOIN pragma_table_info(m.name) c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND c.pk = 1 AND upper(c.type) = 'INTEGER'
				AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name) l WHERE l.origin = 'pk')`},
		foreignKeys: `SELECT m.name, f.id, f."from", f."table" FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f
			WHERE m.type = 'table' ORDER BY m.name, f.id, f.seq`,
		quote: `"`,
	},
	settings.MySQL: {
		version: "SELECT version()",
		size:    "SELECT coalesce(sum(data_length + index_length), 0), 0 FROM information_schema.tables WHERE table_schema = database()",
		tables: `SELECT table_name, coalesce(table_rows, 0), coalesce(data_length, 0) + coalesce(index_length, 0)
			FROM information_schema.tables WHERE table_schema = database() AND table_type = 'BASE TABLE' ORDER BY table_name`,
		indexes: []string{
			// MariaDB counts if userstat is on, MySQL in its performance schema.
			fmt.Sprintf(mysqlIndexes, `CASE WHEN @@userstat = 1 THEN (SELECT coalesce(max(u.rows_read), 0) FROM information_schema.index_statistics u
				WHERE u.table_schema = s.table_schema AND u.table_name = s.table_name AND u.index_name = s.index_name) END`),
			fmt.Sprintf(mysqlIndexes, `CASE WHEN @@performance_schema = 1 THEN (SELECT coalesce(max(u.count_read), 0) FROM performance_schema.table_io_waits_summary_by_index_usage u
				WHERE u.object_schema = s.table_schema AND u.object_name = s.table_name AND u.index_name = s.index_name) END`),
			fmt.Sprintf(mysqlIndexes, "NULL"),
		},
		foreignKeys: `SELECT table_name, constraint_name, column_name, referenced_table_name FROM information_schema.key_column_usage
			WHERE table_schema = database() AND referenced_table_name IS NOT NULL ORDER BY table_name, constraint_name, ordinal_position`,
		quote: "`",
	},
	settings.Postgres: {
		version: "SHOW server_version",
		size:    "SELECT pg_database_size(current_database()), 0",
		tables: `SELECT c.relname, c.reltuples::bigint, pg_total_relation_size(c.oid) FROM pg_class c
			WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relname`,
		indexes: []string{`SELECT t.relname, i.relname, coalesce(a.attname, '(expression)'), x.indisunique::int, x.indisprimary::int, (x.indpred IS NOT NULL)::int, coalesce(s.idx_scan, 0)
			FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
			CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k (attnum, place)
			LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum AND k.attnum > 0
			LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = x.indexrelid
			WHERE t.relnamespace = current_schema()::regnamespace AND k.place <= x.indnkeyatts ORDER BY t.relname, i.relname, k.place`},
		foreignKeys: `SELECT t.relname, f.conname, a.attname, r.relname FROM pg_constraint f
			JOIN pg_class t ON t.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid
			CROSS JOIN LATERAL unnest(f.conkey) WITH ORDINALITY AS k (attnum, place)
			JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum
			WHERE f.contype = 'f' AND t.relnamespace = current_schema()::regnamespace ORDER BY t.relname, f.conname, k.place`,
		quote: `"`,
	},
}

func (c catalogue) read(ctx context.Context, conn *sql.Conn) ([]Table, error) {
	tables := []Table{}
	err := each(ctx, conn, c.tables, func(rows *sql.Rows) error {
		t := Table{Indexes: []Index{}}
		err := rows.Scan(&t.Name, &t.Rows, &t.Bytes)
		tables = append(tables, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tables: %w", err)
	}
	named := map[string]*Table{}
	for i := range tables {
		t := &tables[i]
		named[t.Name] = t
		if t.Estimated = t.Rows >= countBelow; !t.Estimated {
			query := "SELECT count(*) FROM " + c.quote + strings.ReplaceAll(t.Name, c.quote, c.quote+c.quote) + c.quote
			if err := conn.QueryRowContext(ctx, query).Scan(&t.Rows); err != nil {
				return nil, fmt.Errorf("rows of %s: %w", t.Name, err)
			}
		}
	}
	for _, query := range c.indexes {
		err = each(ctx, conn, query, func(rows *sql.Rows) error { return scanIndex(rows, named) })
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("indexes: %w", err)
	}
	err = each(ctx, conn, c.foreignKeys, func(rows *sql.Rows) error { return scanForeignKey(rows, named) })
	if err != nil {
		return nil, fmt.Errorf("foreign keys: %w", err)
	}
	return tables, nil
}

func scanIndex(rows *sql.Rows, tables map[string]*Table) error {
	var table, name, column string
	var unique, primary, partial int
	var scans *int64
	if err := rows.Scan(&table, &name, &column, &unique, &primary, &partial, &scans); err != nil {
		return err
	}
	t := tables[table]
	if t == nil {
		return nil // of a view, or of a table that was just created
	}
	if n := len(t.Indexes); n == 0 || t.Indexes[n-1].Name != name {
		t.Indexes = append(t.Indexes, Index{Name: name, Unique: unique != 0, Primary: primary != 0, Partial: partial != 0, Scans: scans})
	}
	x := &t.Indexes[len(t.Indexes)-1]
	x.Columns = append(x.Columns, column)
	return nil
}

func scanForeignKey(rows *sql.Rows, tables map[string]*Table) error {
	var table, name, column, references string
	if err := rows.Scan(&table, &name, &column, &references); err != nil {
		return err
	}
	t := tables[table]
	if t == nil {
		return nil
	}
	if n := len(t.foreignKeys); n == 0 || t.foreignKeys[n-1].name != name {
		t.foreignKeys = append(t.foreignKeys, ForeignKey{Table: table, References: references, name: name})
	}
	fk := &t.foreignKeys[len(t.foreignKeys)-1]
	fk.Columns = append(fk.Columns, column)
	return nil
}

func each(ctx context.Context, conn *sql.Conn, query string, scan func(*sql.Rows) error) error {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
