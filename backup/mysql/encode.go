package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// column says how to read and write a column.
type column struct {
	name   string // "" stands for a row without values
	expr   string // in the SELECT
	binary bool   // written in hexadecimal
	number bool   // written without quotes
}

// plainCharsets are character sets that convert to utf8mb4 and back without loss. Text in
// other character sets is read and written as bytes.
var plainCharsets = map[string]bool{"utf8mb4": true, "utf8mb3": true, "utf8": true, "ascii": true, "latin1": true}

// columnOf returns how to read and write a column of a type and character set. An ENUM with
// an empty value is read as a number, because the number 0 is an empty text too.
func columnOf(name, dataType, charset, columnType string) column {
	c := column{name: name, expr: quote(name)}
	switch strings.ToLower(dataType) {
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "numeric", "year":
		c.number = true
	case "float", "double", "real":
		// As text, a FLOAT has six digits. Converted to a DOUBLE it has all digits.
		c.expr, c.number = "("+c.expr+" + 0e0)", true
	case "date", "datetime", "timestamp", "time":
		c.expr = "CAST(" + c.expr + " AS CHAR)" // as text, independent of the driver
	case "enum", "set":
		if emptyValue.MatchString(columnType) || !plainCharsets[charset] && charset != "binary" && charset != "" {
			c.expr, c.number = "("+c.expr+" + 0)", true
		}
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		if !plainCharsets[charset] {
			c.expr, c.binary = "CAST("+c.expr+" AS BINARY)", true
		}
	case "json", "uuid", "inet4", "inet6":
	default: // BINARY, BLOB, BIT, geometries, and types of future servers
		c.binary = true
	}
	return c
}

var emptyValue = regexp.MustCompile(`[(,]''[,)]`)

// appendRow appends a row in the syntax of VALUES. It also returns where each value ends.
func appendRow(to []byte, ends []int, columns []column, row []sqldriver.Value) ([]byte, []int, error) {
	if columns[0].name == "" {
		return append(to, "()"...), ends, nil
	}
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

// readRows calls do with each encoded row of a query. do must not keep the row.
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
