package store

import (
	"database/sql"
	"time"

	"github.com/mainstay-go/mainstay/pagination"
)

// SaleRow is a sale in a report: one line, with the number of its items.
type SaleRow struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Total     int64     `json:"total"`
	Card      *string   `json:"card"` // null: paid in cash
	Cashier   string    `json:"cashier"`
	Items     int64     `json:"items"`
}

// SaleRowColumns are what a report can be sorted by.
func SaleRowColumns() []pagination.Column[SaleRow] {
	return []pagination.Column[SaleRow]{
		{Name: "id", Expr: "s.id", Kind: pagination.KindInt, Unique: true, Value: func(s SaleRow) any { return s.ID }},
		{Name: "created_at", Expr: "s.created_at", Kind: pagination.KindInt, Value: func(s SaleRow) any { return micros(s.CreatedAt) }},
		{Name: "total", Expr: "s.total", Kind: pagination.KindInt, Value: func(s SaleRow) any { return s.Total }},
	}
}

// SaleRows is the list of sales for a report, one statement a page or batch.
func (s *Store) SaleRows(filter SaleFilter, order pagination.Order) pagination.SQLSource[SaleRow] {
	return pagination.SQLSource[SaleRow]{
		DB: s.read, Dialect: s.dialect, Order: order, CountFrom: "sales s", DeepKey: filter.deepKey(),
		Base: filter.narrow(pagination.Base{
			Columns: []string{
				"s.id", "s.created_at", "s.total", "s.card_number", "s.cashier",
				"(SELECT COUNT(*) FROM sale_items i WHERE i.sale_id = s.id) AS items",
			},
			From: "sales s",
		}),
		Scan: func(rows *sql.Rows) (SaleRow, error) {
			var row SaleRow
			var created int64
			err := rows.Scan(&row.ID, &created, &row.Total, &row.Card, &row.Cashier, &row.Items)
			row.CreatedAt = fromMicros(created)
			return row, err
		},
	}
}
