package store

import (
	"context"
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

// Card returns a card, ErrNotFound if there is none of that number.
func (s *Store) Card(ctx context.Context, number string) (Card, error) {
	card := Card{Number: number}
	err := s.queryRow(ctx, []any{&card.Balance, &card.Child, &card.Customer},
		`SELECT k.balance, h.name, c.name FROM cards k
			JOIN children h ON h.id = k.child_id JOIN customers c ON c.id = h.customer_id
			WHERE k.number = ?`, number)
	return card, err
}

// TopUp is money put on a card.
type TopUp struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Card      string    `json:"card"`
	Amount    int64     `json:"amount"`
	Balance   int64     `json:"balance"` // after it
	Cashier   string    `json:"cashier"`
}

// TopUp adds money to a card. With a key, a repetition returns the first answer.
func (s *Store) TopUp(ctx context.Context, topUp TopUp, once Once) (Outcome, error) {
	return s.once(ctx, once, func(tx *Tx) (any, error) {
		result := topUp
		result.CreatedAt = time.Now().UTC().Truncate(time.Microsecond)
		ok, err := tx.changed(ctx, "UPDATE cards SET balance = balance + ? WHERE number = ? AND balance <= ?",
			result.Amount, result.Card, MaxMoney-result.Amount)
		if err != nil {
			return nil, err
		}
		if err := tx.queryRow(ctx, "SELECT balance FROM cards WHERE number = ?", result.Card).Scan(&result.Balance); err != nil {
			return nil, notFound(err, fmt.Sprintf("no card %q", result.Card))
		}
		if !ok {
			return nil, Conflict{"the balance would be larger than a card can hold"}
		}
		result.ID, err = tx.insert(ctx, "INSERT INTO topups (created_at, card_number, amount, cashier) VALUES (?, ?, ?, ?)",
			micros(result.CreatedAt), result.Card, result.Amount, result.Cashier)
		return result, err
	})
}
