package keyset

import (
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// keyedRow is a row with its sort keys: in columns of the list, or behind them.
type keyedRow struct {
	Rows
	columns int
	keys    []keyDest
	taps    []int // the column of each key; -1 = a column behind those of the list
	dest    []any
	cells   []cell // one for each column of a result of database/sql
	scanned bool
	again   bool // a destination needs a conversion of database/sql
}

func newKeyedRow(rows Rows, columns int, forms []form, taps []int) *keyedRow {
	r := &keyedRow{Rows: rows, columns: columns, keys: make([]keyDest, len(forms)), taps: taps, dest: make([]any, columns, columns+len(forms))}
	if _, ok := rows.(*sql.Rows); ok {
		r.cells = make([]cell, columns)
	}
	for i := range r.keys {
		r.keys[i].form = forms[i]
		if r.column(i) < 0 {
			r.dest = append(r.dest, &r.keys[i])
		}
	}
	return r
}

// column returns the column of the list that holds a key, or -1.
func (r *keyedRow) column(key int) int {
	if r.taps == nil {
		return -1
	}
	return r.taps[key]
}

// Scan reads the columns of the row, and the keys for the package.
func (r *keyedRow) Scan(dest ...any) error {
	if len(dest) != r.columns {
		return fmt.Errorf("keyset: Base has %d columns and Scan was called with %d destinations", r.columns, len(dest))
	}
	r.scanned = true
	if slices.ContainsFunc(dest, func(d any) bool { _, raw := d.(*sql.RawBytes); return raw }) {
		// RawBytes allow no second Scan, so the keys come first.
		if err := r.scanKeys(); err != nil {
			return err
		}
		return r.scan(dest)
	}
	copy(r.dest, dest)
	if err := r.scanTapped(); err != nil || !r.again {
		return err
	}
	return r.scan(dest)
}

// scanTapped scans with each tapped key between its column and the caller's destination.
func (r *keyedRow) scanTapped() error {
	r.again = false
	for i := range r.keys {
		if at := r.column(i); at >= 0 {
			r.keys[i].inner, r.keys[i].row = r.dest[at], r
			r.dest[at] = &r.keys[i]
		}
	}
	for i := range r.cells {
		if c := &r.cells[i]; !c.converted && assignable(r.dest[i]) {
			c.inner, c.row = r.dest[i], r
			r.dest[i] = c
		}
	}
	return r.Rows.Scan(r.dest...)
}

// scan reads the columns into the caller's destinations.
func (r *keyedRow) scan(dest []any) error {
	copy(r.dest, dest)
	return r.Rows.Scan(r.dest...)
}

// Unwrap returns the result itself, for libraries with their own scanning. Sort keys that
// are not columns of the list are further columns, named mainstay_k1, mainstay_k2, ….
func (r *keyedRow) Unwrap() Rows { return r.Rows }

// scanKeys reads the keys of a row that another library scans.
func (r *keyedRow) scanKeys() error {
	for i := range r.columns {
		r.dest[i] = ignored{}
	}
	return r.scanTapped()
}

// ignored receives a column that was already read.
type ignored struct{}

// Scan implements sql.Scanner.
func (ignored) Scan(any) error { return nil }

// keyDest receives one sort key and passes it to the caller's destination.
type keyDest struct {
	cell
	form  form
	value Value
	shown bool // the Go type of the value shows the class of the column
}

// Scan implements sql.Scanner.
func (d *keyDest) Scan(src any) (err error) {
	if n, ok := src.(int64); ok {
		d.value, d.shown = Value{kind: kindInt, num: n}, d.form.class == classInt
	} else if d.value, err = d.form.value(src); err != nil {
		return err
	} else if d.value.kind == kindTime {
		d.shown = d.form.class == classTime
	}
	switch inner := d.inner.(type) {
	case nil, ignored:
		return nil
	case *keyDest: // two keys of one column
		return inner.Scan(src)
	}
	return d.cell.Scan(src)
}

// cell passes a value to the caller's destination. For a destination that is no Scanner,
// database/sql takes five times as long, by reflection.
type cell struct {
	inner     any // nil = none
	row       *keyedRow
	converted bool // the destination needed a conversion before
}

// Scan implements sql.Scanner.
func (c *cell) Scan(src any) error {
	if v := reflect.ValueOf(c.inner); v.Kind() == reflect.Pointer && v.IsNil() || !assign(c.inner, src) {
		c.row.again, c.converted = true, true
	}
	return nil
}

// assignable reports whether assign stores values in a destination and database/sql would
// use reflection.
func assignable(dest any) bool {
	switch dest.(type) {
	case *int64, **int64, *int, **int, **string, **time.Time, *float64, **float64:
		return true
	}
	return false
}

// assign stores a value in a destination of the same type. It leaves every other pair to
// database/sql. Pointers get a copy: &src would allocate every value.
func assign(dest, src any) bool {
	switch src := src.(type) {
	case int64:
		switch d := dest.(type) {
		case *int64:
			*d = src
			return true
		case **int64:
			*d = new(src)
			return true
		case *int:
			*d = int(src)
			return int64(*d) == src
		case **int:
			*d = new(int(src))
			return int64(**d) == src
		}
	case string:
		switch d := dest.(type) {
		case *string:
			*d = src
			return true
		case **string:
			*d = new(src)
			return true
		}
	case []byte:
		switch d := dest.(type) {
		case *string:
			*d = string(src)
			return true
		case **string:
			*d = new(string(src))
			return true
		}
	case time.Time:
		switch d := dest.(type) {
		case *time.Time:
			*d = src
			return true
		case **time.Time:
			*d = new(src)
			return true
		}
	case float64:
		switch d := dest.(type) {
		case *float64:
			*d = src
			return true
		case **float64:
			*d = new(src)
			return true
		}
	case nil:
		switch d := dest.(type) {
		case **int64:
			*d = nil
			return true
		case **int:
			*d = nil
			return true
		case **float64:
			*d = nil
			return true
		case **string:
			*d = nil
			return true
		case **time.Time:
			*d = nil
			return true
		}
	}
	return false
}
