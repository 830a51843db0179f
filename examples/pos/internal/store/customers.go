package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Customer is a parent.
type Customer struct {
	ID       int64   `json:"id"`
	Name     string  `json:"name"`
	Children []Child `json:"children"`
}

// Child eats in the canteen and pays with a card.
type Child struct {
	ID   int64     `json:"id"`
	Name string    `json:"name"`
	Card ChildCard `json:"card"`

	customer int64
}

// ChildCard is the prepaid card of a child. Money is in the smallest unit.
type ChildCard struct {
	Number  string `json:"number"`
	Balance int64  `json:"balance"`
}

// CustomerColumns returns the columns that can sort customers.
func CustomerColumns() []keyset.Column[Customer] {
	return []keyset.Column[Customer]{
		{Name: "id", Expr: "c.id", Unique: true},
		{Name: "name", Expr: "c.name"},
	}
}

// Customers returns the list of customers, each with children and cards. A page costs two
// statements: one for the customers and one for their children.
func (s *Store) Customers(search string, order keyset.Order) Customers {
	base := keyset.Base{Columns: []string{"c.id", "c.name"}, From: "customers c"}
	if search != "" {
		base.Where = `(c.folded LIKE ? ESCAPE '!' OR EXISTS (SELECT 1 FROM children h JOIN cards k ON k.child_id = h.id
			WHERE h.customer_id = c.id AND (h.folded LIKE ? ESCAPE '!' OR k.number LIKE ? ESCAPE '!')))`
		base.Args = []any{contains(search), contains(search), escape(strings.ToUpper(search)) + "%"}
	}
	return Customers{s, keyset.SQLSource[Customer]{
		DB: s.read, Dialect: s.dialect, Order: order, Base: base,
		Scan: func(rows keyset.Scanner) (Customer, error) {
			c := Customer{Children: []Child{}}
			err := rows.Scan(&c.ID, &c.Name)
			return c, err
		},
	}}
}

// Customers is a list of customers that can be read by number or by keyset.
type Customers struct {
	store *Store
	bare  keyset.SQLSource[Customer]
}

// Count counts the customers.
func (l Customers) Count(ctx context.Context) (int64, error) { return l.bare.Count(ctx) }

// List returns customers from an offset.
func (l Customers) List(ctx context.Context, limit int, offset int64) ([]Customer, error) {
	customers, err := l.bare.List(ctx, limit, offset)
	return l.withChildren(ctx, customers, err)
}

// Seek returns customers after a position.
func (l Customers) Seek(ctx context.Context, q keyset.Seek) (keyset.Batch[Customer], error) {
	b, err := l.bare.Seek(ctx, q)
	b.Rows, err = l.withChildren(ctx, b.Rows, err)
	return b, err
}

func (l Customers) withChildren(ctx context.Context, customers []Customer, err error) ([]Customer, error) {
	if err != nil {
		return nil, err
	}
	err = pagination.Attach(ctx, customers,
		func(c Customer) (int64, bool) { return c.ID, true },
		l.store.childrenOf,
		func(c *Customer, children []Child) { c.Children = append(c.Children, children...) })
	return customers, err
}

// childrenOf returns the children of several customers, with their cards.
func (s *Store) childrenOf(ctx context.Context, customers []int64) (map[int64][]Child, error) {
	args := make([]any, len(customers))
	for i, id := range customers {
		args[i] = id
	}
	var children []Child
	err := s.query(ctx, func(rows *sql.Rows) error {
		var c Child
		err := rows.Scan(&c.ID, &c.Name, &c.customer, &c.Card.Number, &c.Card.Balance)
		children = append(children, c)
		return err
	}, `SELECT h.id, h.name, h.customer_id, k.number, k.balance
		FROM children h JOIN cards k ON k.child_id = h.id
		WHERE h.customer_id IN (`+marks(len(customers))+`) ORDER BY h.customer_id, h.id`, args...)
	return pagination.GroupBy(children, func(c Child) int64 { return c.customer }), err
}
