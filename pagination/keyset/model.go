package keyset

import (
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Model is a list declared once by the tags of a struct: the columns of the statement, the
// columns that clients may sort by, and how a row is read.
//
//	type Sale struct {
//		ID        int64      `db:"id" page:"sort,unique"`
//		CreatedAt time.Time  `db:"created_at" page:"sort"`
//		ClosedAt  *time.Time `db:"closed_at" page:"sort"` // a pointer: may be NULL
//		Note      string     `db:"note"`
//	}
//
// The words of the page tag are sort, unique, null, first and last. null is for a column
// that may be NULL although the type of its field does not show it. first and last are the
// place of NULLs. A field that is a pointer or a sql.Null may be NULL. A field is not a
// column if it lacks the first tag or has "-" as its name. Fields of embedded structs are
// included.
type Model[T any] struct {
	Columns []string    // the columns of the statement, for Base.Columns
	Sort    []Column[T] // the columns that clients may sort by, for New

	fields [][]int
	zero   bool // NULL leaves a field at its zero value
}

// NewModel reads the tags of T. tag names the tag with the names of the columns, such as
// "db". prefix stands before each column in the statement, such as "s." for "FROM sales s".
func NewModel[T any](tag, prefix string) (*Model[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("keyset: NewModel needs a struct, and %v is none", t)
	}
	m := &Model[T]{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get(tag), ",")
		if !f.IsExported() || name == "" || name == "-" {
			if f.Tag.Get("page") != "" {
				return nil, fmt.Errorf("keyset: field %s has a page tag and is no column; export it and give it the tag %s", f.Name, tag)
			}
			continue
		}
		for i := 1; i < len(f.Index); i++ {
			if e := t.FieldByIndex(f.Index[:i]); e.Type.Kind() == reflect.Pointer && !e.IsExported() {
				return nil, fmt.Errorf("keyset: field %s cannot be set behind the embedded pointer *%s; embed the struct itself, or export its type", f.Name, e.Name)
			}
		}
		if slices.Contains(m.Columns, prefix+name) {
			return nil, fmt.Errorf("keyset: two fields of %v are the column %s", t, name)
		}
		m.Columns = append(m.Columns, prefix+name)
		m.fields = append(m.fields, f.Index)
		column, sorted, err := SortColumn[T](name, prefix+name, f)
		if err != nil {
			return nil, err
		}
		if sorted {
			m.Sort = append(m.Sort, column)
		}
	}
	if len(m.Sort) == 0 {
		return nil, fmt.Errorf(`keyset: no field of %v has the tags %s:"name" and page:"sort"`, t, tag)
	}
	return m, nil
}

// SortColumn reads the page tag of a field, for adapters with their own list of columns of
// a struct. It reports false for a field without the word sort.
func SortColumn[T any](name, expr string, f reflect.StructField) (Column[T], bool, error) {
	c := Column[T]{Name: name, Expr: expr, Nullable: nullable(f.Type)}
	sorted, words := false, 0
	for word := range strings.SplitSeq(f.Tag.Get("page"), ",") {
		words++
		switch strings.TrimSpace(word) {
		case "":
			words--
		case "sort":
			sorted = true
		case "unique":
			c.Unique = true
		case "null":
			c.Nullable = true
		case "first", "last":
			if c.Nulls != NullsNative {
				return c, false, fmt.Errorf("keyset: the page tag of field %s has two places for NULLs", f.Name)
			}
			c.Nulls = map[string]Nulls{"first": NullsFirst, "last": NullsLast}[strings.TrimSpace(word)]
		default:
			return c, false, fmt.Errorf("keyset: the page tag of field %s has the word %q; it knows sort, unique, null, first and last", f.Name, word)
		}
	}
	if words > 0 && !sorted {
		return c, false, fmt.Errorf("keyset: the page tag of field %s has no effect without the word sort", f.Name)
	}
	return c, sorted, nil
}

// nullable reports whether the type of a field can hold a NULL.
func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer:
		return true
	case reflect.Struct:
		_, valid := t.FieldByName("Valid")
		return valid && reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]())
	default:
		return false
	}
}

// Lenient returns the model with NULLs read as the zero value of fields that are not
// pointers, as ent does.
func (m *Model[T]) Lenient() *Model[T] {
	lenient := *m
	lenient.zero = true
	return &lenient
}

// Scan reads one row.
func (m *Model[T]) Scan(r Scanner) (T, error) {
	var row T
	v := reflect.ValueOf(&row).Elem()
	dest := make([]any, len(m.fields))
	for i, index := range m.fields {
		f := field(v, index)
		if m.zero && f.Kind() != reflect.Pointer {
			dest[i] = reflect.New(reflect.PointerTo(f.Type())).Interface()
		} else {
			dest[i] = f.Addr().Interface()
		}
	}
	if err := r.Scan(dest...); err != nil || !m.zero {
		return row, err
	}
	for i, index := range m.fields {
		if f := field(v, index); f.Kind() != reflect.Pointer {
			if p := reflect.ValueOf(dest[i]).Elem(); !p.IsNil() {
				f.Set(p.Elem())
			}
		}
	}
	return row, nil
}

// field is FieldByIndex, and allocates embedded pointers.
func field(v reflect.Value, index []int) reflect.Value {
	for i, n := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v
}
