package keyset

import (
	"errors"
	"fmt"
)

// ErrWalk is the error of a walk whose source and order disagree: rows would be lost,
// doubled or read without end. The error is always a [WalkError].
var ErrWalk = errors.New("keyset: the walk is not in order")

// WalkError names the column of a list that breaks its walks. It wraps [ErrWalk].
type WalkError struct {
	List    string // the resource of the keyset; "" if a source reports it
	Column  string // the name of the column
	Problem string // the fault and what to do
}

// Error names the list, the column and the fault.
func (e *WalkError) Error() string {
	if e.List == "" {
		return fmt.Sprintf("keyset: column %q %s", e.Column, e.Problem)
	}
	return fmt.Sprintf("keyset: list %q, column %q %s", e.List, e.Column, e.Problem)
}

// Unwrap returns [ErrWalk].
func (e *WalkError) Unwrap() error { return ErrWalk }

// checked is compared. After a fault the source asks the database again, because a table may
// have changed.
func (k *Keyset[T]) checked(q Seek, b *Batch[T]) error {
	err := k.compared(q, b)
	if err != nil {
		q.Order.cache.forget()
	}
	return err
}

// compared completes the keys of a batch and compares it with the position and the order.
func (k *Keyset[T]) compared(q Seek, b *Batch[T]) error {
	keys := q.Order.keys
	if q.also != nil {
		keys = q.also
	}
	n := len(keys)
	if b.values { // an empty list must not hide the fault
		for _, key := range keys {
			if k.columns[key.Name].Value == nil {
				return noValue(key)
			}
		}
	}
	if b.Keys == nil && len(b.Rows) > 0 {
		b.Keys = make([]Value, 0, len(b.Rows)*n)
		for _, row := range b.Rows {
			for _, key := range keys {
				v, err := k.valueOf(key, row)
				if err != nil {
					return err
				}
				b.Keys = append(b.Keys, v)
			}
		}
	}
	if len(b.Keys) != len(b.Rows)*n {
		return fmt.Errorf("keyset: a source returned %d keys for %d rows of %d keys each", len(b.Keys), len(b.Rows), n)
	}
	if q.also != nil {
		return nil
	}
	before := q.After
	for i := range b.Rows {
		row := b.Keys[i*n : i*n+n]
		for j := range row {
			if row[j].kind == kindNull && !keys[j].Nullable {
				return k.broken(keys[j], undeclaredNull)
			}
		}
		if before != nil {
			if err := k.follows(q, b, before, row, i == 0); err != nil {
				return err
			}
		}
		if i > 0 && len(q.After) == n && !q.Inclusive && row[n-1] == q.After[n-1] && equalValues(row, q.After) {
			return k.broken(keys[n-1], "is not behind the position: the source returns rows from before it. Apply Seek.After")
		}
		before = row
	}
	return nil
}

const undeclaredNull = "has a NULL but was not declared Nullable"

func (k *Keyset[T]) valueOf(key Key, row T) (Value, error) {
	value := k.columns[key.Name].Value
	if value == nil {
		return Value{}, noValue(key)
	}
	v, err := NewValue(value(row))
	if err != nil {
		return v, fmt.Errorf("%w (column %q)", err, key.Name)
	}
	return v, nil
}

func noValue(key Key) error {
	return fmt.Errorf("keyset: column %q has no Value, and the source returned no keys; set Value or use SQLSource", key.Name)
}

func (k *Keyset[T]) broken(key Key, problem string) error {
	return &WalkError{List: k.resource, Column: key.Name, Problem: problem}
}

// follows reports a row that is not behind another row.
func (k *Keyset[T]) follows(q Seek, b *Batch[T], before, row []Value, first bool) error {
	for j := range row {
		if row[j] == before[j] {
			continue
		}
		key := q.Order.keys[j]
		var behind, known bool
		switch {
		case row[j].kind == kindNull || before[j].kind == kindNull:
			last, placed := k.nullsLast(key, b)
			behind, known = (row[j].kind == kindNull) == (last != q.Backward), placed
		default:
			order, comparable := before[j].compare(row[j], !b.sql && !k.columns[key.Name].Collated)
			if comparable && order == 0 {
				continue // -0 and 0
			}
			behind, known = (order < 0) != (key.Desc != q.Backward), comparable
			if !comparable && b.dialect == MySQL && agree(before[j].text, row[j].text) {
				return k.broken(key, "has two values with the same first 512 bytes, which the server may sort as equal. Sort by LEFT(column, 170)")
			}
		}
		switch {
		case !known || behind:
			return nil
		case first:
			return k.broken(key, fmt.Sprintf("is not behind the position: %s comes after %s. The source must apply Seek.After and sort as the order says", row[j].show(), before[j].show()))
		default:
			return k.broken(key, fmt.Sprintf("is out of order: %s comes after %s. Sort as the order says; set Collated for text that a collation sorts", row[j].show(), before[j].show()))
		}
	}
	last := q.Order.keys[len(row)-1]
	switch {
	case !first:
		return k.broken(last, "was declared unique and is not: two rows of the list have the same sort keys. A join may multiply rows; add a column that tells them apart")
	case !q.Inclusive:
		return k.broken(last, "does not advance: the row at the position comes again. The source must apply Seek.After")
	}
	return nil
}

// agree reports whether two texts begin with the same 512 bytes.
func agree(a, b string) bool {
	const sorted = 512 // half of the default max_sort_length of MariaDB and MySQL
	return len(a) >= sorted && len(b) >= sorted && a[:sorted] == b[:sorted]
}

// nullsLast returns the place of the NULLs of a key, and false if it is not known.
func (k *Keyset[T]) nullsLast(key Key, b *Batch[T]) (last, known bool) {
	switch {
	case key.Nulls != NullsNative:
		return key.Nulls == NullsLast, true
	case !b.sql || b.dialect == Generic:
		return false, false
	default:
		return key.Desc != b.dialect.nullsHigh(), true
	}
}

func equalValues(a, b []Value) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// show returns the kind of a value, without content that must not be in a log.
func (v Value) show() string {
	return [...]string{"NULL", "an integer", "an integer", "a float", "a bool", "a text", "bytes", "a time"}[v.kind] + v.figure()
}

// figure returns numbers and times. They show the fault.
func (v Value) figure() string {
	switch v.kind {
	case kindInt, kindUint, kindFloat, kindBool, kindTime:
		return fmt.Sprintf(" (%v)", v.Any())
	default:
		return ""
	}
}

// until returns the number of rows before the end of a seek, for sources that ignore
// Seek.Until.
func (k *Keyset[T]) until(q Seek, b *Batch[T]) int {
	if b.sql || q.Until == nil {
		return len(b.Rows)
	}
	n := len(q.Order.keys)
	for i := range b.Rows {
		row := b.Keys[i*n : i*n+n]
		if equalValues(row, q.Until) || k.follows(q, b, row, q.Until, true) != nil {
			return i
		}
	}
	return len(b.Rows)
}
