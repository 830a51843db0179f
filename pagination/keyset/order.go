package keyset

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
)

// Nulls is the place of NULLs in an order.
type Nulls uint8

// The places of NULLs. The native place is that of the database's indexes: above every
// value on PostgreSQL and Oracle (last ascending, first descending), and below every value
// on SQLite, MariaDB, MySQL and SQL Server. Any other place needs a separate part of the
// statement for the NULLs.
const (
	NullsNative Nulls = iota
	NullsFirst
	NullsLast
)

// Key is one sort key of an [Order].
type Key struct {
	Name     string // name in cursors and messages
	Expr     string // SQL expression, copied into the statement: never from a client
	Args     []any  // values of the "?" in Expr
	Desc     bool   // descending
	Nullable bool   // may be NULL
	Nulls    Nulls  // place of NULLs in both directions
	Unique   bool   // no two rows have the same value
}

// Order is a total order: it ends with a key that is unique and never NULL, so that every
// row has one place. Create it with [NewOrder] or [Keyset.Order].
type Order struct {
	keys  []Key
	spec  string // String's
	cache *listCache
}

// NewOrder returns the order of the keys. It fails if the order is not total, because rows
// with equal keys are then lost or doubled between pages. If several columns are unique
// only together, list their keys in together. NewOrder drops the keys behind the key that
// makes the order total.
func NewOrder(together []string, keys ...Key) (Order, error) {
	for i, k := range keys {
		if err := k.check(); err != nil {
			return Order{}, err
		}
		if k.Name != "" && slices.ContainsFunc(keys[:i], func(have Key) bool { return have.Name == k.Name }) {
			return Order{}, fmt.Errorf("keyset: two sort keys are called %q", k.Name)
		}
	}
	if name, twice := repeated(together); twice {
		return Order{}, fmt.Errorf("keyset: the columns that are unique together have %q twice", name)
	}
	return newOrder(&listCache{}, together, keys)
}

// repeated returns a name that occurs twice.
func repeated(names []string) (string, bool) {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return name, true
		}
	}
	return "", false
}

func newOrder(cache *listCache, together []string, keys []Key) (Order, error) {
	o := Order{cache: cache}
	missing := len(together)
	for _, k := range keys {
		o.keys = append(o.keys, k)
		if k.Unique && !k.Nullable {
			return o.specified(), nil
		}
		if slices.Contains(together, k.Name) {
			if k.Nullable {
				return Order{}, fmt.Errorf("keyset: sort key %q breaks ties and must not be nullable", k.Name)
			}
			if missing--; missing == 0 {
				return o.specified(), nil
			}
		}
	}
	return Order{}, errors.New("keyset: the order is not total; add a key that is Unique and not Nullable")
}

// check rejects an expression that fails in every statement of every dialect.
func (k Key) check() error {
	if k.Nulls > NullsLast {
		return fmt.Errorf("keyset: the Nulls of sort key %q is %d; it is NullsNative, NullsFirst or NullsLast", k.Name, k.Nulls)
	}
	for _, a := range k.Args {
		if _, err := appendArg(nil, a); err != nil {
			return fmt.Errorf("%w (an Arg of sort key %q)", err, k.Name)
		}
	}
	err := k.checkIn(Generic)
	for d := Postgres; d <= Oracle && err != nil; d++ {
		if k.checkIn(d) == nil && (d < SQLServer || !dollar.MatchString(k.Expr)) {
			return nil
		}
	}
	return err
}

// dollar is a placeholder of PostgreSQL, and money of SQL Server.
var dollar = regexp.MustCompile(`\$\d`)

// checkIn rejects an expression that fails in every statement of a dialect, and a numbered
// placeholder, which would stand for a value of the filter.
func (k Key) checkIn(d Dialect) error {
	if fault := exprFault(d, k.Expr); fault != "" {
		return fmt.Errorf("keyset: the Expr of sort key %q %s", k.Name, fault)
	}
	marks, numbered := 0, ""
	placeholders(k.Expr, d, func(p placeholder) {
		switch {
		case p.number > 0:
			numbered = k.Expr[p.at:p.end]
		case p.number == 0:
			marks++
		}
	})
	if numbered != "" {
		return fmt.Errorf(`keyset: the Expr of sort key %q has the placeholder %s; write placeholders as "?" and set Args`, k.Name, numbered)
	}
	if marks != len(k.Args) {
		return fmt.Errorf(`keyset: the Expr of sort key %q has %d placeholders "?" and %d Args; write a literal question mark as "??"`, k.Name, marks, len(k.Args))
	}
	return nil
}

// Keys returns a copy of the keys.
func (o Order) Keys() []Key { return slices.Clone(o.keys) }

// String returns the specification of the order. Cursors are bound to it: a cursor of
// another order is rejected.
func (o Order) String() string { return o.spec }

func (o Order) specified() Order {
	b := make([]byte, 0, 128)
	for _, k := range o.keys {
		b = strconv.AppendQuote(b, k.Name)
		b = strconv.AppendQuote(b, k.Expr)
		for _, a := range k.Args {
			b, _ = appendArg(b, a) // check has read it
		}
		b = append(b, '0'+byte(k.Nulls))
		b = strconv.AppendBool(b, k.Desc)
		b = strconv.AppendBool(b, k.Nullable)
	}
	o.spec = string(b)
	return o
}

// appendArg writes the content of an argument. Two processes write the same text for equal
// values, also behind pointers.
func appendArg(b []byte, arg any) ([]byte, error) {
	v, err := NewValue(arg)
	if err == nil {
		return strconv.AppendQuote(append(b, 'a'+byte(v.kind)), string(v.append(nil))), nil
	}
	rv := reflect.ValueOf(arg)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	if rv.Kind() != reflect.Slice && rv.Kind() != reflect.Array {
		return b, err
	}
	b = strconv.AppendInt(append(b, '['), int64(rv.Len()), 10)
	for i := range rv.Len() {
		if b, err = appendArg(b, rv.Index(i).Interface()); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}
