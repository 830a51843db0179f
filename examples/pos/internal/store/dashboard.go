package store

import (
	"context"
	"database/sql"
	"time"
)

// Dashboard is today's business, in UTC days.
type Dashboard struct {
	Date          string       `json:"date"`
	Sales         int64        `json:"sales"`
	Revenue       int64        `json:"revenue"`
	Average       int64        `json:"average"`
	CardSales     int64        `json:"card_sales"`
	TopUps        int64        `json:"topups"`
	TopUpAmount   int64        `json:"topup_amount"`
	LowStock      int64        `json:"low_stock"` // products with fewer than LowStockBelow
	TopProducts   []TopProduct `json:"top_products"`
	LastSevenDays []DayRevenue `json:"last_seven_days"`
}

// TopProduct is one of those sold most today.
type TopProduct struct {
	Product  int64  `json:"product"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
}

// DayRevenue is the business of one day.
type DayRevenue struct {
	Date    string `json:"date"`
	Sales   int64  `json:"sales"`
	Revenue int64  `json:"revenue"`
}

// LowStockBelow is the quantity under which a product should be ordered again.
const LowStockBelow = 20

// Dashboard sums up the day of now.
func (s *Store) Dashboard(ctx context.Context, now time.Time) (Dashboard, error) {
	day := now.UTC().Truncate(24 * time.Hour)
	from, to := micros(day), micros(day.AddDate(0, 0, 1))
	d := Dashboard{Date: day.Format(time.DateOnly), TopProducts: []TopProduct{}}
	if err := s.queryRow(ctx, []any{&d.Sales, &d.Revenue, &d.CardSales},
		"SELECT count(*), coalesce(sum(total), 0), count(card_number) FROM sales WHERE created_at >= ? AND created_at < ?", from, to); err != nil {
		return d, err
	}
	if d.Sales > 0 {
		d.Average = d.Revenue / d.Sales
	}
	if err := s.queryRow(ctx, []any{&d.TopUps, &d.TopUpAmount},
		"SELECT count(*), coalesce(sum(amount), 0) FROM topups WHERE created_at >= ? AND created_at < ?", from, to); err != nil {
		return d, err
	}
	if err := s.queryRow(ctx, []any{&d.LowStock}, "SELECT count(*) FROM stock WHERE quantity < ?", LowStockBelow); err != nil {
		return d, err
	}
	if err := s.query(ctx, func(rows *sql.Rows) error {
		var p TopProduct
		err := rows.Scan(&p.Product, &p.Name, &p.Quantity)
		d.TopProducts = append(d.TopProducts, p)
		return err
	}, `SELECT i.product_id, max(i.name), sum(i.quantity) AS sold FROM sales s JOIN sale_items i ON i.sale_id = s.id
		WHERE s.created_at >= ? AND s.created_at < ? GROUP BY i.product_id ORDER BY sold DESC, i.product_id LIMIT 5`, from, to); err != nil {
		return d, err
	}
	return d, s.lastSevenDays(ctx, day, &d)
}

// lastSevenDays reads a week in one statement; days without a sale have no row, and
// are there all the same.
func (s *Store) lastSevenDays(ctx context.Context, day time.Time, d *Dashboard) error {
	week := map[int64]DayRevenue{}
	if err := s.query(ctx, func(rows *sql.Rows) error {
		var start int64
		var r DayRevenue
		err := rows.Scan(&start, &r.Sales, &r.Revenue)
		week[start] = r
		return err
	}, `SELECT created_at - created_at % 86400000000 AS day, count(*), sum(total) FROM sales
		WHERE created_at >= ? AND created_at < ? GROUP BY created_at - created_at % 86400000000`,
		micros(day.AddDate(0, 0, -6)), micros(day.AddDate(0, 0, 1))); err != nil {
		return err
	}
	for back := 6; back >= 0; back-- {
		start := day.AddDate(0, 0, -back)
		r := week[micros(start)]
		r.Date = start.Format(time.DateOnly)
		d.LastSevenDays = append(d.LastSevenDays, r)
	}
	return nil
}
