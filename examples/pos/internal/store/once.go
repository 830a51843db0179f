package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
)

// Once makes a change happen only once, however often the client sends it. Without a Key it
// happens each time.
type Once struct {
	User string
	Key  string // the client's Idempotency-Key
	Body []byte // the request, to detect a key that another request used
}

// Conflict is the reason why a change cannot be made now. The database is unchanged. Detail is
// for programmers. Code and the figures are for pages, which have their own words.
type Conflict struct {
	Detail string
	Code   string // "stock", "balance", "inactive", "price", "spent", "voided", "cancelled", "exists", "manager" or ""

	Product, Left, Balance, Total int64
	Prices                        map[int64]int64
}

func (c Conflict) Error() string { return c.Detail }

// Invalid is the reason why a change is not valid. The database is unchanged.
type Invalid struct{ Detail string }

func (i Invalid) Error() string { return i.Detail }

// ErrKeyReused means that an earlier request used the same Idempotency-Key.
var ErrKeyReused = errors.New("this Idempotency-Key was used for another request: choose a new one")

// key and fingerprint are the columns of a record, NULL without a key.
func (o Once) key() any {
	if o.Key == "" {
		return nil
	}
	return o.Key
}

func (o Once) fingerprint() any {
	if o.Key == "" {
		return nil
	}
	sum := sha256.Sum256(o.Body)
	return hex.EncodeToString(sum[:])
}

// seenKey has the columns of a SELECT that find the uses of a key: a sale and its fingerprint,
// a top-up and its fingerprint, and whether the key is cancelled.
const seenKey = `(SELECT id FROM sales WHERE cashier = ? AND request_key = ?), (SELECT fingerprint FROM sales WHERE cashier = ? AND request_key = ?),
	(SELECT id FROM topups WHERE cashier = ? AND request_key = ?), (SELECT fingerprint FROM topups WHERE cashier = ? AND request_key = ?),
	(SELECT cancelled FROM request_keys WHERE cashier = ? AND request_key = ?)`

func (o Once) seenArgs() []any {
	k := o.key()
	return []any{o.User, k, o.User, k, o.User, k, o.User, k, o.User, k}
}

// seen is the result of seenKey.
type seen struct {
	sale, topUp           sql.NullInt64
	salePrint, topUpPrint sql.NullString
	cancelled             sql.NullInt64
}

func (s *seen) dest() []any {
	return []any{&s.sale, &s.salePrint, &s.topUp, &s.topUpPrint, &s.cancelled}
}

// check returns a Conflict if the key is cancelled, and ErrKeyReused if it belongs to another
// request. Otherwise it returns the sale and the top-up of the key, or 0.
func (s *seen) check(o Once) (sale, topUp int64, err error) {
	if s.cancelled.Int64 != 0 {
		return 0, 0, Conflict{Code: "cancelled", Detail: "this Idempotency-Key was cancelled: choose a new one"}
	}
	for _, found := range []sql.NullString{s.salePrint, s.topUpPrint} {
		if found.Valid && found.String != o.fingerprint() {
			return 0, 0, ErrKeyReused
		}
	}
	return s.sale.Int64, s.topUp.Int64, nil
}

// use stores the key of a change in its batch. It fails, and the transaction is retried, if
// another transaction has just used or cancelled the key.
func (o Once) use(b *batch, cancelled int) {
	if o.Key != "" {
		b.add("INSERT INTO request_keys (cashier, request_key, cancelled) VALUES (?, ?, ?)", o.User, o.Key, cancelled)
	}
}

// Cancel ends a user's Idempotency-Key: a request with it that arrives later is refused. If the
// key has made a sale or a top-up, Cancel changes nothing and returns that record.
func (s *Store) Cancel(ctx context.Context, user, key string) (sale *Sale, topUp *TopUp, err error) {
	once := Once{User: user, Key: key}
	var found seen
	err = s.inTx(ctx, func(tx *Tx) error {
		found = seen{}
		err := tx.queryRow(ctx, "SELECT "+seenKey, once.seenArgs()...).Scan(found.dest()...)
		if err != nil || found.sale.Valid || found.topUp.Valid || found.cancelled.Int64 != 0 {
			return err
		}
		b := &batch{}
		once.use(b, 1)
		return tx.run(ctx, b)
	})
	switch {
	case err != nil:
	case found.sale.Valid:
		var made Sale
		made, err = s.Sale(ctx, found.sale.Int64)
		sale = &made
	case found.topUp.Valid:
		var made TopUp
		made, err = s.topUpByID(ctx, found.topUp.Int64)
		topUp = &made
	}
	return sale, topUp, err
}

// seenBefore stores the key of a change without a record of its own. It reports whether the same
// request has used the key before, and returns ErrKeyReused if another one has.
func (t *Tx) seenBefore(ctx context.Context, what string, o Once) (bool, error) {
	sum := sha256.Sum256([]byte(o.User + "\n" + o.Key))
	name := what + ":" + hex.EncodeToString(sum[:16])
	isNew, err := t.insertNew(ctx, "meta (name, value) VALUES (?, ?)", name, o.fingerprint())
	if err != nil || isNew {
		return false, err
	}
	var first string
	if err := t.queryRow(ctx, "SELECT value FROM meta WHERE name = ?", name).Scan(&first); err != nil {
		return false, err
	}
	if first != o.fingerprint() {
		return false, ErrKeyReused
	}
	return true, nil
}
