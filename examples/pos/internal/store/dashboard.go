package store

import (
	"context"
	"database/sql"
	"time"
)

// Dashboard has the figures of the current business day.
type Dashboard struct {
	Date          string         `json:"date"`
	Zone          string         `json:"timezone"`
	Sales         int64          `json:"sales"`
	Revenue       int64          `json:"revenue"`
	Average       int64          `json:"average"`
	CardSales     int64          `json:"card_sales"`
	TopUps        int64          `json:"topups"`
	TopUpAmount   int64          `json:"topup_amount"`
	LowStock      int64          `json:"low_stock"` // products with fewer than LowStockBelow
	TopProducts   []ProductTotal `json:"top_products"`
	LastSevenDays []DayRevenue   `json:"last_seven_days"`
}

// DayRevenue has the figures of one day.
type DayRevenue struct {
	Date    string `json:"date"`
	Sales   int64  `json:"sales"`
	Revenue int64  `json:"revenue"`
}

// LowStockBelow is the quantity below which a product should be ordered again.
const LowStockBelow = 20

// Dashboard sums up the business day of an instant and the six days before it.
func (s *Store) Dashboard(ctx context.Context, c Calendar, at time.Time) (d Dashboard, err error) {
	err = s.inSnapshot(ctx, func(tx *Tx) error {
		d, err = tx.dashboard(ctx, c, at)
		return err
	})
	return d, err
}

func (t *Tx) dashboard(ctx context.Context, c Calendar, at time.Time) (Dashboard, error) {
	today, from, to := c.Day(at)
	d := Dashboard{Date: today, Zone: c.Zone.String()}
	parsed, err := time.Parse(time.DateOnly, today)
	if err != nil {
		return d, err
	}
	y, m, day := parsed.Date()
	starts := make([]time.Time, 8)
	for i := range starts {
		starts[i] = c.start(y, m, day-6+i)
	}
	var totals [7]Totals
	err = t.query(ctx, func(rows *sql.Rows) error {
		var q, entries, amount int64
		var kind string
		if err := rows.Scan(&q, &kind, &entries, &amount); err != nil {
			return err
		}
		i := 0
		for i < 6 && q >= quarterOf(micros(starts[i+1])) {
			i++
		}
		totals[i].add(kind, entries, amount)
		if i == 6 && kind == kindTopUp {
			d.TopUps, d.TopUpAmount = d.TopUps+entries, d.TopUpAmount+amount
		}
		return nil
	}, `SELECT quarter, kind, sum(entries), sum(amount) FROM quarter_counts WHERE quarter >= ? AND quarter < ? GROUP BY quarter, kind`,
		quarterOf(micros(starts[0])), quarterOf(micros(to)))
	if err != nil {
		return d, err
	}
	for i, sum := range totals {
		d.LastSevenDays = append(d.LastSevenDays, DayRevenue{Date: date(y, m, day-6+i), Sales: sum.Sales, Revenue: sum.Revenue})
	}
	d.Sales, d.Revenue, d.CardSales = totals[6].Sales, totals[6].Revenue, totals[6].CardSales
	if d.Sales > 0 {
		d.Average = d.Revenue / d.Sales
	}
	if err := t.queryRow(ctx, "SELECT count(*) FROM stock WHERE quantity < ?", LowStockBelow).Scan(&d.LowStock); err != nil {
		return d, err
	}
	d.TopProducts, err = t.productsSold(ctx, from, to, 5)
	return d, err
}
