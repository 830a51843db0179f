package keyset

import (
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// class says how the values of a column are selected and bound. The comparison with a bound
// value then agrees with the order of the column.
type class uint8

const (
	classUnknown class = iota // not described
	classPlain                // the driver returns the value unchanged
	classText                 // selected as text, which the database reads back without loss
	classString               // characters, bound as a string
	classInt                  // an integer
	classNumber               // ENUM, BIT: sorts by a number that the driver does not return
	classSet                  // SET: such a number, compared as signed and sorted as unsigned
	classFloat                // 32 bits: printed rounded unless it is widened
	classDouble               // 64 bits
	classDecimal              // exact number, never bound as a string without a cast
	classBinary               // bytes, never bound as characters
	classTime                 // a time of PostgreSQL, bound as text
	classOID                  // an object of PostgreSQL: its text may name several, its number names one
)

// form is how one sort key is written.
type form struct {
	dialect Dialect
	class   class
	cast    string // type of a bound value; "" = the database infers it
	raw     bool   // the driver returns a column of the type as sel would select it
	prefix  int    // sorted and compared by so many characters; 0 = by all
	scale   int    // digits behind the point of an exact number
	rounded bool   // the key may have more digits than the driver returns

	zoned     bool // a time of PostgreSQL in a session whose zone is not UTC
	composite bool // a row of PostgreSQL, which may hold NULLs
	zeros     bool // MariaDB and MySQL read IS NULL as true for a zero date, if the column is NOT NULL
	compound  bool // SQLite reads it from a UNION, whose parts may have other affinities
}

// bare reports whether a column of the list has the value of the key as the database stores
// it, so that the key needs no extra column.
func (f form) bare() bool { return f.raw }

// sel returns the SQL around the key in the list of columns.
func (f form) sel() (before, after string) {
	switch f.dialect {
	case SQLite:
		// An expression has no declared type, so no driver converts its text to a time.
		return "+(", ")"
	case Postgres:
		switch f.class {
		case classUnknown, classText:
			return "CAST(", " AS text)"
		case classTime: // JSON has one form of a time, whatever DateStyle and TimeZone are
			return "to_json(", ") #>> '{}'"
		case classFloat: // as text it has the digits of extra_float_digits
			return "CAST(", " AS double precision)"
		case classOID:
			return "CAST(CAST(", " AS oid) AS text)"
		}
	case MySQL:
		switch {
		case f.prefix > 0 || f.rounded:
			return f.order()
		case f.class == classNumber || f.class == classSet:
			return "CAST(", " AS UNSIGNED)"
		case f.class == classFloat:
			return "(", ") + 0e0"
		case f.class == classText:
			return "CAST(", " AS CHAR)"
		}
	}
	return "", ""
}

// order returns the SQL around the key wherever it is an operand. MySQL and MariaDB sort a
// TEXT or a BLOB by its first max_sort_length bytes alone, and compare it by all. They
// compare a quotient, and a float with a scale, by more digits than they sort and return.
func (f form) order() (before, after string) {
	switch {
	case f.prefix > 0:
		return "LEFT(", ", " + strconv.Itoa(f.prefix) + ")"
	case f.rounded:
		return "CAST(", " AS " + f.cast + ")"
	}
	return "", ""
}

// sorted returns the SQL around the key in a column that a UNION sorts by. MySQL and
// MariaDB convert an ENUM to text in such a column, and round a FLOAT.
func (f form) sorted() (before, after string) {
	switch {
	case f.dialect == MySQL && (f.class == classNumber || f.class == classSet):
		return "CAST(", " AS UNSIGNED)"
	case f.dialect == MySQL && f.class == classFloat:
		return "(", ") + 0e0"
	}
	return "", ""
}

// compared returns the SQL around the key in a comparison.
func (f form) compared() (before, after string) {
	switch {
	case f.class == classSet:
		return "CAST(", " AS UNSIGNED)"
	case f.compound: // compared as it is sorted: with its collation and without an affinity
		return "+(", ")"
	}
	return "", ""
}

// bind returns the SQL around a bound value.
func (f form) bind() (before, after string) {
	switch {
	case f.dialect == SQLite:
		return "+", ""
	case f.cast != "":
		return "CAST(", " AS " + f.cast + ")"
	default:
		return "", ""
	}
}

// typed reports whether a bound value has a type independent of the key.
func (f form) typed() bool { return f.cast != "" }

// argument returns a value as an argument. A driver that does not know the type of the
// column sends a time in the time zone of the session, so PostgreSQL receives text.
func (f form) argument(v Value) any {
	if f.class != classTime || v.kind != kindTime {
		return v.Any()
	}
	t := v.Any().(time.Time)
	if t.Year() < 1 { // 29 February exists in the year before Christ, not in the same year after
		return fmt.Sprintf("%04d", 1-t.Year()) + t.Format("-01-02 15:04:05.999999Z") + " BC"
	}
	return t.Format("2006-01-02 15:04:05.999999Z")
}

// value converts a value of the driver.
func (f form) value(src any) (Value, error) {
	v, err := f.read(src)
	if err == nil && f.foreign(v) {
		err = errChanged
	}
	return v, err
}

// foreign reports whether a value belongs to another type than the statement was made for,
// where a bound value would be rounded to that type without an error.
func (f form) foreign(v Value) bool {
	switch f.cast {
	case "real": // the text protocol may round it to 15 digits
		n, ok := v.Any().(float64)
		return ok && math.Abs(float64(float32(n))-n) > 1e-14*math.Abs(n)
	case "date":
		return v.num%(24*60*60) != 0 || v.nano != 0 || strings.IndexByte(v.text, 'T') > 0
	case "time without time zone", "time with time zone", "timestamp without time zone", "timestamp with time zone":
		zoned := strings.ContainsAny(v.text[strings.IndexByte(v.text, 'T')+1:], "+-")
		return v.text != "" && v.text[0] <= '9' && v.text[0] >= '0' && zoned != strings.HasSuffix(f.cast, "with time zone")
	}
	if f.class == classDecimal {
		_, digits, _ := strings.Cut(v.text, ".")
		return len(digits) > f.scale
	}
	return f.dialect == SQLite && (v.kind == kindTime || v.kind == kindBool)
}

// read is value for a value of the right type.
func (f form) read(src any) (Value, error) {
	if b, ok := src.([]byte); ok && b == nil {
		src = "" // an empty value: the driver returns NULL as nil
		if f.dialect == SQLite {
			src = []byte{}
		}
	}
	v, err := NewValue(src)
	if err != nil {
		return v, err
	}
	if v.kind != kindBytes && v.kind != kindText {
		return v, nil
	}
	switch f.class {
	case classInt, classNumber, classSet:
		if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
			return Value{kind: kindInt, num: n}, nil
		}
		n, err := strconv.ParseUint(v.text, 10, 64)
		return Value{kind: kindUint, num: int64(n)}, err
	case classFloat, classDouble:
		n, err := strconv.ParseFloat(v.text, 64)
		if err != nil {
			return v, err
		}
		return NewValue(n)
	case classBinary:
		v.kind = kindBytes
	case classPlain:
	case classText:
		v.kind = kindText
		if f.dialect == MySQL && (v.text == "" || v.text[0] > '9' || !strings.ContainsAny(v.text, "-:")) { // no date and no time
			return v, errChanged
		}
	case classDecimal: // a ZEROFILL column has its zeros, and the same column of a UNION has none
		v.kind = kindText
		for len(v.text) > 1 && v.text[0] == '0' && v.text[1] >= '0' && v.text[1] <= '9' {
			v.text = v.text[1:]
		}
	default:
		if f.dialect != SQLite {
			v.kind = kindText
		}
	}
	return v, nil
}

// compareTypes decides which keys are compared with the types of a result. A type that the
// statement converts to text is not visible there. On MariaDB and MySQL, form.value finds
// texts that are no dates.
func (c *compiled) compareTypes() {
	c.typed = make([]int, len(c.forms))
	behind := len(c.columns)
	for i, f := range c.forms {
		at, visible := c.taps[i], f.raw && f.dialect != SQLite
		if at < 0 {
			at = behind
			behind++
			before, after := f.sel()
			visible = visible && before+after == ""
		}
		if !visible {
			at = -1
		}
		c.typed[i] = at
		// Drivers return one Go type for times with and without zone. They differ in such a session.
		c.hidden = c.hidden || visible && (f.zoned || f.class != classInt && f.class != classTime)
	}
}

// changed reports whether a sort key of a result has another type than the statement was
// made for: after a migration, or in the schema of another tenant.
func (c *compiled) changed(rows Rows) bool {
	var reported []form
	for i, at := range c.typed {
		if at < 0 {
			continue
		}
		f := c.forms[i]
		if reported == nil {
			reported = reportedForms(rows, f.dialect)
		}
		if at < len(reported) && (reported[at].class != f.class || f.dialect == Postgres && reported[at].cast != f.cast) {
			return true
		}
	}
	return false
}

// seen reports whether the values of a row show that no type has changed. Drivers return an
// int64 for an integer, and a time.Time for a time. To ask a driver for the types of a result
// costs a twentieth of a page.
func (c *compiled) seen(row *keyedRow) bool {
	for i, at := range c.typed {
		if at >= 0 && !row.keys[i].shown {
			return false
		}
	}
	return true
}

// reportedForms returns the forms of the columns of a result, or nothing if the driver does
// not report types.
func reportedForms(rows Rows, d Dialect) (list []form) {
	switch rows := rows.(type) {
	case interface{ TypeNames() []string }: // of pgxpage
		for _, name := range rows.TypeNames() {
			list = append(list, postgresForm(postgresNames[name]))
		}
	case interface {
		ColumnTypes() ([]*sql.ColumnType, error)
	}:
		types, err := rows.ColumnTypes()
		if err != nil {
			return nil
		}
		known := false // lib/pq has no names for the types of extensions
		for _, t := range types {
			name := t.DatabaseTypeName()
			known = known || name != ""
			f := postgresForm(postgresNames[name])
			if d == MySQL {
				f, _ = mysqlForm(strings.TrimPrefix(name, "UNSIGNED "), t)
			}
			list = append(list, f)
		}
		if !known {
			return nil
		}
	}
	return list
}

// postgresNames has the names of pg_typeof for the names of drivers, if drivers return the
// values of a type unchanged.
var postgresNames = map[string]string{
	"INT2": "smallint", "INT4": "integer", "INT8": "bigint", "FLOAT8": "double precision", "BOOL": "boolean", "BYTEA": "bytea",
	"TEXT": "text", "VARCHAR": "text", "NAME": "text",
	"DATE": "date", "TIMESTAMP": "timestamp without time zone", "TIMESTAMPTZ": "timestamp with time zone",
}

// form is the form of the i-th key.
func (q Seek) form(d Dialect, i int) form {
	if i < len(q.forms) {
		return q.forms[i]
	}
	return form{dialect: d}
}

// typeKey identifies a described expression.
type typeKey struct {
	dialect           Dialect
	from, query, expr string
}

// forms returns the forms of the keys, in their order, or false if one is unknown.
func (c *listCache) forms(d Dialect, b *Base, keys []Key) ([]form, bool) {
	query := b.masked(d)
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := make([]form, len(keys))
	for i, k := range keys {
		f, ok := c.types[typeKey{d, b.From, query, k.Expr}]
		if !ok {
			return nil, false
		}
		list[i] = f
	}
	return list, true
}

func (c *listCache) store(d Dialect, b *Base, keys []Key, forms []form) {
	query := b.masked(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.types == nil || len(c.types) > mostCached {
		c.types = make(map[typeKey]form)
	}
	for i, k := range keys {
		c.types[typeKey{d, b.From, query, k.Expr}] = forms[i]
	}
}
