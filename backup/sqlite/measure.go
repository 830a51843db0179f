package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// measure reads the rows of a table of an attached database. It reads quote() of each
// value, which is exact for every type.
func measure(ctx context.Context, conn *sql.Conn, alias, name, quoted string) (driver.Table, error) {
	columns, err := column(ctx, conn, "SELECT name FROM pragma_table_xinfo("+quoteText(name)+", "+quoteText(alias)+") WHERE hidden <> 1")
	if err != nil {
		return driver.Table{}, err
	}
	if len(columns) == 0 {
		t := driver.Table{Name: name}
		return t, conn.QueryRowContext(ctx, "SELECT count(*) FROM "+alias+"."+quoted).Scan(&t.Rows)
	}
	var values []string
	for _, c := range columns {
		c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		// quote() truncates a text at a NUL.
		values = append(values, fmt.Sprintf("CASE WHEN typeof(%[1]s) = 'text' AND instr(%[1]s, char(0)) > 0 THEN 't' || hex(%[1]s) ELSE quote(%[1]s) END", c))
	}
	rows, err := conn.QueryContext(ctx, "SELECT "+strings.Join(values, ", ")+" FROM "+alias+"."+quoted)
	if err != nil {
		return driver.Table{}, err
	}
	defer rows.Close()
	var meter driver.Meter
	meter.Columns(columns...)
	cells, to := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range cells {
		to[i] = &cells[i]
	}
	var row []byte
	var ends []int
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return driver.Table{}, err
		}
		row, ends = row[:0], ends[:0]
		for _, cell := range cells {
			row = append(append(row, ','), cell...)
			ends = append(ends, len(row))
		}
		meter.Row(row, ends...)
	}
	return meter.Table(name), rows.Err()
}

func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
