package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// TestVoid undoes a sale and a top-up: money, stock and the day's figures are as before,
// and neither can be undone again.
func TestVoid(t *testing.T) { void(t, openShop(t, at(t.TempDir()), small)) }

func void(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	state := func() string {
		date, from, to := utc.Day(mustNow(t, s))
		d, err := s.Day(ctx, utc, date, from, to)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(s.number(t, "SELECT sum(quantity * product_id) FROM stock"), s.number(t, "SELECT sum(balance) FROM cards"),
			d.Revenue, d.Cash, d.Card, d.Sales-d.Voids.Count, s.number(t, "SELECT sum(total) FROM sales"))
	}
	before := state()
	card := "C1000007"
	sale, _, err := s.Sell(ctx, Cashier, &card, []Line{{1, 2}, {2, 1}}, nil, Once{})
	if err != nil {
		t.Fatal(err)
	}
	cash, _, err := s.Sell(ctx, Cashier, nil, []Line{{3, 1}}, nil, Once{})
	if err != nil {
		t.Fatal(err)
	}
	if state() == before {
		t.Fatal("a sale changed nothing")
	}
	manager := Once{User: Admin}
	var wg sync.WaitGroup
	results := make([]error, 5)
	for i := range results {
		wg.Go(func() { _, _, results[i] = s.VoidSale(ctx, sale.ID, "wrong child", manager) })
	}
	wg.Wait()
	made := 0
	for _, err := range results {
		if err == nil {
			made++
		} else if !errors.As(err, new(Conflict)) {
			t.Errorf("a second void: %v", err)
		}
	}
	if made != 1 {
		t.Errorf("%d of five voids were made", made)
	}
	if entry, _, err := s.VoidSale(ctx, cash.ID, "dropped", Once{User: Admin, Key: "v"}); err != nil || entry.Total != -cash.Total || entry.Items[0].Quantity != -1 {
		t.Errorf("the counter-entry is %+v, %v", entry, err)
	}
	if _, replayed, err := s.VoidSale(ctx, cash.ID, "dropped", Once{User: Admin, Key: "v"}); err != nil || !replayed {
		t.Errorf("the repeated void: %v", err)
	}
	if after := state(); after != before {
		t.Errorf("after the voids %s, before %s", after, before)
	}
	if again, err := s.Sale(ctx, sale.ID); err != nil || again.VoidedBy == nil {
		t.Errorf("the sale does not name its void: %+v, %v", again, err)
	}
	topUp, _, err := s.TopUp(ctx, card, 500, Once{User: Cashier})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.VoidTopUp(ctx, topUp.ID, "typo", manager); err != nil {
		t.Error(err)
	}
	if _, _, err := s.VoidTopUp(ctx, topUp.ID, "typo", manager); !errors.As(err, new(Conflict)) {
		t.Errorf("a second void of a top-up: %v", err)
	}
	if after := state(); after != before {
		t.Errorf("after the top-up's void %s, before %s", after, before)
	}
}

func mustNow(t *testing.T, s *Store) time.Time {
	t.Helper()
	now, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// TestCalendar has days that begin in another zone, late at night, and over a change of
// the clocks.
func TestCalendar(t *testing.T) {
	auckland, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		t.Fatal(err)
	}
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		c    Calendar
		at   string
		date string
		long time.Duration
	}{
		{Calendar{Zone: auckland}, "2026-11-28T16:20:00Z", "2026-11-29", 24 * time.Hour},
		{Calendar{Zone: madrid, Hour: 4}, "2026-11-28T02:00:00Z", "2026-11-27", 24 * time.Hour},
		{Calendar{Zone: madrid}, "2026-10-25T12:00:00Z", "2026-10-25", 25 * time.Hour},
		{Calendar{Zone: madrid}, "2026-03-29T12:00:00Z", "2026-03-29", 23 * time.Hour},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		date, from, to := test.c.Day(at)
		if date != test.date || to.Sub(from) != test.long || at.Before(from) || !at.Before(to) {
			t.Errorf("%s in %s: %s, from %s to %s", test.at, test.c.Zone, date, from, to)
		}
	}
}

// TestRoundTrips counts the statements of a sale: two, between BEGIN and COMMIT.
func TestRoundTrips(t *testing.T) {
	s := openShop(t, at(t.TempDir()), small)
	for _, n := range []int64{1, 20} {
		var lines []Line
		for id := range n {
			lines = append(lines, Line{id + 1, 1})
		}
		ctx, counter := querycount.With(t.Context())
		if _, _, err := s.Sell(ctx, Cashier, nil, lines, nil, Once{Key: fmt.Sprint("k", n)}); err != nil {
			t.Fatal(err)
		}
		if counter.Total() != 2 {
			t.Errorf("%d lines took %d statements", n, counter.Total())
		}
	}
}

func onMariaDB(t *testing.T) (*Store, *testserver.MariaDBServer) {
	t.Helper()
	db := testserver.MariaDB(t)
	db.CreateDatabase(t, "pos")
	on := at(t.TempDir())
	if err := on.Database.Set("mysql://" + db.User() + ":" + db.Password() + "@" + db.Addr() + "/pos"); err != nil {
		t.Fatal(err)
	}
	return openShop(t, on, small), db
}

// TestNoDeadlocks sells from sixteen goroutines under keys that are in order.
func TestNoDeadlocks(t *testing.T) {
	s, _ := onMariaDB(t)
	deadlocks := func() int64 {
		return s.number(t, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'")
	}
	before, sales := deadlocks(), s.number(t, "SELECT count(*) FROM sales")
	keys := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for n := range keys {
				if _, _, err := s.Sell(t.Context(), Cashier, nil, []Line{{int64(n%5 + 1), 1}}, nil, Once{Key: fmt.Sprintf("run-%09d", n)}); err != nil && !errors.As(err, new(Conflict)) {
					t.Error(err)
				}
			}
		})
	}
	for n := range 320 {
		keys <- n
	}
	close(keys)
	wg.Wait()
	if n := s.number(t, "SELECT count(*) FROM sales") - sales; n != 320 {
		t.Errorf("%d of 320 sales", n)
	}
	if n := deadlocks() - before; n != 0 {
		t.Errorf("%d deadlocks", n)
	}
	if _, ok, err := s.Authenticate(t.Context(), "cashier ", "x"); ok || err != nil {
		t.Errorf("a name with a blank: %v %v", ok, err)
	}
	if _, err := s.Card(t.Context(), "C1000007 "); !errors.Is(err, ErrNotFound) {
		t.Errorf("a number with a blank: %v", err)
	}
	void(t, s)
}

// TestFewConnections lets a role have six connections, and asks for 24.
func TestFewConnections(t *testing.T) {
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	on := at(t.TempDir())
	if err := on.Database.Set(db.DSN("pos")); err != nil {
		t.Fatal(err)
	}
	openShop(t, on, small).Close()
	db.Exec(t, "postgres", "CREATE ROLE till LOGIN PASSWORD 'secret' CONNECTION LIMIT 6")
	db.Exec(t, "postgres", "ALTER DATABASE pos SET default_transaction_isolation = 'serializable'")
	db.Exec(t, "pos", "GRANT ALL ON ALL TABLES IN SCHEMA public TO till; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO till")
	var d settings.Database
	if err := d.Set("postgres://till:secret@" + db.Addr() + "/pos?sslmode=disable"); err != nil {
		t.Fatal(err)
	}
	on.Database = d
	s, err := OpenExisting(t.Context(), on)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			for k := range 8 {
				if _, _, err := s.Sell(t.Context(), Cashier, nil, []Line{{int64(i%20 + 1), 1}}, nil, Once{Key: fmt.Sprint(i, "-", k)}); err != nil {
					t.Errorf("sale %d of %d: %v", k, i, err)
				}
			}
		})
	}
	wg.Wait()
}
