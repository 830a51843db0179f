package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is one sale of goods. Money is in the smallest unit. The void of a sale is a sale too,
// with negative quantities and total.
type Sale struct {
	ID        int64      `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	Total     int64      `json:"total"`
	Card      *string    `json:"card"` // null: paid in cash
	Cashier   string     `json:"cashier"`
	Items     []SaleItem `json:"items"`
	Voids     *int64     `json:"voids"`     // the sale that this one undoes
	VoidedBy  *int64     `json:"voided_by"` // the one that undoes this sale
	Reason    *string    `json:"reason"`
}

// SaleItem is one line of a sale, with name and price at the time of the sale.
type SaleItem struct {
	Product  int64  `json:"product"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
	Price    int64  `json:"price"`

	sale, category int64
}

// Line is a product and its quantity.
type Line struct {
	Product, Quantity int64
}

// MaxQuantity is the maximum quantity of one product in a sale.
const MaxQuantity = 1_000_000

// Sell takes the goods from stock and the money from the card, or changes nothing. A Conflict
// means that stock or balance is too low. A nil card means cash. With a key, a repetition
// returns the first sale, and replayed is true.
//
// Sell takes four round trips for any number of lines: BEGIN, one SELECT that locks the stock
// in the order of the products, one batch of writes, COMMIT.
//
// If shown is not nil, Sell refuses a sale with a total other than the one that the customer
// saw.
func (s *Store) Sell(ctx context.Context, cashier string, card *string, lines []Line, shown *int64, once Once) (sale Sale, replayed bool, err error) {
	once.User = cashier
	var first int64
	err = s.inOnce(ctx, once, func(tx *Tx) error {
		sale, first = Sale{Card: card, Cashier: cashier}, 0
		o, err := tx.order(ctx, card, lines, once)
		if err != nil {
			return err
		}
		if first, err = o.replay(once); err != nil || first != 0 {
			return err
		}
		if sale.Items, sale.Total, err = o.items(lines); err != nil {
			return err
		}
		if shown != nil && *shown != sale.Total {
			return o.otherTotal(sale)
		}
		if card != nil {
			if err := o.pays(*card, sale.Total); err != nil {
				return err
			}
		}
		sale.CreatedAt = fromMicros(o.now)
		return tx.insertSale(ctx, &sale, o.nextID, once)
	})
	if err == nil && first != 0 {
		sale, err = s.Sale(ctx, first)
		return sale, true, err
	}
	return sale, false, err
}

// order has the data that a sale needs. One statement reads and locks it.
type order struct {
	goods   map[int64]goods
	balance sql.NullInt64 // of the card
	now     int64
	nextID  int64
	voided  sql.NullInt64 // the void of the sale to be voided, if there is one
	seen    seen
}

type goods struct {
	name                   string
	price, category, stock int64
	active                 bool
}

// order reads the products of the lines. Their stock stays locked, in the order of the
// products, so that two sales cannot deadlock.
func (t *Tx) order(ctx context.Context, card *string, lines []Line, once Once) (*order, error) {
	o := &order{goods: map[int64]goods{}}
	args := append([]any{card}, once.seenArgs()...)
	for _, l := range lines {
		args = append(args, l.Product)
	}
	return o, t.query(ctx, func(rows *sql.Rows) error { return o.scan(rows) },
		"SELECT "+t.orderColumns("?", "NULL")+" FROM "+t.inKeyOrder("stock", "s")+` products p ON p.id = s.product_id
		WHERE s.product_id IN (`+marks(len(lines))+") ORDER BY s.product_id"+t.forUpdate("s"), args...)
}

// orderToVoid reads a sale, and its products like order. The sale is a derived table, because
// MySQL would lock its rows, and the place behind them, before the stock.
func (t *Tx) orderToVoid(ctx context.Context, id int64, once Once) (*order, Sale, error) {
	o, sold := &order{goods: map[int64]goods{}}, Sale{ID: id}
	err := t.query(ctx, func(rows *sql.Rows) error {
		var i SaleItem
		err := o.scan(rows, &sold.Card, &sold.Total, &sold.Voids, &i.Product, &i.Name, &i.Quantity, &i.Price)
		i.category = o.goods[i.Product].category
		sold.Items = append(sold.Items, i)
		return err
	}, "SELECT "+t.orderColumns("v.card_number", "v.id")+`, v.card_number, v.total, v.voids, v.product_id, v.name, v.quantity, v.price
		FROM (SELECT x.id, x.card_number, x.total, x.voids, i.product_id, i.name, i.quantity, i.price
			FROM sales x JOIN sale_items i ON i.sale_id = x.id WHERE x.id = ? ORDER BY i.product_id LIMIT 1000) v
		`+t.join()+" stock s ON s.product_id = v.product_id "+t.join()+` products p ON p.id = s.product_id
		ORDER BY s.product_id`+t.forUpdate("s"), append(once.seenArgs(), id)...)
	if err == nil && len(sold.Items) == 0 {
		err = ErrNotFound
	}
	return o, sold, err
}

// orderColumns are the columns of order.scan, with expressions for the card and for the sale
// that may have a void.
func (t *Tx) orderColumns(card, sale string) string {
	return "p.id, p.name, p.price, p.category_id, p.active, s.quantity, " + now(t.engine) + ", " + t.nextID("sales") +
		", (SELECT balance FROM cards WHERE number = " + card + "), (SELECT id FROM sales WHERE voids = " + sale + "), " + seenKey
}

func (o *order) scan(rows *sql.Rows, more ...any) error {
	var id int64
	var g goods
	dest := append([]any{&id, &g.name, &g.price, &g.category, &g.active, &g.stock, &o.now, &o.nextID, &o.balance, &o.voided}, o.seen.dest()...)
	err := rows.Scan(append(dest, more...)...)
	o.goods[id] = g
	return err
}

// replay returns the sale of an earlier request with the same key, or 0.
func (o *order) replay(once Once) (int64, error) {
	if once.Key == "" {
		return 0, nil
	}
	sale, topUp, err := o.seen.check(once)
	if err == nil && topUp != 0 {
		err = ErrKeyReused
	}
	return sale, err
}

// items returns the lines with prices, if the stock of each product is large enough.
func (o *order) items(lines []Line) (items []SaleItem, total int64, err error) {
	ordered := slices.SortedStableFunc(slices.Values(lines), func(a, b Line) int { return cmp.Compare(a.Product, b.Product) })
	for _, l := range ordered {
		g, ok := o.goods[l.Product]
		switch {
		case !ok:
			return nil, 0, Invalid{fmt.Sprintf("no product %d", l.Product)}
		case !g.active:
			return nil, 0, Conflict{Code: "inactive", Product: l.Product, Detail: fmt.Sprintf("product %d (%s) is not for sale any more", l.Product, g.name)}
		case g.stock < l.Quantity:
			return nil, 0, Conflict{
				Code: "stock", Product: l.Product, Left: g.stock,
				Detail: fmt.Sprintf("only %d of product %d (%s) in stock", g.stock, l.Product, g.name),
			}
		case g.price > (MaxMoney-total)/l.Quantity:
			return nil, 0, Invalid{"the total is too large"}
		}
		total += g.price * l.Quantity
		items = append(items, SaleItem{Product: l.Product, Name: g.name, Quantity: l.Quantity, Price: g.price, category: g.category})
	}
	return items, total, nil
}

// otherTotal returns a conflict with the current prices.
func (o *order) otherTotal(sale Sale) error {
	prices := map[int64]int64{}
	for _, i := range sale.Items {
		prices[i.Product] = i.Price
	}
	return Conflict{Code: "price", Total: sale.Total, Prices: prices, Detail: fmt.Sprintf("the total is %d: prices have changed", sale.Total)}
}

// pays checks the balance of the card. The batch takes the money, and the table's CHECK
// decides.
func (o *order) pays(card string, amount int64) error {
	switch {
	case !o.balance.Valid:
		return Invalid{fmt.Sprintf("no card %q", card)}
	case o.balance.Int64 < amount:
		return Conflict{
			Code: "balance", Balance: o.balance.Int64, Total: amount,
			Detail: fmt.Sprintf("card %s has %d and the sale costs %d", card, o.balance.Int64, amount),
		}
	}
	return nil
}

// insertSale writes a sale, takes or returns stock and money, updates the counters, and
// increases versions, in one round trip.
func (t *Tx) insertSale(ctx context.Context, sale *Sale, nextID int64, once Once) (err error) {
	b := &batch{}
	at := micros(sale.CreatedAt)
	t.useKey(b, once)
	if sale.Voids != nil { // before the sale: MySQL returns the automatic key of the last row
		t.record(b, sale.Cashier, "void sale", fmt.Sprint(*sale.Voids), *sale.Reason)
	}
	b.add("INSERT INTO sales (id, created_at, total, card_number, cashier, voids, reason, request_key, fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		nextID, at, sale.Total, sale.Card, sale.Cashier, sale.Voids, sale.Reason, once.key(), once.fingerprint())
	var items []any
	versions := map[string]bool{MoneyVersion: true}
	for line, i := range sale.Items {
		items = append(items, line, i.Product, i.Name, i.Quantity, i.Price)
		versions[CategoryVersion(i.category)] = true
	}
	row := "(" + t.newID(nextID) + "," + marks(5) + ")"
	b.add("INSERT INTO sale_items (sale_id, line, product_id, name, quantity, price) VALUES "+
		strings.TrimSuffix(strings.Repeat(row+",", len(sale.Items)), ","), items...)
	for _, i := range sale.Items { // one statement each: for a list of keys MySQL may scan, and lock, the table
		b.add("UPDATE stock SET quantity = quantity - ? WHERE product_id = ?", i.Quantity, i.Product)
	}
	kind := kindCash
	if sale.Card != nil {
		kind = kindCard
		b.add("UPDATE cards SET balance = balance - ? WHERE number = ?", sale.Total, *sale.Card)
	}
	if sale.Voids == nil {
		t.count(b, at, sale.Cashier, kind, 1, sale.Total)
	} else {
		t.count(b, at, sale.Cashier, kind, 0, sale.Total)
		t.count(b, at, sale.Cashier, kindVoid, 1, -sale.Total)
	}
	t.countProducts(b, at, sale.Items)
	t.bump(b, slices.Sorted(maps.Keys(versions))...)
	sale.ID, err = t.runInsert(ctx, b, nextID)
	return t.tooLittle(err)
}

// Sale returns the sale with an id, or ErrNotFound.
func (s *Store) Sale(ctx context.Context, id int64) (Sale, error) {
	sales, err := s.salesWhere(ctx, "s.id = ?", id)
	if err == nil && len(sales) == 0 {
		return Sale{}, ErrNotFound
	}
	if err != nil {
		return Sale{}, err
	}
	return sales[0], nil
}

// SalesByKey returns the sale of a user's Idempotency-Key, or an empty list.
func (s *Store) SalesByKey(ctx context.Context, user, key string) ([]Sale, error) {
	return s.salesWhere(ctx, "s.cashier = ? AND s.request_key = ?", user, key)
}

const saleColumns = "s.id, s.created_at, s.total, s.card_number, s.cashier, s.voids, (SELECT v.id FROM sales v WHERE v.voids = s.id) AS voided_by, s.reason"

// salesWhere returns sales with their items, in one statement.
func (s *Store) salesWhere(ctx context.Context, where string, args ...any) ([]Sale, error) {
	list := []Sale{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		sale := Sale{Items: []SaleItem{}}
		var item SaleItem
		var created int64
		if err := rows.Scan(append(sale.dest(&created), &item.Product, &item.Name, &item.Quantity, &item.Price)...); err != nil {
			return err
		}
		sale.CreatedAt = fromMicros(created)
		if len(list) == 0 || list[len(list)-1].ID != sale.ID {
			list = append(list, sale)
		}
		last := &list[len(list)-1]
		last.Items = append(last.Items, item)
		return nil
	}, "SELECT "+saleColumns+", i.product_id, i.name, i.quantity, i.price FROM sales s JOIN sale_items i ON i.sale_id = s.id WHERE "+where+" ORDER BY s.id, i.line", args...)
	return list, err
}

func (s *Sale) dest(created *int64) []any {
	return []any{&s.ID, created, &s.Total, &s.Card, &s.Cashier, &s.Voids, &s.VoidedBy, &s.Reason}
}

func scanSale(rows keyset.Scanner) (Sale, error) {
	sale := Sale{Items: []SaleItem{}}
	var created int64
	err := rows.Scan(sale.dest(&created)...)
	sale.CreatedAt = fromMicros(created)
	return sale, err
}

// SaleFilter narrows the list of sales. The zero value selects all sales.
type SaleFilter struct {
	From, To time.Time // From <= created_at < To
}

// narrow adds the filter to a statement that uses the alias s for sales.
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

// deepKey returns the key for skipping to far pages in the index of their order. The index has
// all columns that this needs only if the list has no filter.
func (f SaleFilter) deepKey() string {
	if f != (SaleFilter{}) {
		return ""
	}
	return "s.id"
}

// SaleColumns returns the columns that can sort sales.
func SaleColumns() []keyset.Column[Sale] {
	return []keyset.Column[Sale]{
		{Name: "id", Expr: "s.id", Unique: true},
		{Name: "created_at", Expr: "s.created_at"},
		{Name: "total", Expr: "s.total"},
	}
}

// Sales is the list of sales with their items, by number or by keyset. A page costs two
// statements.
type Sales struct {
	store *Store
	bare  keyset.SQLSource[Sale]
}

// Sales returns the list of sales in an order. Seek does not need the order.
func (s *Store) Sales(filter SaleFilter, order keyset.Order) Sales {
	base := filter.narrow(keyset.Base{
		Columns: []string{
			"s.id", "s.created_at", "s.total", "s.card_number", "s.cashier", "s.voids",
			"(SELECT v.id FROM sales v WHERE v.voids = s.id) AS voided_by", "s.reason",
		}, From: "sales s",
	})
	return Sales{s, keyset.SQLSource[Sale]{
		DB: s.read, Dialect: s.dialect, Order: order, Base: base, DeepKey: filter.deepKey(),
		Scan: scanSale, CountFrom: "sales s",
	}}
}

// Count counts the sales.
func (l Sales) Count(ctx context.Context) (int64, error) { return l.bare.Count(ctx) }

// List returns sales from an offset.
func (l Sales) List(ctx context.Context, limit int, offset int64) ([]Sale, error) {
	sales, err := l.bare.List(ctx, limit, offset)
	return l.withItems(ctx, sales, err)
}

// Seek returns sales after a position.
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
