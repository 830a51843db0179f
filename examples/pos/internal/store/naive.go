package store

import (
	"context"
	"database/sql"
)

// ProductsOneByOne reads a list in the naive way: the products, and then the category and the
// stock of each one. The command "queries" counts its statements. Use Products instead.
func (s *Store) ProductsOneByOne(ctx context.Context, limit int) ([]Product, error) {
	var list []Product
	var categories []int64
	err := s.query(ctx, func(rows *sql.Rows) error {
		var p Product
		var category int64
		err := rows.Scan(&p.ID, &p.SKU, &p.Name, &p.Price, &p.Active, &category)
		list, categories = append(list, p), append(categories, category)
		return err
	}, "SELECT id, sku, name, price, active, category_id FROM products ORDER BY id LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	for i := range list {
		p := &list[i]
		if err := s.queryRow(ctx, []any{&p.Category.ID, &p.Category.Name}, "SELECT id, name FROM categories WHERE id = ?", categories[i]); err != nil {
			return nil, err
		}
		if err := s.queryRow(ctx, []any{&p.Stock}, "SELECT quantity FROM stock WHERE product_id = ?", p.ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// CustomersOneByOne reads the customers, and then the children of each one. Use Customers
// instead.
func (s *Store) CustomersOneByOne(ctx context.Context, limit int) ([]Customer, error) {
	var list []Customer
	err := s.query(ctx, func(rows *sql.Rows) error {
		var c Customer
		err := rows.Scan(&c.ID, &c.Name)
		list = append(list, c)
		return err
	}, "SELECT id, name FROM customers ORDER BY id LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	for i := range list {
		children, err := s.childrenOf(ctx, []int64{list[i].ID})
		if err != nil {
			return nil, err
		}
		list[i].Children = children[list[i].ID]
	}
	return list, nil
}
