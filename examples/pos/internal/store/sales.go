package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is what was sold at once. Money is in the smallest unit.
type Sale struct {
	ID        int64      `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	Total     int64      `json:"total"`
	Card      *string    `json:"card"` // null: paid in cash
	Cashier   string     `json:"cashier"`
	Items     []SaleItem `json:"items"`
}

// SaleItem is one line of a sale, with name and price as they were then.
type SaleItem struct {
	Product  int64  `json:"product"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
	Price    int64  `json:"price"`

	sale, category int64
}

// Line is a product and how many of it are wanted.
type Line struct {
	Product, Quantity int64
}

// MaxQuantity is the most of one product in a sale.
const MaxQuantity = 1_000_000

// Sell takes the goods from stock and the money from the card, or changes nothing:
// a Conflict says that stock or balance does not suffice. Card nil is cash. With a
// key, a repetition returns the first answer.
func (s *Store) Sell(ctx context.Context, cashier string, card *string, lines []Line, once Once) (Outcome, error) {
	// All sales take their rows in the same order, so that two of them cannot wait for
	// each other.
	ordered := append([]Line(nil), lines...)
	sort.SliceStable(ordered, func(i, j int) bool { return ordered[i].Product < ordered[j].Product })
	var sold map[int64]bool
	outcome, err := s.once(ctx, once, func(tx *Tx) (any, error) {
		sold = map[int64]bool{}
		sale := Sale{CreatedAt: time.Now().UTC().Truncate(time.Microsecond), Card: card, Cashier: cashier, Items: []SaleItem{}}
		for _, line := range ordered {
			item, err := tx.takeStock(ctx, line)
			if err != nil {
				return nil, err
			}
			sale.Items = append(sale.Items, item)
			sold[item.category] = true
			if item.Price > (MaxMoney-sale.Total)/item.Quantity {
				return nil, Invalid{"the total is too large"}
			}
			sale.Total += item.Price * item.Quantity
		}
		if card != nil {
			if err := tx.pay(ctx, *card, sale.Total); err != nil {
				return nil, err
			}
		}
		return sale, tx.insertSale(ctx, &sale)
	})
	outcome.Categories = slices.Sorted(maps.Keys(sold))
	return outcome, err
}

// takeStock lowers the stock of a product by one conditional update: whoever comes
// second sees what the first has left.
func (t *Tx) takeStock(ctx context.Context, line Line) (SaleItem, error) {
	item := SaleItem{Product: line.Product, Quantity: line.Quantity}
	enough, err := t.changed(ctx, "UPDATE stock SET quantity = quantity - ? WHERE product_id = ? AND quantity >= ?",
		line.Quantity, line.Product, line.Quantity)
	if err != nil {
		return item, err
	}
	var left int64
	err = t.queryRow(ctx, "SELECT p.name, p.price, p.category_id, s.quantity FROM products p JOIN stock s ON s.product_id = p.id WHERE p.id = ?", line.Product).
		Scan(&item.Name, &item.Price, &item.category, &left)
	if err != nil {
		return item, notFound(err, fmt.Sprintf("no product %d", line.Product))
	}
	if !enough {
		return item, Conflict{fmt.Sprintf("only %d of product %d (%s) in stock", left, line.Product, item.Name)}
	}
	return item, nil
}

// pay takes money from a card by one conditional update.
func (t *Tx) pay(ctx context.Context, card string, amount int64) error {
	enough, err := t.changed(ctx, "UPDATE cards SET balance = balance - ? WHERE number = ? AND balance >= ?", amount, card, amount)
	if err != nil || enough {
		return err
	}
	var balance int64
	if err := t.queryRow(ctx, "SELECT balance FROM cards WHERE number = ?", card).Scan(&balance); err != nil {
		return notFound(err, fmt.Sprintf("no card %q", card))
	}
	return Conflict{fmt.Sprintf("card %s has %d and the sale costs %d", card, balance, amount)}
}

func (t *Tx) insertSale(ctx context.Context, sale *Sale) error {
	var err error
	sale.ID, err = t.insert(ctx, "INSERT INTO sales (created_at, total, card_number, cashier) VALUES (?, ?, ?, ?)",
		micros(sale.CreatedAt), sale.Total, sale.Card, sale.Cashier)
	if err != nil {
		return err
	}
	for i, item := range sale.Items {
		if _, err := t.exec(ctx, "INSERT INTO sale_items (sale_id, line, product_id, name, quantity, price) VALUES (?, ?, ?, ?, ?, ?)",
			sale.ID, i, item.Product, item.Name, item.Quantity, item.Price); err != nil {
			return err
		}
	}
	return nil
}

// SaleFilter narrows the list of sales. The zero value narrows nothing.
type SaleFilter struct {
	From, To time.Time // From <= created_at < To
}

// narrow adds the filter to a statement that calls the sales s.
func (f SaleFilter) narrow(base keyset.Base) keyset.Base {
	var where []string
	if !f.From.IsZero() {
		where, base.Args = append(where, "s.created_at >= ?"), append(base.Args, micros(f.From))
	}
	if !f.To.IsZero() {
		where, base.Args = append(where, "s.created_at < ?"), append(base.Args, micros(f.To))
	}
	base.Where = strings.Join(where, " AND ")
	return base
}

// deepKey lets far pages be passed over in the index of their order, which holds all that
// is asked for where nothing is filtered.
func (f SaleFilter) deepKey() string {
	if f != (SaleFilter{}) {
		return ""
	}
	return "s.id"
}

// SaleColumns are what sales can be sorted by.
func SaleColumns() []keyset.Column[Sale] {
	return []keyset.Column[Sale]{
		{Name: "id", Expr: "s.id", Unique: true},
		{Name: "created_at", Expr: "s.created_at"},
		{Name: "total", Expr: "s.total"},
	}
}

// Sales is the list of sales with their items, in two statements a page, by number
// or by keyset.
type Sales struct {
	store *Store
	bare  keyset.SQLSource[Sale]
}

// Sales returns the list of sales in an order, which Seek does not need.
func (s *Store) Sales(filter SaleFilter, order keyset.Order) Sales {
	base := filter.narrow(keyset.Base{
		Columns: []string{"s.id", "s.created_at", "s.total", "s.card_number", "s.cashier"}, From: "sales s",
	})
	return Sales{s, keyset.SQLSource[Sale]{
		DB: s.read, Dialect: s.dialect, Order: order, Base: base, DeepKey: filter.deepKey(),
		Scan: func(rows keyset.Scanner) (Sale, error) {
			sale := Sale{Items: []SaleItem{}}
			var created int64
			err := rows.Scan(&sale.ID, &created, &sale.Total, &sale.Card, &sale.Cashier)
			sale.CreatedAt = fromMicros(created)
			return sale, err
		},
	}}
}

// Count counts the sales.
func (l Sales) Count(ctx context.Context) (int64, error) { return l.bare.Count(ctx) }

// List reads sales from an offset.
func (l Sales) List(ctx context.Context, limit int, offset int64) ([]Sale, error) {
	sales, err := l.bare.List(ctx, limit, offset)
	return l.withItems(ctx, sales, err)
}

// Seek reads sales behind a position.
func (l Sales) Seek(ctx context.Context, q keyset.Seek) (keyset.Batch[Sale], error) {
	b, err := l.bare.Seek(ctx, q)
	b.Rows, err = l.withItems(ctx, b.Rows, err)
	return b, err
}

func (l Sales) withItems(ctx context.Context, sales []Sale, err error) ([]Sale, error) {
	if err != nil {
		return nil, err
	}
	err = pagination.Attach(ctx, sales,
		func(s Sale) (int64, bool) { return s.ID, true },
		l.store.itemsOf,
		func(s *Sale, items []SaleItem) { s.Items = append(s.Items, items...) })
	return sales, err
}

func (s *Store) itemsOf(ctx context.Context, sales []int64) (map[int64][]SaleItem, error) {
	args := make([]any, len(sales))
	for i, id := range sales {
		args[i] = id
	}
	var items []SaleItem
	err := s.query(ctx, func(rows *sql.Rows) error {
		var i SaleItem
		err := rows.Scan(&i.sale, &i.Product, &i.Name, &i.Quantity, &i.Price)
		items = append(items, i)
		return err
	}, "SELECT sale_id, product_id, name, quantity, price FROM sale_items WHERE sale_id IN ("+marks(len(sales))+") ORDER BY sale_id, line", args...)
	return pagination.GroupBy(items, func(i SaleItem) int64 { return i.sale }), err
}
