package store

import (
	"time"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// SaleRow is a sale in a report: one line, with the number of its items.
type SaleRow struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Total     int64     `json:"total"`
	Card      *string   `json:"card"` // null: paid in cash
	Cashier   string    `json:"cashier"`
	Items     int64     `json:"items"`
	Voids     *int64    `json:"voids"` // the sale that this one undoes, with a negative total
}

// SaleRowColumns returns the columns that can sort a report.
func SaleRowColumns() []keyset.Column[SaleRow] {
	return []keyset.Column[SaleRow]{
		{Name: "id", Expr: "s.id", Unique: true},
		{Name: "created_at", Expr: "s.created_at"},
		{Name: "total", Expr: "s.total"},
	}
}

// SaleRows returns the list of sales for a report. A page or batch costs one statement.
func (s *Store) SaleRows(filter SaleFilter, order keyset.Order) keyset.SQLSource[SaleRow] {
	return keyset.SQLSource[SaleRow]{
		DB: s.read, Dialect: s.dialect, Order: order, CountFrom: "sales s", DeepKey: filter.deepKey(),
		Base: filter.narrow(keyset.Base{
			Columns: []string{
				"s.id", "s.created_at", "s.total", "s.card_number", "s.cashier",
				"(SELECT COUNT(*) FROM sale_items i WHERE i.sale_id = s.id) AS items", "s.voids",
			},
			From: "sales s",
		}),
		Scan: func(rows keyset.Scanner) (SaleRow, error) {
			var row SaleRow
			var created int64
			err := rows.Scan(&row.ID, &created, &row.Total, &row.Card, &row.Cashier, &row.Items, &row.Voids)
			row.CreatedAt = fromMicros(created)
			return row, err
		},
	}
}
