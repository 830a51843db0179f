package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"
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
// a top-up and its fingerprint, whether the key is cancelled, and the fingerprint of a change
// without a record.
const seenKey = `(SELECT id FROM sales WHERE cashier = ? AND request_key = ?), (SELECT fingerprint FROM sales WHERE cashier = ? AND request_key = ?),
	(SELECT id FROM topups WHERE cashier = ? AND request_key = ?), (SELECT fingerprint FROM topups WHERE cashier = ? AND request_key = ?),
	(SELECT cancelled FROM request_keys WHERE cashier = ? AND request_key = ?), (SELECT fingerprint FROM request_keys WHERE cashier = ? AND request_key = ?)`

func (o Once) seenArgs() []any {
	k := o.key()
	return []any{o.User, k, o.User, k, o.User, k, o.User, k, o.User, k, o.User, k}
}

// seen is the result of seenKey.
type seen struct {
	sale, topUp                     sql.NullInt64
	salePrint, topUpPrint, ownPrint sql.NullString
	cancelled                       sql.NullInt64 // 0: used
}

func (s *seen) dest() []any {
	return []any{&s.sale, &s.salePrint, &s.topUp, &s.topUpPrint, &s.cancelled, &s.ownPrint}
}

// check returns a Conflict if the key is cancelled, and ErrKeyReused if it belongs to another
// request. Otherwise it returns the sale and the top-up of the key, or 0.
func (s *seen) check(o Once) (sale, topUp int64, err error) {
	if s.cancelled.Int64 != 0 {
		return 0, 0, Conflict{Code: "cancelled", Detail: "this Idempotency-Key was cancelled: choose a new one"}
	}
	for _, found := range []sql.NullString{s.salePrint, s.topUpPrint, s.ownPrint} {
		if found.Valid && found.String != o.fingerprint() {
			return 0, 0, ErrKeyReused
		}
	}
	return s.sale.Int64, s.topUp.Int64, nil
}

// Lifetimes of the rows in request_keys. A sale and a top-up have the key in their record, so their
// row only decides between the change and a cancellation at the same time.
//
// A cancelled key is refused for as long as a browser keeps the shop's cookies. A request from before
// the cancellation cannot arrive later, because its session has ended by then. A till that knows
// of the cancellation has dropped the key. A till that does not know of it shows the sale as
// unknown, and may sell it.
const (
	recordedKey = 24 * time.Hour
	otherKey    = 400 * 24 * time.Hour
)

// useKey stores the key of a change that has a record with the key.
func (t *Tx) useKey(b *batch, o Once) { t.keepKey(b, o, 0, nil, recordedKey) }

// keepKey stores a key in a batch. The batch fails, and the transaction is retried, if another
// transaction has just used or cancelled the key.
func (t *Tx) keepKey(b *batch, o Once, cancelled int, fingerprint any, lifetime time.Duration) {
	if o.Key != "" {
		b.add("INSERT INTO request_keys (cashier, request_key, cancelled, fingerprint, expires_at) VALUES (?, ?, ?, ?, "+now(t.engine)+" + ?)",
			o.User, o.Key, cancelled, fingerprint, lifetime.Microseconds())
	}
}

// ForgetKeys removes expired rows of request_keys, those of one hour in a transaction.
func (s *Store) ForgetKeys(ctx context.Context) error {
	for {
		var oldest sql.NullInt64
		err := s.queryRow(ctx, []any{&oldest}, "SELECT min(expires_at) FROM request_keys WHERE expires_at < "+now(s.engine))
		if err != nil || !oldest.Valid {
			return err
		}
		err = s.inTx(ctx, func(tx *Tx) error {
			_, err := tx.exec(ctx, "DELETE FROM request_keys WHERE expires_at <= ? AND expires_at < "+now(s.engine), oldest.Int64+time.Hour.Microseconds())
			return err
		})
		if err != nil {
			return err
		}
	}
}

// KeyEnd is the end of an Idempotency-Key: it is cancelled, or it has made a sale, a top-up or a
// change of a stock.
type KeyEnd struct {
	Cancelled bool   `json:"cancelled"`
	Sale      *Sale  `json:"sale"`
	TopUp     *TopUp `json:"topup"`
	Stock     bool   `json:"stock"`
	Stored    bool   `json:"-"` // this call has cancelled it
}

// Cancel ends a user's Idempotency-Key: a request with it that arrives later is refused. If the
// key has made a change, Cancel returns that change and does not undo it.
func (s *Store) Cancel(ctx context.Context, user, key string) (end KeyEnd, err error) {
	once := Once{User: user, Key: key}
	var found seen
	err = s.inTx(ctx, func(tx *Tx) error {
		found, end.Stored = seen{}, false
		err := tx.queryRow(ctx, "SELECT "+seenKey, once.seenArgs()...).Scan(found.dest()...)
		if err != nil || found.sale.Valid || found.topUp.Valid || found.cancelled.Valid {
			return err
		}
		b := &batch{}
		tx.keepKey(b, once, 1, nil, otherKey)
		end.Stored = true
		return tx.run(ctx, b)
	})
	switch {
	case err != nil:
	case found.sale.Valid:
		var made Sale
		made, err = s.Sale(ctx, found.sale.Int64)
		end.Sale = &made
	case found.topUp.Valid:
		var made TopUp
		made, err = s.topUpByID(ctx, found.topUp.Int64)
		end.TopUp = &made
	default:
		end.Stock = found.ownPrint.Valid
		end.Cancelled = !end.Stock
	}
	return end, err
}
