//go:build linux

package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// newLoad fills the stock and the cards that the tills use.
func newLoad(t *testing.T, f *fleet) *load {
	t.Helper()
	l := &load{t: t, replicas: f.replicas, problems: map[string]int{}, examples: map[string]string{}}
	l.admin, l.cashier = l.login("admin", adminPassword), l.login("cashier", cashierPassword)
	l.must(l.admin, "POST", "/api/v1/users/", `{"username":"guest","password":"guest-of-the-test","role":"cashier"}`, "", 201, nil)
	var products struct {
		Results []struct{ ID, Price int64 }
	}
	var customers struct {
		Results []struct {
			Children []struct {
				Card struct{ Number string }
			}
		}
	}
	l.must(l.admin, "GET", "/api/v1/products/?ordering=id", "", "", 200, &products)
	l.must(l.admin, "GET", "/api/v1/customers/", "", "", 200, &customers)
	for i := range 8 {
		one := &till{id: i, card: customers.Results[i].Children[0].Card.Number, change: 7, made: map[string]int64{}}
		if i < 6 {
			p := products.Results[i+1]
			one.product, one.change = p.ID, -p.Price-products.Results[0].Price
		}
		l.tills = append(l.tills, one)
		l.must(l.admin, "POST", "/api/v1/topups/", fmt.Sprintf(`{"card":"%s","amount":1000000000}`, one.card), fmt.Sprint("fill-", i), 201, nil)
	}
	for _, p := range products.Results[:8] {
		l.must(l.admin, "POST", fmt.Sprintf("/api/v1/products/%d/stock/", p.ID), `{"change":1000000,"reason":"delivery"}`, "", 201, nil)
	}
	time.Sleep(stale) // until then a reader may see the stock before the deliveries
	for _, one := range l.tills {
		one.balance = f.number("SELECT balance FROM cards WHERE number = '" + one.card + "'")
		if one.product != 0 {
			one.stock = f.number(fmt.Sprint("SELECT quantity FROM stock WHERE product_id = ", one.product))
		}
	}
	return l
}

// sales returns the number of acknowledged sales.
func (l *load) sales() (n int) {
	for _, t := range l.tills {
		t.mu.Lock()
		n += len(t.acked)
		t.mu.Unlock()
	}
	return n
}

// audit compares the books with the responses that the tills received.
func (l *load) audit(f *fleet) {
	for _, r := range f.replicas {
		for _, token := range l.ended {
			l.showEnded(r, token)
		}
	}
	for _, table := range []string{"sales", "topups"} {
		stored := map[string]string{}
		for line := range strings.Lines(f.database.exec("SELECT request_key, id FROM " + table + " WHERE request_key LIKE 'run-%'")) {
			if key, id, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				stored[key] = id
			}
		}
		for _, t := range l.tills {
			if (t.product == 0) != (table == "topups") {
				continue
			}
			for key, id := range t.made {
				if stored[key] != fmt.Sprint(id) {
					l.problem("lost", "%s %s is %d for the till and %q in the books", table, key, id, stored[key])
				}
				delete(stored, key)
			}
		}
		if len(stored) > 0 {
			l.problem("doubled", "the books have %d %s that no till made", len(stored), table)
		}
	}
	sold := 0
	for _, t := range l.tills {
		n := int64(len(t.made))
		if now := f.number("SELECT balance FROM cards WHERE number = '" + t.card + "'"); now != t.balance+n*t.change {
			l.problem("balance", "card %s has %d after %d entries of %d from %d", t.card, now, n, t.change, t.balance)
		}
		if t.product == 0 {
			continue
		}
		sold += len(t.made)
		if now := f.number(fmt.Sprint("SELECT quantity FROM stock WHERE product_id = ", t.product)); now != t.stock-n {
			l.problem("stock", "%d of product %d are left after %d sales from %d", now, t.product, n, t.stock)
		}
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM sales s WHERE total <> (SELECT coalesce(sum(quantity * price), 0) FROM sale_items i WHERE i.sale_id = s.id)": 0,
		"SELECT sum(amount) - (SELECT sum(total) FROM sales) FROM quarter_counts WHERE kind IN ('cash', 'card')":                           0,
		"SELECT sum(amount) - (SELECT sum(total) FROM sales) FROM quarter_products":                                                        0,
	} {
		if got := f.number(query); got != want {
			l.problem("books", "%s: %d", query, got)
		}
	}
	if sold == 0 {
		l.problem("nothing sold", "the load did not run")
	}
	for _, kind := range slices.Sorted(maps.Keys(l.problems)) {
		l.t.Errorf("%s: %d times, first: %s", kind, l.problems[kind], l.examples[kind])
	}
}

// verdict is the last column of the report.
func (l *load) verdict() string {
	if len(l.problems) == 0 {
		return "ok"
	}
	return "FAILED: " + fmt.Sprint(slices.Sorted(maps.Keys(l.problems)))
}
