package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Category groups products.
type Category struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Product is an item for sale. Price is in the smallest unit of money.
type Product struct {
	ID       int64    `json:"id"`
	SKU      string   `json:"sku"`
	Name     string   `json:"name"`
	Price    int64    `json:"price"`
	Stock    int64    `json:"stock"`
	Active   bool     `json:"active"` // for sale
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

// ProductFilter narrows the list of products. The zero value selects all products for sale.
type ProductFilter struct {
	Category int64  // an id
	Search   string // part of the name or the SKU, in any case; the SKU of a product that is not for sale finds no other
	All      bool   // also products that are no longer for sale
}

// ProductColumns returns the columns that can sort products.
func ProductColumns() []keyset.Column[Product] {
	return []keyset.Column[Product]{
		{Name: "id", Expr: "p.id", Unique: true},
		{Name: "name", Expr: "p.name"},
		{Name: "price", Expr: "p.price"},
		{Name: "sku", Expr: "p.sku", Unique: true},
		{Name: "stock", Expr: "s.quantity"},
	}
}

// Products returns the list of products, each with its category and stock. A page costs one
// statement.
func (s *Store) Products(filter ProductFilter, order keyset.Order) keyset.SQLSource[Product] {
	var where []string
	var args []any
	if !filter.All {
		where = append(where, "p.active = 1")
	}
	if filter.Category != 0 {
		where = append(where, "p.category_id = ?")
		args = append(args, filter.Category)
	}
	if filter.Search != "" {
		sku := strings.ToUpper(filter.Search)
		where = append(where, "(p.folded LIKE ? ESCAPE '!' OR p.sku LIKE ? ESCAPE '!')")
		args = append(args, contains(filter.Search), "%"+escape(sku)+"%")
		if !filter.All {
			where = append(where, "NOT EXISTS (SELECT 1 FROM products x WHERE x.sku = ? AND x.active = 0)")
			args = append(args, sku)
		}
	}
	return keyset.SQLSource[Product]{
		DB: s.read, Dialect: s.dialect, Order: order, CountFrom: "products p",
		Base: keyset.Base{
			Columns: []string{"p.id", "p.sku", "p.name", "p.price", "s.quantity", "p.active", "c.id AS category_id", "c.name AS category_name"},
			From:    "products p JOIN categories c ON c.id = p.category_id JOIN stock s ON s.product_id = p.id",
			Where:   strings.Join(where, " AND "), Args: args,
		},
		Scan: func(rows keyset.Scanner) (Product, error) {
			var p Product
			err := rows.Scan(p.dest()...)
			return p, err
		},
	}
}

// contains returns a LIKE pattern that finds text anywhere, also text with wildcards.
func contains(text string) string { return "%" + escape(fold(text)) + "%" }

// fold returns a text without the differences of case and of accents. The engines differ in what
// they take for a small letter: SQLite knows only those of ASCII.
func fold(text string) string {
	return cases.Fold().String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(text))) // last, because № becomes No
}

// foldVersion changes with fold. A start folds the names again that another version has folded.
const foldVersion = "2"

func (s *Store) foldAgain(ctx context.Context) error {
	if kept, _, err := s.Meta(ctx, "fold"); err != nil || kept == foldVersion {
		return err
	}
	err := s.inTx(ctx, func(tx *Tx) error {
		for _, table := range []string{"products", "customers", "children"} {
			changed := map[int64]string{}
			err := tx.query(ctx, func(rows *sql.Rows) error {
				var id int64
				var name, folded string
				err := rows.Scan(&id, &name, &folded)
				if now := fold(name); now != folded {
					changed[id] = now
				}
				return err
			}, "SELECT id, name, folded FROM "+table)
			for id, folded := range changed {
				if err == nil {
					_, err = tx.exec(ctx, "UPDATE "+table+" SET folded = ? WHERE id = ?", folded, id)
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.SetMeta(ctx, "fold", foldVersion)
}

func escape(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text)
}

const selectProduct = "SELECT p.id, p.sku, p.name, p.price, s.quantity, p.active, c.id, c.name "

func (p *Product) dest() []any {
	return []any{&p.ID, &p.SKU, &p.Name, &p.Price, &p.Stock, &p.Active, &p.Category.ID, &p.Category.Name}
}

// Product returns the product with an id, or ErrNotFound.
func (s *Store) Product(ctx context.Context, id int64) (p Product, err error) {
	err = s.queryRow(ctx, p.dest(), selectProduct+"FROM products p JOIN categories c ON c.id = p.category_id JOIN stock s ON s.product_id = p.id WHERE p.id = ?", id)
	return p, err
}

// ProductChange has the new values of a product. A nil value stays unchanged.
type ProductChange struct {
	Name   *string `json:"name,omitempty"`
	Price  *int64  `json:"price,omitempty"`
	Active *bool   `json:"active,omitempty"`
}

// ChangeProduct changes a product.
func (s *Store) ChangeProduct(ctx context.Context, id int64, change ProductChange, by string) (Product, error) {
	err := s.inTx(ctx, func(tx *Tx) error {
		var active, folded any
		if change.Name != nil {
			folded = fold(*change.Name)
		}
		if change.Active != nil {
			active = 0
			if *change.Active {
				active = 1
			}
		}
		found, err := tx.changed(ctx, "UPDATE products SET name = coalesce(?, name), folded = coalesce(?, folded), price = coalesce(?, price), active = coalesce(?, active) WHERE id = ?",
			change.Name, folded, change.Price, active, id)
		if err == nil && !found {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		b := &batch{}
		tx.bump(b, CatalogueVersion)
		if err := tx.run(ctx, b); err != nil {
			return err
		}
		detail, _ := json.Marshal(change)
		return tx.audit(ctx, by, "change product", fmt.Sprint(id), string(detail))
	})
	if err != nil {
		return Product{}, err
	}
	return s.Product(ctx, id)
}

// ChangeStock adds change, which may be negative, to the stock of a product, for a reason. With
// a key, a repetition leaves the stock unchanged and returns the current product, and replayed
// is true.
func (s *Store) ChangeStock(ctx context.Context, id, change int64, reason string, once Once) (p Product, replayed bool, err error) {
	err = s.inOnce(ctx, once, func(tx *Tx) error {
		replayed = false
		err := tx.queryRow(ctx, selectProduct+"FROM "+tx.inKeyOrder("stock", "s")+" products p ON p.id = s.product_id JOIN categories c ON c.id = p.category_id WHERE s.product_id = ?"+
			tx.forUpdate("s"), id).Scan(p.dest()...)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return err
		}
		if once.Key != "" {
			var seen seen
			if err := tx.queryRow(ctx, "SELECT "+seenKey, once.seenArgs()...).Scan(seen.dest()...); err != nil {
				return err
			}
			if _, _, err := seen.check(once); err != nil || seen.ownPrint.Valid {
				replayed = err == nil
				return err
			}
		}
		switch {
		case p.Stock+change < 0:
			return Conflict{Detail: fmt.Sprintf("only %d of product %d in stock", p.Stock, id)}
		case p.Stock+change > MaxMoney:
			return Conflict{Detail: "the stock would be larger than can be counted"}
		}
		p.Stock += change
		b := &batch{}
		tx.keepKey(b, once, 0, once.fingerprint(), otherKey)
		b.add("UPDATE stock SET quantity = quantity + ? WHERE product_id = ?", change, id)
		tx.bump(b, CategoryVersion(p.Category.ID), MoneyVersion)
		tx.record(b, once.User, "stock", fmt.Sprint(id), fmt.Sprintf("%+d: %s", change, reason))
		return tx.tooLittle(tx.run(ctx, b))
	})
	return p, replayed, err
}
