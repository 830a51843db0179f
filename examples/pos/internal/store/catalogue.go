package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Category groups products.
type Category struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Product is something for sale. Price is in the smallest unit of money.
type Product struct {
	ID       int64    `json:"id"`
	SKU      string   `json:"sku"`
	Name     string   `json:"name"`
	Price    int64    `json:"price"`
	Stock    int64    `json:"stock"`
	Category Category `json:"category"`
}

// Categories returns all categories by name.
func (s *Store) Categories(ctx context.Context) ([]Category, error) {
	list := []Category{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var c Category
		list = append(list, c)
		return rows.Scan(&list[len(list)-1].ID, &list[len(list)-1].Name)
	}, "SELECT id, name FROM categories ORDER BY name, id")
	return list, err
}

// ProductFilter narrows the list of products. The zero value narrows nothing.
type ProductFilter struct {
	Category int64  // an id
	Search   string // part of the name or the SKU, whatever its case
}

// ProductColumns are what products can be sorted by.
func ProductColumns() []keyset.Column[Product] {
	return []keyset.Column[Product]{
		{Name: "id", Expr: "p.id", Unique: true},
		{Name: "name", Expr: "p.name"},
		{Name: "price", Expr: "p.price"},
		{Name: "sku", Expr: "p.sku", Unique: true},
		{Name: "stock", Expr: "s.quantity"},
	}
}

// Products is the list of products, each with its category and stock, in one
// statement a page.
func (s *Store) Products(filter ProductFilter, order keyset.Order) keyset.SQLSource[Product] {
	var where []string
	var args []any
	if filter.Category != 0 {
		where = append(where, "p.category_id = ?")
		args = append(args, filter.Category)
	}
	if filter.Search != "" {
		where = append(where, "(lower(p.name) LIKE ? ESCAPE '!' OR lower(p.sku) LIKE ? ESCAPE '!')")
		args = append(args, contains(filter.Search), contains(filter.Search))
	}
	return keyset.SQLSource[Product]{
		DB: s.read, Dialect: s.dialect, Order: order, CountFrom: "products p",
		Base: keyset.Base{
			Columns: []string{"p.id", "p.sku", "p.name", "p.price", "s.quantity", "c.id AS category_id", "c.name AS category_name"},
			From:    "products p JOIN categories c ON c.id = p.category_id JOIN stock s ON s.product_id = p.id",
			Where:   strings.Join(where, " AND "), Args: args,
		},
		Scan: func(rows keyset.Scanner) (Product, error) {
			var p Product
			err := rows.Scan(&p.ID, &p.SKU, &p.Name, &p.Price, &p.Stock, &p.Category.ID, &p.Category.Name)
			return p, err
		},
	}
}

// contains is a LIKE pattern that finds text anywhere, also text with wildcards.
func contains(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(text)) + "%"
}
