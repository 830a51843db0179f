package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"
)

// Calendar defines the beginning of business days: a time of day in the zone of the shop.
type Calendar struct {
	Zone         *time.Location
	Hour, Minute int
}

// start returns the instant at which the business day of a date begins. If that time does not
// exist, as when summer time begins, it is the first instant after the gap.
func (c Calendar) start(year int, month time.Month, day int) time.Time {
	at := time.Date(year, month, day, c.Hour, c.Minute, 0, 0, c.Zone)
	wanted := time.Date(year, month, day, c.Hour, c.Minute, 0, 0, time.UTC)
	begin, end := at.ZoneBounds()
	_, offset := at.Zone()
	switch shown := at.Add(time.Duration(offset) * time.Second); { // the local clock, as UTC
	case shown.Before(wanted):
		return end
	case shown.After(wanted):
		return begin
	default:
		return at
	}
}

// date is a date in the form 2026-11-23. The day may lie outside of its month.
func date(year int, month time.Month, day int) string {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// Day returns the business day that contains an instant, from its beginning to its end.
func (c Calendar) Day(at time.Time) (name string, from, to time.Time) {
	local := at.In(c.Zone)
	y, m, d := local.Date()
	if at.Before(c.start(y, m, d)) {
		d--
	}
	return date(y, m, d), c.start(y, m, d), c.start(y, m, d+1)
}

// Date returns the beginning and the end of the business day of a date such as 2026-11-23.
func (c Calendar) Date(name string) (from, to time.Time, err error) {
	t, err := time.Parse(time.DateOnly, name)
	if err != nil {
		return from, to, err
	}
	y, m, d := t.Date()
	return c.start(y, m, d), c.start(y, m, d+1), nil
}

// Now returns the time of the database's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var n int64
	err := s.queryRow(ctx, []any{&n}, "SELECT "+now(s.engine))
	return fromMicros(n), err
}

// Totals are sums over entries. Revenue is net: voids are subtracted.
type Totals struct {
	Sales     int64 `json:"sales"` // without voids
	Revenue   int64 `json:"revenue"`
	Cash      int64 `json:"cash"` // of the revenue
	Card      int64 `json:"card"`
	CardSales int64 `json:"card_sales"`
}

func (t *Totals) add(kind string, entries, amount int64) {
	switch kind {
	case kindCash:
		t.Cash += amount
	case kindCard:
		t.Card += amount
		t.CardSales += entries
	default:
		return
	}
	t.Sales += entries
	t.Revenue += amount
}

// Day has the figures of one business day. They come from counters that each sale updates in
// its own transaction, so they always agree with the sales.
type Day struct {
	Date string    `json:"date"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Totals
	TopUps      int64          `json:"topups"`
	TopUpAmount int64          `json:"topup_amount"`
	Voids       Voids          `json:"voids"`
	Hours       []Hour         `json:"hours"`
	Products    []ProductTotal `json:"products"`
	Cashiers    []CashierTotal `json:"cashiers"`
}

// Voids has the voids of a day. The amounts are positive.
type Voids struct {
	Count       int64 `json:"count"`
	Amount      int64 `json:"amount"`
	TopUps      int64 `json:"topups"`
	TopUpAmount int64 `json:"topup_amount"`
}

// Hour is an hour of a day. Hour is its beginning in the zone of the shop. An hour that summer
// time repeats is there twice, with another At.
type Hour struct {
	Hour string    `json:"hour"` // such as 11:00
	At   time.Time `json:"at"`
	Totals
}

// ProductTotal has the sales of a product.
type ProductTotal struct {
	Product  int64  `json:"product"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
	Revenue  int64  `json:"revenue"`
}

// CashierTotal has the sales and top-ups of a user.
type CashierTotal struct {
	Cashier string `json:"cashier"`
	Totals
	TopUps      int64 `json:"topups"`
	TopUpAmount int64 `json:"topup_amount"`
}

// Day returns the figures of a business day.
func (s *Store) Day(ctx context.Context, c Calendar, date string, from, to time.Time) (d Day, err error) {
	err = s.inSnapshot(ctx, func(tx *Tx) error {
		d, err = tx.day(ctx, c, Day{Date: date, From: from, To: to, Hours: []Hour{}, Cashiers: []CashierTotal{}})
		return err
	})
	return d, err
}

func (t *Tx) day(ctx context.Context, c Calendar, d Day) (Day, error) {
	hours, cashiers := map[int64]*Hour{}, map[string]*CashierTotal{}
	err := t.query(ctx, func(rows *sql.Rows) error {
		var q, entries, amount int64
		var cashier, kind string
		if err := rows.Scan(&q, &cashier, &kind, &entries, &amount); err != nil {
			return err
		}
		d.add(kind, entries, amount)
		at := time.UnixMicro(q * quarter.Microseconds()).In(c.Zone)
		begin := at.Add(-time.Duration(at.Minute()) * time.Minute)
		h := hours[begin.Unix()]
		if h == nil {
			h = &Hour{Hour: begin.Format("15:04"), At: begin.UTC()}
			hours[begin.Unix()] = h
		}
		h.add(kind, entries, amount)
		by := cashiers[cashier]
		if by == nil {
			by = &CashierTotal{Cashier: cashier}
			cashiers[cashier] = by
		}
		by.add(kind, entries, amount)
		switch kind {
		case kindTopUp:
			d.TopUps, d.TopUpAmount = d.TopUps+entries, d.TopUpAmount+amount
			by.TopUps, by.TopUpAmount = by.TopUps+entries, by.TopUpAmount+amount
		case kindVoid:
			d.Voids.Count, d.Voids.Amount = d.Voids.Count+entries, d.Voids.Amount+amount
		case kindTopUpVoid:
			d.Voids.TopUps, d.Voids.TopUpAmount = d.Voids.TopUps+entries, d.Voids.TopUpAmount+amount
		}
		return nil
	}, `SELECT quarter, cashier, kind, sum(entries), sum(amount) FROM quarter_counts WHERE quarter >= ? AND quarter < ?
		GROUP BY quarter, cashier, kind`, quarterOf(micros(d.From)), quarterOf(micros(d.To)))
	if err != nil {
		return d, err
	}
	for _, h := range hours {
		d.Hours = append(d.Hours, *h)
	}
	slices.SortFunc(d.Hours, func(a, b Hour) int { return a.At.Compare(b.At) })
	for _, by := range cashiers {
		d.Cashiers = append(d.Cashiers, *by)
	}
	slices.SortFunc(d.Cashiers, func(a, b CashierTotal) int { return cmp.Compare(a.Cashier, b.Cashier) })
	d.Products, err = t.productsSold(ctx, d.From, d.To, -1)
	return d, err
}

// productsSold returns the products with the most sales in a range, at most limit products
// unless limit is negative.
func (t *Tx) productsSold(ctx context.Context, from, to time.Time, limit int) ([]ProductTotal, error) {
	list := []ProductTotal{}
	query := `SELECT q.product_id, p.name, sum(q.quantity), sum(q.amount) FROM quarter_products q JOIN products p ON p.id = q.product_id
		WHERE q.quarter >= ? AND q.quarter < ? GROUP BY q.product_id, p.name ORDER BY 3 DESC, 1`
	args := []any{quarterOf(micros(from)), quarterOf(micros(to))}
	if limit >= 0 {
		query, args = query+" LIMIT ?", append(args, limit)
	}
	err := t.query(ctx, func(rows *sql.Rows) error {
		var p ProductTotal
		err := rows.Scan(&p.Product, &p.Name, &p.Quantity, &p.Revenue)
		list = append(list, p)
		return err
	}, query, args...)
	return list, err
}
