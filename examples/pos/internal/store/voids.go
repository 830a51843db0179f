package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// VoidSale undoes a sale: it writes a sale with negative quantities, and returns stock and
// money. A second void of the same sale is a Conflict. It takes four round trips, like Sell.
func (s *Store) VoidSale(ctx context.Context, id int64, reason string, once Once) (void Sale, replayed bool, err error) {
	var first int64
	err = s.inOnce(ctx, once, func(tx *Tx) error {
		first = 0
		o, sold, err := tx.orderToVoid(ctx, id, once)
		if err != nil {
			return err
		}
		if first, err = o.replay(once); err != nil || first != 0 {
			return err
		}
		if err := voidable("sale", id, sold.Voids, o.voided); err != nil {
			return err
		}
		void = Sale{Card: sold.Card, Cashier: once.User, Total: -sold.Total, Voids: &id, Reason: &reason, Items: sold.Items, CreatedAt: fromMicros(o.now)}
		for i := range void.Items {
			void.Items[i].Quantity *= -1
		}
		return tx.insertSale(ctx, &void, o.nextID, once)
	})
	if err == nil && first != 0 {
		void, err = s.Sale(ctx, first)
		return void, true, err
	}
	return void, false, err
}

// voidable refuses to undo a void, or an entry that was undone before.
func voidable(what string, id int64, voids *int64, by sql.NullInt64) error {
	if voids != nil {
		return Conflict{Detail: fmt.Sprintf("%s %d is a void itself", what, id)}
	}
	if by.Valid {
		return Conflict{Code: "voided", Detail: fmt.Sprintf("%s %d was voided by %d already", what, id, by.Int64)}
	}
	return nil
}

// tooLittle explains an error of a CHECK. It happens after a change between the SELECT and the
// batch, on a database that does not lock the rows that it reads.
func (t *Tx) tooLittle(err error) error {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	check := errors.As(err, &pg) && pg.Code == "23514" ||
		errors.As(err, &my) && (my.Number == 4025 || my.Number == 3819) ||
		errors.As(err, &lite) && lite.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK
	switch {
	case !check:
		return err
	case strings.Contains(err.Error(), "balance"):
		return Conflict{Code: "spent", Detail: "the card's balance does not suffice any more"}
	}
	return Conflict{Detail: "the stock does not suffice any more"}
}
