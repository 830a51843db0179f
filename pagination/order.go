package pagination

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Nulls is the place of NULLs in an order.
type Nulls uint8

// The places of NULLs. The native place is the one that the database's indexes have:
// above every value on PostgreSQL (last ascending, first descending), below every value
// on SQLite, MariaDB and MySQL. Another place is served too, by a statement with one
// part for the NULLs.
const (
	NullsNative Nulls = iota
	NullsFirst
	NullsLast
)

// Key is one sort key of an [Order].
type Key struct {
	Name     string // for cursors and messages
	Expr     string // SQL expression; part of the statement as it is, so never from a client
	Kind     Kind   // type of its values
	Desc     bool   // descending
	Nullable bool   // may be NULL; a key wrongly declared NOT NULL loses its NULL rows
	Nulls    Nulls  // place of NULLs, whatever the direction
	Unique   bool   // no two rows have the same value
}

// Order is a total order: its keys end with one that is unique and never NULL, so that
// every row has one place. Make it with [NewOrder] or [Keyset.Order].
type Order struct {
	keys []Key
	spec string // String's
}

// NewOrder returns the order of the keys, and an error if it is not total: without a
// key that is unique and not NULL, rows with equal keys would be lost or doubled between
// pages. If several columns are unique only together, together names their keys. Keys
// behind the one that settles the order are left out.
func NewOrder(together []string, keys ...Key) (Order, error) {
	var o Order
	missing := len(together)
	for _, k := range keys {
		if k.Expr == "" || k.Kind == 0 || k.Kind > KindUUID {
			return Order{}, fmt.Errorf("pagination: sort key %q needs an Expr and a Kind", k.Name)
		}
		o.keys = append(o.keys, k)
		if k.Unique && !k.Nullable {
			return o.specified(), nil
		}
		if slices.Contains(together, k.Name) {
			if k.Nullable {
				return Order{}, fmt.Errorf("pagination: sort key %q breaks ties and must not be nullable", k.Name)
			}
			if missing--; missing == 0 {
				return o.specified(), nil
			}
		}
	}
	return Order{}, errors.New("pagination: the order is not total; add a key that is Unique and not Nullable")
}

// Keys returns a copy of the keys.
func (o Order) Keys() []Key { return slices.Clone(o.keys) }

// String is the order's specification, part of the scope of its cursors: a cursor is of
// no use in an order that differs in any of it.
func (o Order) String() string { return o.spec }

func (o Order) specified() Order {
	b := make([]byte, 0, 128)
	for _, k := range o.keys {
		b = strconv.AppendQuote(b, k.Name)
		b = strconv.AppendQuote(b, k.Expr)
		b = append(b, 'A'+byte(k.Kind), '0'+byte(k.Nulls))
		b = strconv.AppendBool(b, k.Desc)
		b = strconv.AppendBool(b, k.Nullable)
	}
	o.spec = string(b)
	return o
}

func (o Order) kinds() []Kind {
	kinds := make([]Kind, len(o.keys))
	for i, k := range o.keys {
		kinds[i] = k.Kind
	}
	return kinds
}
