package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// column is how a column is read and written.
type column struct {
	name   string
	expr   string // in the SELECT
	binary bool   // written in hexadecimal
	number bool   // written without quotes
}

// plainCharsets are those that utf8mb4 holds without loss in both directions. Text of all
// other ones is read and written as its bytes.
var plainCharsets = map[string]bool{"utf8mb4": true, "utf8mb3": true, "utf8": true, "ascii": true, "latin1": true}

// columnOf returns how a column of a type and character set is carried.
func columnOf(name, dataType, charset string) column {
	c := column{name: name, expr: quote(name)}
	switch strings.ToLower(dataType) {
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "numeric", "year":
		c.number = true
	case "float", "double", "real":
		// As text a FLOAT has six digits, as a DOUBLE all digits.
		c.expr, c.number = "("+c.expr+" + 0e0)", true
	case "date", "datetime", "timestamp", "time":
		c.expr = "CAST(" + c.expr + " AS CHAR)" // as text, independent of the driver
	case "enum", "set":
		if !plainCharsets[charset] && charset != "binary" && charset != "" {
			c.expr, c.number = "("+c.expr+" + 0)", true
		}
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		if !plainCharsets[charset] {
			c.expr, c.binary = "CAST("+c.expr+" AS BINARY)", true
		}
	case "json", "uuid", "inet4", "inet6":
	default: // BINARY, BLOB, BIT, geometries, and what servers will have
		c.binary = true
	}
	return c
}

// appendRow writes a row as VALUES takes it, and where each value ends.
func appendRow(to []byte, ends []int, columns []column, row []sqldriver.Value) ([]byte, []int, error) {
	for i, v := range row {
		if i > 0 {
			to = append(to, ',')
			ends = append(ends, len(to)-1)
		} else {
			to = append(to, '(')
		}
		c := &columns[i]
		switch v := v.(type) {
		case nil:
			to = append(to, "NULL"...)
		case int64:
			to = strconv.AppendInt(to, v, 10)
		case uint64:
			to = strconv.AppendUint(to, v, 10)
		case float32:
			to = strconv.AppendFloat(to, float64(v), 'g', -1, 32)
		case float64:
			to = strconv.AppendFloat(to, v, 'e', -1, 64)
		case []byte:
			to = c.append(to, v)
		case string:
			to = c.append(to, []byte(v))
		default:
			return to, ends, fmt.Errorf("backup: the driver returns a %T for the column %s, which this package cannot write", v, c.name)
		}
	}
	return append(to, ')'), append(ends, len(to)), nil
}

func (c *column) append(to, v []byte) []byte {
	switch {
	case c.number:
		return append(to, v...)
	case c.binary && len(v) > 0:
		to = append(to, "0x"...)
		return hex.AppendEncode(to, v)
	}
	return appendText(to, v)
}

var escapes = [256]byte{0: '0', '\n': 'n', '\r': 'r', '\\': '\\', '\'': '\'', 0x1a: 'Z'}

func appendText(to, v []byte) []byte {
	to = append(to, '\'')
	from := 0
	for i, b := range v {
		if e := escapes[b]; e != 0 {
			to = append(to, v[from:i]...)
			to = append(to, '\\', e)
			from = i + 1
		}
	}
	to = append(to, v[from:]...)
	return append(to, '\'')
}

// readRows calls do with each row of a query, encoded; do must not keep it.
func readRows(ctx context.Context, s session, query string, columns []column, do func(row []byte, ends []int) error) error {
	return s.Raw(func(conn any) error {
		q, ok := conn.(sqldriver.QueryerContext)
		if !ok {
			return errors.New("backup: the driver of the *sql.DB cannot be queried without a prepared statement: use github.com/go-sql-driver/mysql")
		}
		rows, err := q.QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		values := make([]sqldriver.Value, len(rows.Columns()))
		if len(values) != len(columns) {
			return fmt.Errorf("backup: the server returns %d columns instead of %d", len(values), len(columns))
		}
		var row []byte
		var ends []int
		for {
			if err := rows.Next(values); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if row, ends, err = appendRow(row[:0], ends[:0], columns, values); err != nil {
				return err
			}
			if err := do(row, ends); err != nil {
				return err
			}
		}
	})
}
