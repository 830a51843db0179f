package keyset

import (
	"errors"
	"fmt"
	"slices"
)

// scanKey is a key in the direction of the walk.
type scanKey struct {
	expr      fragment
	form      form
	desc      bool
	nullable  bool
	nullsLast bool
	native    bool // NULLs are at the place that the index has
	value     Value
	param     fragment // the value as an argument
}

// selectKey is a sort key among the columns of the result.
type selectKey struct {
	expr fragment
	form form
	tap  bool // a column of the list holds it
}

// seekPlan says which ranges hold the rows behind a position, in the order of the walk. The
// ranges are disjoint. The innermost range comes first: the rows that share all keys except
// the last with the position. Each further range shares one key less.
type seekPlan struct {
	keys     []scanKey
	segments []segment
	union    bool // the ranges are separate SELECTs
	bound    bool // the OR form gets a bound on the first key
	limit    fragment
	literal  int         // the limit that is part of the text; 0 = an argument
	selected []selectKey // the keys that Base.Keys selects
}

// segment is a range: the first keys equal to the position, the next ones behind it.
type segment struct {
	from, to int // keys[:from] are equal, keys[from:to] are compared
	test     segmentTest
	strict   bool // without the position itself
}

// fixesFirst reports whether the first key has one value, or NULL, in the segment.
func (s segment) fixesFirst() bool { return s.from > 0 || s.test == isNull }

type segmentTest uint8

const (
	isBehind  segmentTest = iota // compared with the position's value
	isNull                       // NULL
	isNotNull                    // anything but NULL
)

// limitInText returns the limit if it is part of the text, or 0. MariaDB and MySQL plan each
// execution, so a second text would have no use there.
func (q Seek) limitInText(d Dialect) int {
	if q.usual != q.Limit || d == MySQL {
		return 0
	}
	return q.Limit
}

func (q Seek) plan(d Dialect) (*seekPlan, error) {
	if len(q.Order.keys) == 0 {
		return nil, errors.New("keyset: Seek needs an Order made by NewOrder")
	}
	if q.Limit < 1 {
		return nil, errors.New("keyset: Seek needs a positive Limit")
	}
	if len(q.After) != 0 && len(q.After) != len(q.Order.keys) {
		return nil, errors.New("keyset: a position needs one value for each key of its order")
	}
	p := &seekPlan{keys: make([]scanKey, len(q.Order.keys)), bound: d == Generic || d == SQLServer || d == Oracle}
	p.limit = fragment{sql: "?", args: []any{q.argument(fromLimit, 0, q.Limit)}}
	p.literal = q.limitInText(d)
	mixed, foreign := false, false
	for i, k := range q.Order.keys {
		if err := k.checkIn(d); err != nil {
			return nil, err
		}
		sk := scanKey{
			expr: fragment{sql: k.Expr, args: k.Args}, form: q.form(d, i),
			desc: k.Desc != q.Backward, nullable: k.Nullable, native: true,
		}
		if k.Nullable {
			nativeLast := k.Desc != d.nullsHigh()
			last := nativeLast
			switch {
			case k.Nulls != NullsNative:
				last = k.Nulls == NullsLast
			case d == Generic:
				return nil, fmt.Errorf("keyset: say where the NULLs of key %q stand; the native place of this database is not known", k.Name)
			}
			sk.native = last == nativeLast && d != Generic
			sk.nullsLast = last != q.Backward
		}
		if len(q.After) != 0 {
			sk.value = q.After[i]
			sk.param = fragment{sql: "?", args: []any{q.argument(max(q.values, fromAfter), i, sk.form.argument(sk.value))}}
			if sk.value.IsNull() && !k.Nullable {
				return nil, fmt.Errorf("keyset: key %q has a NULL but was not declared Nullable", k.Name)
			}
		}
		mixed = mixed || sk.nullable || i > 0 && sk.desc != p.keys[i-1].desc
		foreign = foreign || !sk.native
		p.keys[i] = sk
	}
	p.selected = make([]selectKey, len(p.keys))
	for i := range p.keys {
		p.selected[i] = selectKey{p.keys[i].expr, p.keys[i].form, q.tapped(i)}
	}
	if q.also != nil {
		p.selected = p.selected[:0]
		for i, k := range q.also {
			p.selected = append(p.selected, selectKey{fragment{sql: k.Expr, args: k.Args}, q.form(d, i), q.tapped(i)})
		}
	}
	ranges := d == Postgres || d == SQLite
	p.union = ranges && mixed || d == MySQL && foreign
	if len(q.After) == 0 {
		// SQLite reads an index from its NULLs or up to them, depending on the order.
		if first := p.keys[0]; p.union && d != SQLite && first.nullable && !first.native {
			p.segments = []segment{{test: isNotNull, to: 1}, {test: isNull, to: 1}}
			if !first.nullsLast {
				slices.Reverse(p.segments)
			}
		}
		return p, nil
	}
	rows := d == Postgres || d == SQLite && p.joined(len(p.keys)) == 0
	for to := len(p.keys); to > 0; {
		from := to - 1
		if rows {
			from = p.joined(to)
		}
		p.addSegments(from, to, !q.Inclusive || to < len(p.keys))
		to = from
	}
	return p, nil
}

// argument returns an argument, or a reference to it for a compiled statement.
func (q Seek) argument(from source, index int, v any) any {
	if q.symbolic {
		return reference{from, index}
	}
	return v
}

func (q Seek) tapped(i int) bool { return i < len(q.taps) && q.taps[i] >= 0 }

// joined returns the first key of a row comparison that ends before a key. A NULL makes
// such a comparison neither true nor false, so only its first key may have NULLs. Rows with
// a NULL in a later key would be lost. SQLite uses a row comparison only for a whole order:
// its search ignores an INTEGER PRIMARY KEY in one, and would pass over all rows that share
// the keys before.
func (p *seekPlan) joined(to int) int {
	from := to - 1
	for ; from > 0; from-- {
		before, k := p.keys[from-1], p.keys[from]
		if before.desc != k.desc || k.nullable || before.nullable && before.value.IsNull() {
			break
		}
	}
	return from
}

// addSegments adds the ranges that share keys[:from] with the position and differ from
// it in keys[from:to].
func (p *seekPlan) addSegments(from, to int, strict bool) {
	k := p.keys[from]
	switch {
	case !k.nullable:
		p.segments = append(p.segments, segment{from: from, to: to, strict: strict})
	case !k.value.IsNull():
		p.segments = append(p.segments, segment{from: from, to: to, strict: strict})
		if k.nullsLast {
			p.segments = append(p.segments, segment{from: from, to: to, test: isNull})
		}
	case !k.nullsLast:
		p.segments = append(p.segments, segment{from: from, to: to, test: isNotNull})
	}
}
