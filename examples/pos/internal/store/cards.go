package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Card is a prepaid card with its owner.
type Card struct {
	Number   string `json:"number"`
	Balance  int64  `json:"balance"`
	Child    string `json:"child"`
	Customer string `json:"customer"`
}

// Card returns the card with a number, or ErrNotFound.
func (s *Store) Card(ctx context.Context, number string) (card Card, err error) {
	err = s.queryRow(ctx, []any{&card.Number, &card.Balance, &card.Child, &card.Customer},
		`SELECT k.number, k.balance, h.name, c.name FROM cards k
			JOIN children h ON h.id = k.child_id JOIN customers c ON c.id = h.customer_id
			WHERE k.number = ?`, number)
	return card, err
}

// TopUp is a payment to a card. Its void is a top-up with a negative amount.
type TopUp struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Card      string    `json:"card"`
	Amount    int64     `json:"amount"`
	Balance   int64     `json:"balance"` // after the top-up
	Cashier   string    `json:"cashier"`
	Voids     *int64    `json:"voids"`     // the top-up that this one undoes
	VoidedBy  *int64    `json:"voided_by"` // the one that undoes this top-up
	Reason    *string   `json:"reason"`
}

const topUpColumns = `SELECT t.id, t.created_at, t.card_number, t.amount, t.balance, t.cashier, t.voids,
	(SELECT v.id FROM topups v WHERE v.voids = t.id), t.reason FROM topups t `

func (t *TopUp) scan(rows *sql.Rows) error {
	var created int64
	err := rows.Scan(&t.ID, &created, &t.Card, &t.Amount, &t.Balance, &t.Cashier, &t.Voids, &t.VoidedBy, &t.Reason)
	t.CreatedAt = fromMicros(created)
	return err
}

// TopUp adds money to a card. With a key, a repetition returns the first top-up.
func (s *Store) TopUp(ctx context.Context, card string, amount int64, once Once) (TopUp, bool, error) {
	return s.topUp(ctx, TopUp{Card: card, Amount: amount, Cashier: once.User}, once)
}

// VoidTopUp takes back the money of a top-up, if the card still has it. A second void of the
// same top-up is a Conflict.
func (s *Store) VoidTopUp(ctx context.Context, id int64, reason string, once Once) (TopUp, bool, error) {
	return s.topUp(ctx, TopUp{Cashier: once.User, Voids: &id, Reason: &reason}, once)
}

func (s *Store) topUp(ctx context.Context, wanted TopUp, once Once) (made TopUp, replayed bool, err error) {
	var first int64
	err = s.inOnce(ctx, once, func(tx *Tx) error {
		made, first = wanted, 0
		var balance, at, nextID int64
		var voids *int64
		var voided sql.NullInt64
		var seen seen
		entry, from, args := "k.number, 0, NULL", "cards k WHERE k.number = ?", append(once.seenArgs(), wanted.Card)
		if wanted.Voids != nil { // the top-up, in a derived table, so that MySQL locks only the card
			entry = "k.number, t.amount, t.voids"
			from = "(SELECT card_number, amount, voids FROM topups WHERE id = ? LIMIT 1) t " + tx.join() + " cards k ON k.number = t.card_number"
			args = append(once.seenArgs(), *wanted.Voids)
		}
		var amount int64
		err := tx.queryRow(ctx, "SELECT k.balance, "+now(tx.engine)+", "+tx.nextID("topups")+", (SELECT id FROM topups WHERE voids = ?), "+seenKey+", "+entry+" FROM "+from+tx.forUpdate("k"),
			append([]any{wanted.Voids}, args...)...).
			Scan(append(append([]any{&balance, &at, &nextID, &voided}, seen.dest()...), &made.Card, &amount, &voids)...)
		switch {
		case errors.Is(err, sql.ErrNoRows) && wanted.Voids != nil:
			return ErrNotFound
		case errors.Is(err, sql.ErrNoRows):
			return Invalid{fmt.Sprintf("no card %q", wanted.Card)}
		case err != nil:
			return err
		case wanted.Voids != nil:
			made.Amount = -amount
		}
		if once.Key != "" {
			sale, topUp, err := seen.check(once)
			if err == nil && sale != 0 {
				err = ErrKeyReused
			}
			if first = topUp; err != nil || first != 0 {
				return err
			}
		}
		if made.Voids != nil {
			if err := voidable("top-up", *made.Voids, voids, voided); err != nil {
				return err
			}
		}
		made.CreatedAt, made.Balance = fromMicros(at), balance+made.Amount
		switch {
		case made.Balance > MaxMoney:
			return Conflict{Detail: "the balance would be larger than a card can hold"}
		case made.Balance < 0:
			return Conflict{Code: "spent", Detail: fmt.Sprintf("card %s has only %d left of the %d that were put on it", made.Card, balance, -made.Amount)}
		}
		return tx.insertTopUp(ctx, &made, nextID, once)
	})
	if err == nil && first != 0 {
		made, err = s.topUpByID(ctx, first)
		return made, true, err
	}
	return made, false, err
}

func (t *Tx) insertTopUp(ctx context.Context, made *TopUp, nextID int64, once Once) (err error) {
	b := &batch{}
	at := micros(made.CreatedAt)
	t.useKey(b, once)
	if made.Voids == nil { // before the top-up: MySQL returns the automatic key of the last row
		t.record(b, made.Cashier, "top-up", made.Card, fmt.Sprint(made.Amount))
	} else {
		t.record(b, made.Cashier, "void top-up", fmt.Sprint(*made.Voids), *made.Reason)
	}
	b.add("INSERT INTO topups (id, created_at, card_number, amount, balance, cashier, voids, reason, request_key, fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		nextID, at, made.Card, made.Amount, made.Balance, made.Cashier, made.Voids, made.Reason, once.key(), once.fingerprint())
	b.add("UPDATE cards SET balance = balance + ? WHERE number = ?", made.Amount, made.Card)
	if made.Voids == nil {
		t.count(b, at, made.Cashier, kindTopUp, 1, made.Amount)
	} else {
		t.count(b, at, made.Cashier, kindTopUp, 0, made.Amount)
		t.count(b, at, made.Cashier, kindTopUpVoid, 1, -made.Amount)
	}
	t.bump(b, MoneyVersion)
	made.ID, err = t.runInsert(ctx, b, nextID)
	return t.tooLittle(err)
}

func (s *Store) topUpByID(ctx context.Context, id int64) (t TopUp, err error) {
	err = ErrNotFound
	queryErr := s.query(ctx, func(rows *sql.Rows) error {
		err = nil
		return t.scan(rows)
	}, topUpColumns+"WHERE t.id = ?", id)
	if queryErr != nil {
		return t, queryErr
	}
	return t, err
}

// TopUps returns the newest top-ups of a card, or of all cards if card is "".
func (s *Store) TopUps(ctx context.Context, card string, limit int) ([]TopUp, error) {
	where, args := "", []any{}
	if card != "" {
		where, args = "WHERE t.card_number = ? ", []any{card}
	}
	return s.topUps(ctx, where+"ORDER BY t.id DESC LIMIT ?", append(args, limit)...)
}

// TopUpsByKey returns the top-up of a user's Idempotency-Key, or an empty list.
func (s *Store) TopUpsByKey(ctx context.Context, user, key string) ([]TopUp, error) {
	return s.topUps(ctx, "WHERE t.cashier = ? AND t.request_key = ?", user, key)
}

func (s *Store) topUps(ctx context.Context, where string, args ...any) ([]TopUp, error) {
	list := []TopUp{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var t TopUp
		err := t.scan(rows)
		list = append(list, t)
		return err
	}, topUpColumns+where, args...)
	return list, err
}
