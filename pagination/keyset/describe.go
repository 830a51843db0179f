package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// forms reads the types of the sort keys from the database, once for each list and key.
func (s SQLSource[T]) forms(ctx context.Context, types *listCache, keys []Key) ([]form, error) {
	if list, ok := types.forms(s.Dialect, &s.Base, keys); ok {
		return list, nil
	}
	list, err := s.describe(ctx, keys)
	if err == nil {
		err = s.checkKeys(ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	types.store(s.Dialect, &s.Base, keys, list)
	return list, nil
}

func (s SQLSource[T]) describe(ctx context.Context, keys []Key) ([]form, error) {
	b := s.Base
	switch s.Dialect {
	case Postgres:
		return s.describePostgres(ctx, &b, keys)
	case MySQL, SQLite:
		return s.describeResult(ctx, &b, keys)
	}
	list := make([]form, len(keys))
	for i := range list {
		list[i].dialect = s.Dialect
	}
	return list, nil
}

// exact is a number that is another one if it is rounded to 15 digits.
const exact = "0.30000000000000004"

func (s SQLSource[T]) describePostgres(ctx context.Context, b *Base, keys []Key) ([]form, error) {
	b.Columns, b.Args = onlyOne, b.Args[min(columnArgs(s.Dialect, b), len(b.Args)):]
	st, err := newStatement(s.Dialect, b)
	if err != nil {
		return nil, err
	}
	st.write("SELECT ")
	for i := range keys {
		// The comparison and ORDER BY fail for a type without an order.
		d := "d.mainstay_k" + strconv.Itoa(i+1)
		st.write("CAST(pg_typeof(", d, ") AS text), (WITH RECURSIVE base AS (SELECT typtype, typbasetype, typname, typcategory FROM pg_type WHERE oid = CAST(pg_typeof(", d, ") AS oid) ",
			"UNION ALL SELECT t.typtype, t.typbasetype, t.typname, t.typcategory FROM base JOIN pg_type t ON t.oid = base.typbasetype) ",
			"SELECT MAX(CASE typtype WHEN 'c' THEN 1 ELSE 0 END) + 2 * MAX(CASE WHEN typtype IN ('c', 'r', 'm') OR typcategory = 'A' ",
			"OR typname IN ('date', 'timestamp', 'timestamptz', 'float4', 'float8', 'cube', 'seg') THEN 1 ELSE 0 END) FROM base), ")
	}
	for i := range keys {
		d := "d.mainstay_k" + strconv.Itoa(i+1)
		st.write("(", d, " < ", d, ") IS NULL AND ")
	}
	st.write("true, CAST(DATE '2026-02-01' AS text), CAST(", exact, " AS double precision), CAST(CAST(", exact, " AS double precision) AS text), current_setting('TimeZone')")
	// The row of the outer join has NULLs of the right types.
	st.write(" FROM (SELECT 1 AS one) o LEFT JOIN (")
	st.selectKeys(keys, "")
	st.write(") d ON true")
	for i := range keys {
		st.write([...]string{" ORDER BY ", ", "}[min(i, 1)], "d.mainstay_k", strconv.Itoa(i+1))
	}
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return nil, fmt.Errorf("keyset: the types of the sort keys could not be read, or have no order: %w", err)
	}
	defer rows.Close()
	names, kinds := make([]string, len(keys)), make([]int, len(keys))
	dest := make([]any, 0, 2*len(keys)+5)
	for i := range names {
		dest = append(dest, &names[i], &kinds[i])
	}
	var date, text, zone string
	var double float64
	dest = append(dest, new(any), &date, &double, &text, &zone)
	if !rows.Next() {
		return nil, errors.Join(errors.New("keyset: the database returned no types"), rows.Err())
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	list := make([]form, len(keys))
	for i, name := range names {
		list[i] = postgresForm(name)
		list[i].composite = kinds[i]&1 != 0
		list[i].zoned = list[i].class == classTime && !isUTC(zone)
		texts := list[i].class == classText && kinds[i]&2 != 0 // of dates or floats
		switch {
		case texts && date != "2026-02-01":
			return nil, refused(keys[i], name, "DateStyle of the session makes a text of it that may not be read back: set DateStyle to ISO in the DSN")
		case texts && text != exact, list[i].class == classDouble && strconv.FormatFloat(double, 'g', -1, 64) != exact:
			return nil, refused(keys[i], name, "extra_float_digits of the session rounds it: set extra_float_digits to 1 in the DSN")
		}
		switch name {
		case "record", "json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle":
			return nil, refused(keys[i], name, "PostgreSQL does not sort it, or does not read its text back; sort by a part of it")
		}
	}
	return list, rows.Err()
}

var onlyOne = []string{"1 AS one"}

// postgresForm returns the form of a type by its name from pg_typeof. character and bit
// have no cast: without a length it would truncate the value to one character or bit.
func postgresForm(name string) form {
	f := form{dialect: Postgres, class: classText, cast: name}
	switch name {
	case "smallint", "integer", "bigint":
		f.class, f.raw = classInt, true
	case "double precision":
		f.class, f.raw = classDouble, true
	case "real":
		f.class = classFloat
	case "boolean":
		f.class, f.raw = classPlain, true
	case "bytea":
		f.class, f.raw = classBinary, true
	case "text", "character varying", "name":
		f.class, f.cast, f.raw = classString, "text", true
	case "date", "timestamp without time zone", "timestamp with time zone":
		f.class, f.raw = classTime, true
	case "bit", "character", "bit[]", "character[]":
		f.cast = ""
	case "regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regrole", "regnamespace", "regcollation", "regconfig", "regdictionary":
		f.class, f.cast = classOID, "oid"
	}
	return f
}

// describeResult reads the types of a result's columns from the driver.
func (s SQLSource[T]) describeResult(ctx context.Context, b *Base, keys []Key) ([]form, error) {
	b.Columns, b.Args = onlyOne, b.Args[min(columnArgs(s.Dialect, b), len(b.Args)):]
	st, err := newStatement(s.Dialect, b)
	if err != nil {
		return nil, err
	}
	st.selectKeys(keys, "")
	rows, err := s.run(ctx, st.b.String(), st.args)
	if err != nil {
		return nil, fmt.Errorf("keyset: the types of the sort keys could not be read, or have no order: %w", err)
	}
	defer rows.Close()
	typed, ok := rows.(interface {
		ColumnTypes() ([]*sql.ColumnType, error)
	})
	list := make([]form, len(keys))
	for i := range list {
		list[i].dialect = s.Dialect
	}
	if !ok {
		return list, rows.Err()
	}
	types, err := typed.ColumnTypes()
	if err != nil {
		return nil, err
	}
	zoned := ""
	for i, t := range types {
		if s.Dialect == SQLite {
			list[i].raw = rawInSQLite(t.DatabaseTypeName())
			continue
		}
		name := strings.TrimPrefix(t.DatabaseTypeName(), "UNSIGNED ")
		if name == "TIMESTAMP" {
			zoned = keys[i].Name
		}
		if list[i], ok = mysqlForm(name, t); !ok {
			return nil, refused(keys[i], name, "it sorts by another rule than it compares; sort by a part of it")
		}
		if texts := list[i].class == classString || list[i].class == classBinary; texts && list[i].prefix == 0 && jsonText.MatchString(keys[i].Expr) {
			list[i].raw, list[i].prefix = false, 170 // as for the same part of a TEXT
		}
		if list[i].class == classDecimal && strings.ContainsAny(keys[i].Expr, "(+-*/% ") {
			list[i].raw, list[i].rounded = false, true
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	switch {
	case s.Dialect == SQLite:
		return list, s.markCompound(ctx, keys, list)
	case zoned != "":
		return list, s.fixedZone(ctx, zoned)
	}
	return list, nil
}

// markCompound asks SQLite whether the list comes from a UNION, also behind a view. The parts
// of a UNION may have columns of other affinities. A comparison with a value then converts the
// values of one part, and ORDER BY converts none.
func (s SQLSource[T]) markCompound(ctx context.Context, keys []Key, list []form) error {
	b := s.Base
	args := b.Args[min(columnArgs(s.Dialect, &b), len(b.Args)):]
	b.Columns, b.Where, b.Args = onlyOne, "", nil // a UNION in the filter does not matter
	if !b.Literal {
		b.Args = args[:min(columnArgs(s.Dialect, &Base{Columns: []string{b.From, b.Query}}), len(args))]
	}
	st, err := newStatement(s.Dialect, &b)
	if err != nil {
		return err
	}
	st.write("EXPLAIN QUERY PLAN ")
	st.selectKeys(keys, "")
	table, err := s.table(ctx, st.b.String(), st.args)
	if err != nil {
		return err
	}
	for _, line := range table[1:] {
		if compoundPlan.MatchString(line[len(line)-1]) {
			for i := range list {
				list[i].compound = true
			}
		}
	}
	return nil
}

var compoundPlan = regexp.MustCompile(`^(COMPOUND|UNION|MERGE|RECURSIVE STEP|INTERSECT|EXCEPT)\b`)

// rawInSQLite reports whether drivers return a column of a declared type as it is stored.
// They convert dates to times, and BOOLEAN to booleans.
func rawInSQLite(declared string) bool {
	name, _, _ := strings.Cut(strings.ToUpper(declared), "(")
	switch strings.TrimSpace(name) {
	case "INTEGER", "INT", "TINYINT", "SMALLINT", "MEDIUMINT", "BIGINT", "INT2", "INT8", "TEXT", "VARCHAR", "CHAR", "CHARACTER",
		"NVARCHAR", "CLOB", "REAL", "DOUBLE", "DOUBLE PRECISION", "FLOAT", "BLOB", "UUID":
		return true
	}
	return false
}

// jsonText is a function of MariaDB whose result is sorted as text and compared as JSON.
var jsonText = regexp.MustCompile(`(?i)\bJSON_EXTRACT\s*\(`)

func mysqlForm(name string, t *sql.ColumnType) (form, bool) {
	f := form{dialect: MySQL, raw: true}
	switch name {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR":
		f.class = classInt
	case "DECIMAL":
		f.class = classDecimal
		_, scale, ok := t.DecimalSize() // drivers report one digit too few for UNSIGNED
		if !ok || scale < 0 || scale > 38 {
			scale = 30
		}
		f.scale, f.cast = int(scale), fmt.Sprintf("DECIMAL(65,%d)", scale)
	case "FLOAT", "DOUBLE":
		f.class, f.raw = classDouble, true
		if name == "FLOAT" {
			f.class, f.raw = classFloat, false
		}
		// With a scale, the value of a sub-select has more digits in a condition than in the
		// result.
		if _, scale, ok := t.DecimalSize(); ok && scale < 31 {
			f.class, f.raw, f.rounded, f.scale, f.cast = classDecimal, false, true, int(scale), fmt.Sprintf("DECIMAL(65,%d)", scale)
		}
	case "DATE", "DATETIME", "TIMESTAMP", "TIME":
		f.class, f.raw = classText, t.ScanType() != reflect.TypeFor[sql.NullTime]() // as with parseTime
		f.zeros = name == "DATE" || name == "DATETIME"
	case "CHAR", "VARCHAR", "TINYTEXT":
		f.class = classString
	case "TEXT", "MEDIUMTEXT", "LONGTEXT":
		f.class, f.raw, f.prefix = classString, false, 170 // of six bytes, in the collations with three weights
	case "BINARY", "VARBINARY", "TINYBLOB":
		f.class, f.cast = classBinary, "BINARY"
	case "BLOB", "MEDIUMBLOB", "LONGBLOB":
		f.class, f.cast, f.raw, f.prefix = classBinary, "BINARY", false, 1000
	case "ENUM", "BIT":
		f.class, f.raw = classNumber, false
	case "SET":
		f.class, f.raw = classSet, false
	case "JSON", "GEOMETRY", "VECTOR":
		return f, false
	default:
		f.raw = false
	}
	return f, true
}

func refused(k Key, typ, why string) error {
	return &WalkError{Column: k.Name, Problem: "cannot be sorted by: its type is " + typ + ", and " + why}
}

func isUTC(zone string) bool {
	return zone == "UTC" || zone == "GMT" || zone == "Etc/UTC" || zone == "Universal"
}

// fixedZone rejects a TIMESTAMP if an hour occurs twice in the session's time zone: two
// instants then have the same text.
func (s SQLSource[T]) fixedZone(ctx context.Context, column string) error {
	rows, err := s.run(ctx, "SELECT IF(@@session.time_zone = 'SYSTEM', @@system_time_zone, @@session.time_zone)", nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	var zone string
	if !rows.Next() {
		return rows.Err()
	}
	if err := rows.Scan(&zone); err != nil {
		return err
	}
	if isUTC(zone) || len(zone) > 0 && (zone[0] == '+' || zone[0] == '-') {
		return rows.Err()
	}
	return &WalkError{Column: column, Problem: "is a TIMESTAMP in a session of time zone " + zone +
		", where clocks may go back: set time_zone to '+00:00' in the DSN, or use DATETIME"}
}
