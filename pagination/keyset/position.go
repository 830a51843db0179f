package keyset

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/pagination"
)

// cursor is encode for an order that may lack the tie-break, because another unique column
// makes it total. The tie-break of a long value is then read from its row.
func (k *Keyset[T]) cursor(ctx context.Context, source Seeker[T], scope Scope, order Order, at Position) (string, error) {
	cursor, err := k.encode(scope, order, at)
	if !errors.Is(err, errLong) {
		return cursor, err
	}
	n := len(order.keys)
	q := Seek{Order: order, After: at.Values, Inclusive: true, Limit: 1, also: append(order.Keys(), k.tieOrder.keys...)}
	b, failed := source.Seek(ctx, q)
	if failed == nil {
		failed = k.checked(q, &b)
	}
	if failed != nil || len(b.Rows) == 0 {
		return "", errors.Join(err, failed)
	}
	return k.encodeShort(scope, at, b.Keys[n:])
}

// withTies reads a batch again with the keys of its order and the tie-break. It is empty if
// the source cannot.
func (k *Keyset[T]) withTies(ctx context.Context, source Seeker[T], q Seek) *Batch[T] {
	q.also = append(q.Order.Keys(), k.tieOrder.keys...)
	b, err := source.Seek(ctx, q)
	if err != nil || k.checked(q, &b) != nil {
		return &Batch[T]{}
	}
	return &b
}

// longCursor is cursor for a row of a batch with tie-breaks.
func (k *Keyset[T]) longCursor(ctx context.Context, source Seeker[T], scope Scope, order Order, at Position, long *Batch[T]) (string, error) {
	n := len(order.keys)
	for row := range slices.Chunk(long.Keys, n+len(k.tieOrder.keys)) {
		if equalValues(row[:n], at.Values) {
			return k.encodeShort(scope, at, row[n:])
		}
	}
	return k.cursor(ctx, source, scope, order, at)
}

// encode writes a cursor. It writes a short cursor if the values are too long.
func (k *Keyset[T]) encode(scope Scope, order Order, at Position) (string, error) {
	cursor, err := k.cursors.Encode(scope, at)
	if !errors.Is(err, errLong) {
		return cursor, err
	}
	var tie []Value
	for _, column := range k.tieOrder.keys {
		i := slices.IndexFunc(order.keys, func(key Key) bool { return key.Name == column.Name })
		if i < 0 {
			return "", err
		}
		tie = append(tie, at.Values[i])
	}
	return k.encodeShort(scope, at, tie)
}

func (k *Keyset[T]) encodeShort(scope Scope, at Position, tie []Value) (string, error) {
	return k.cursors.Encode(scope, Position{Backward: at.Backward, Inclusive: at.Inclusive, Values: tie, short: true, sum: sumOf(at.Values)})
}

func sumOf(values []Value) uint64 {
	h := fnv.New64a()
	for _, v := range values {
		fmt.Fprintf(h, "%d:%d:%d:%d:%s", v.kind, v.nano, v.num, len(v.text), v.text)
	}
	return h.Sum64()
}

func (k *Keyset[T]) decode(ctx context.Context, source Seeker[T], scope Scope, order Order, cursor string) (Position, error) {
	at, err := k.cursors.open(&scope, len(order.keys), len(k.tieOrder.keys), cursor)
	if err == nil && at.short {
		at, err = k.lookUp(ctx, source, order, at)
	}
	if err == nil {
		for i, v := range at.Values {
			if v.IsNull() && !order.keys[i].Nullable {
				err = fmt.Errorf("%w: NULL in a key that has none", ErrInvalidCursor)
			}
		}
	}
	if err == nil || !errors.Is(err, ErrInvalidCursor) {
		return at, err
	}
	kind, detail := ErrInvalidCursor, "Invalid cursor"
	if errors.Is(err, ErrExpiredCursor) {
		kind, detail = ErrExpiredCursor, "Expired cursor"
	}
	status := http.StatusNotFound
	if k.strict {
		status = http.StatusBadRequest
	}
	return at, &pagination.RequestError{
		Status: status, Detail: detail, Parameter: k.cursorParam, Problem: k.strict,
		Kind: kind, Reason: strings.TrimPrefix(err.Error(), ErrInvalidCursor.Error()+": "),
	}
}

// lookUp completes a short position by a look-up of its row.
func (k *Keyset[T]) lookUp(ctx context.Context, source Seeker[T], order Order, at Position) (Position, error) {
	keys := slices.Clone(k.tieOrder.keys)
	for _, key := range order.keys {
		if !slices.ContainsFunc(k.tieOrder.keys, func(tie Key) bool { return tie.Name == key.Name }) {
			keys = append(keys, key)
		}
	}
	q := Seek{Order: k.tieOrder, After: at.Values, Inclusive: true, Limit: 1, also: keys}
	b, err := source.Seek(ctx, q)
	if err != nil {
		return Position{}, err
	}
	if err := k.checked(q, &b); err != nil {
		return Position{}, err
	}
	gone := fmt.Errorf("%w: its row was changed or deleted, and its values are too long for a cursor", ErrInvalidCursor)
	if len(b.Rows) == 0 {
		return Position{}, gone
	}
	full := Position{Backward: at.Backward, Inclusive: at.Inclusive, Values: make([]Value, len(order.keys))}
	for i, key := range order.keys {
		full.Values[i] = b.Keys[slices.IndexFunc(keys, func(have Key) bool { return have.Name == key.Name })]
	}
	if sumOf(full.Values) != at.sum {
		return Position{}, gone
	}
	return full, nil
}
