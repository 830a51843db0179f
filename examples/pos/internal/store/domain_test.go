package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// TestVoid undoes a sale and a top-up. Money, stock and the figures of the day are as before. A
// second void is refused.
func TestVoid(t *testing.T) { void(t, openShop(t, at(t.TempDir()), small)) }

func void(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	card := "C1000007"
	if _, _, err := s.TopUp(ctx, card, 20_000, Once{User: Admin}); err != nil {
		t.Fatal(err)
	}
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

// TestCalendar has days that begin in another zone, late at night, and during a change of the
// clocks.
func TestCalendar(t *testing.T) {
	auckland, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		t.Fatal(err)
	}
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	santiago, err := time.LoadLocation("America/Santiago")
	if err != nil {
		t.Fatal(err)
	}
	beirut, err := time.LoadLocation("Asia/Beirut")
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
		{Calendar{Zone: madrid, Hour: 2, Minute: 30}, "2026-03-29T12:00:00Z", "2026-03-29", 23*time.Hour + 30*time.Minute},
		// At midnight the clocks show one o'clock.
		{Calendar{Zone: santiago}, "2026-09-06T12:00:00-03:00", "2026-09-06", 23 * time.Hour},
		{Calendar{Zone: santiago}, "2026-09-06T01:00:00-03:00", "2026-09-06", 23 * time.Hour},
		{Calendar{Zone: santiago}, "2026-09-05T23:30:00-04:00", "2026-09-05", 24 * time.Hour},
		{Calendar{Zone: beirut}, "2026-03-29T12:00:00Z", "2026-03-29", 23 * time.Hour},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		date, from, to := test.c.Day(at)
		if date != test.date || to.Sub(from) != test.long || at.Before(from) || !at.Before(to) {
			t.Errorf("%s in %s: %s, from %s to %s", test.at, test.c.Zone, date, from, to)
		}
		if f, u, err := test.c.Date(date); !f.Equal(from) || !u.Equal(to) || err != nil {
			t.Errorf("%s in %s is from %s to %s, %v", date, test.c.Zone, f, u, err)
		}
	}
}

// TestRoundTrips counts the statements of each change on each engine. A change takes two
// statements between BEGIN and COMMIT, for any number of lines.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			roundTrips(t, s)
			versionsAfterARestore(t, s)
			lastGoodsOnce(t, s)
			loginDuringAChange(t, s)
			dayAgrees(t, s)
		})
	}
}

// together runs f in n goroutines at once.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// lastGoodsOnce sends one sale of all goods, and one void, eight times at once with one key. A
// request that waits for another finds the goods sold and the money spent, by itself.
func lastGoodsOnce(t *testing.T, s *Store) {
	for round := range 5 {
		product := int64(20 + round)
		if _, _, err := s.ChangeStock(t.Context(), product, 7, "delivery", Once{User: "admin", Key: fmt.Sprint("delivery ", round)}); err != nil {
			t.Fatal(err)
		}
		var stock int64
		if err := s.queryRow(t.Context(), []any{&stock}, "SELECT quantity FROM stock WHERE product_id = ?", product); err != nil {
			t.Fatal(err)
		}
		sale := Once{User: "cashier", Key: fmt.Sprint("all of it ", round), Body: []byte("a")}
		together(8, func(int) {
			if _, _, err := s.Sell(t.Context(), "cashier", nil, []Line{{product, stock}}, nil, sale); err != nil {
				t.Error("a repeated sale of all goods:", err)
			}
		})
		card, err := s.Card(t.Context(), "C1000007")
		if err != nil {
			t.Fatal(err)
		}
		up, _, err := s.TopUp(t.Context(), card.Number, 1000, Once{User: "admin"})
		if err != nil {
			t.Fatal(err)
		}
		if card.Balance > 0 { // so that the card has the money of the top-up alone
			if _, _, err := s.topUp(t.Context(), TopUp{Card: card.Number, Amount: -card.Balance, Cashier: "admin"}, Once{User: "admin"}); err != nil {
				t.Fatal(err)
			}
		}
		void := Once{User: "admin", Key: fmt.Sprint("void ", round), Body: []byte("b")}
		together(8, func(int) {
			if _, _, err := s.VoidTopUp(t.Context(), up.ID, "wrong card", void); err != nil {
				t.Error("a repeated void of a top-up:", err)
			}
		})
	}
}

// loginDuringAChange starts sessions between a comparison of the old password and its change. None
// is valid afterwards.
func loginDuringAChange(t *testing.T, s *Store) {
	password := "a long password"
	if err := s.CreateUser(t.Context(), User{Name: "anna", Role: Cashier}, password, "admin"); err != nil {
		t.Fatal(err)
	}
	user, ok, err := s.Authenticate(t.Context(), "anna", password)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	changed := "another long password"
	together(9, func(i int) {
		if i == 4 {
			if _, err := s.ChangeUser(t.Context(), "anna", UserChange{Password: &changed}, "admin"); err != nil {
				t.Error(err)
			}
			return
		}
		token := fmt.Sprint("token ", i)
		if err := s.StartSession(t.Context(), token, user, time.Hour, "", ""); err != nil && !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
	if err := s.StartSession(t.Context(), "late", user, time.Hour, "", ""); !errors.Is(err, ErrNotFound) {
		t.Error("a session with the old password was started:", err)
	}
	for i := range 9 {
		if _, alive, err := s.Session(t.Context(), fmt.Sprint("token ", i)); alive || err != nil {
			t.Errorf("session %d with the old password is alive, %v", i, err)
		}
	}
}

// dayAgrees reads the figures of the day while sales are made. Products and revenue are of one
// moment.
func dayAgrees(t *testing.T, s *Store) {
	c := Calendar{Zone: time.UTC}
	at, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	date, from, to := c.Day(at)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 40 {
			if _, _, err := s.Sell(t.Context(), "cashier", nil, []Line{{30, 1}}, nil, Once{}); err != nil && !errors.As(err, new(Conflict)) {
				t.Error(err)
			}
		}
	}()
	for selling := true; selling; {
		select {
		case <-done:
			selling = false
		default:
		}
		day, err := s.Day(t.Context(), c, date, from, to)
		if err != nil {
			t.Fatal(err)
		}
		sold := int64(0)
		for _, p := range day.Products {
			sold += p.Revenue
		}
		if sold != day.Revenue {
			t.Fatalf("products of %d, revenue of %d", sold, day.Revenue)
		}
	}
}

// versionsAfterARestore sets the versions back, as a restore of the database does. No version
// from before may occur again, because Redis still has values under it.
func versionsAfterARestore(t *testing.T, s *Store) {
	exec := func(query string) {
		t.Helper()
		if _, err := s.write.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	change := func(n int) {
		for range n {
			if _, _, err := s.TopUp(t.Context(), "C1000007", 5, Once{User: Cashier}); err != nil {
				t.Fatal(err)
			}
			v, err := s.Versions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if seen[v.Money()] {
				t.Errorf("the version %s occurs again", v.Money())
			}
			seen[v.Money()] = true
		}
	}
	change(1)
	exec("CREATE TABLE kept AS SELECT name, slot, version FROM versions")
	change(4)
	exec("DELETE FROM versions")
	exec("INSERT INTO versions (name, slot, version) SELECT name, slot, version FROM kept")
	exec("DROP TABLE kept")
	time.Sleep(2 * time.Millisecond) // a restore takes longer than a tick of SQLite's clock
	change(8)
}

// TestVersionsAreNoSums has two states with the same sum of slots, which a restore lies between.
func TestVersionsAreNoSums(t *testing.T) {
	before, after := Versions{MoneyVersion: {newest: 40, sum: 70}}, Versions{MoneyVersion: {newest: 50, sum: 70}}
	before.add(CategoryVersion(1), version{newest: 40, sum: 70})
	before.add(CategoryVersion(2), version{newest: 30, sum: 30})
	after.add(CategoryVersion(1), version{newest: 50, sum: 80})
	after.add(CategoryVersion(2), version{newest: 20, sum: 20})
	if before.Money() == after.Money() {
		t.Error("sales have the version ", after.Money(), " again")
	}
	if before.Stock(0) == after.Stock(0) {
		t.Error("the stock has the version ", after.Stock(0), " again")
	}
	if same := (Versions{MoneyVersion: {newest: 40, sum: 70}}); same.Money() != before.Money() {
		t.Error("the version of sales depends on the stock")
	}
}

var engines = map[string]func(*testing.T) *Store{
	"sqlite": func(t *testing.T) *Store {
		return openShop(t, at(t.TempDir()), Demo{Products: 120, Customers: 5, Sales: 60})
	},
	"mariadb":  func(t *testing.T) *Store { s, _ := onMariaDB(t); return s },
	"postgres": func(t *testing.T) *Store { s, _ := onPostgres(t); return s },
}

func roundTrips(t *testing.T, s *Store) {
	card := "C1000007"
	count := func(what string, want int64, f func(context.Context) error) {
		t.Helper()
		ctx, counter := querycount.With(t.Context())
		if err := f(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := int64(counter.Total()); got != want {
			t.Errorf("%s took %d statements, not %d", what, got, want)
		}
	}
	manager := func(key string) Once { return Once{User: Admin, Key: key} }
	for _, n := range []int64{1, 32, 100} {
		var lines []Line
		for id := range n {
			lines = append(lines, Line{n - id, 1})
		}
		var sale Sale
		name := fmt.Sprint(n, " lines")
		count("a sale of "+name, 2, func(ctx context.Context) (err error) {
			sale, _, err = s.Sell(ctx, Cashier, nil, lines, nil, Once{Key: "k" + name})
			return err
		})
		count("the void of "+name, 2, func(ctx context.Context) error {
			_, _, err := s.VoidSale(ctx, sale.ID, "test", manager("v"+name))
			return err
		})
	}
	var topUp TopUp
	count("a top-up", 2, func(ctx context.Context) (err error) {
		topUp, _, err = s.TopUp(ctx, card, 100, Once{User: Cashier, Key: "t"})
		return err
	})
	count("its void", 2, func(ctx context.Context) error {
		_, _, err := s.VoidTopUp(ctx, topUp.ID, "test", manager("vt"))
		return err
	})
	count("a delivery", 2, func(ctx context.Context) error {
		p, _, err := s.ChangeStock(ctx, 1, 7, "test", Once{User: Admin})
		if want := s.number(t, "SELECT quantity FROM stock WHERE product_id = 1"); p.Stock != want {
			t.Errorf("the delivery returned a stock of %d, and it is %d", p.Stock, want)
		}
		return err
	})
}

func onMariaDB(t *testing.T) (*Store, *testserver.MariaDBServer) {
	t.Helper()
	db := testserver.MariaDB(t)
	db.CreateDatabase(t, "pos")
	on := at(t.TempDir())
	if err := on.Database.Set("mysql://" + db.User() + ":" + db.Password() + "@" + db.Addr() + "/pos"); err != nil {
		t.Fatal(err)
	}
	return openShop(t, on, Demo{Products: 120, Customers: 5, Sales: 60}), db
}

func onPostgres(t *testing.T) (*Store, *testserver.PostgresServer) {
	t.Helper()
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	on := at(t.TempDir())
	if err := on.Database.Set(db.DSN("pos")); err != nil {
		t.Fatal(err)
	}
	return openShop(t, on, Demo{Products: 120, Customers: 5, Sales: 60}), db
}

// TestNoDeadlocks sells from sixteen goroutines with keys in ascending order. Some sales have
// 32 lines in random order. Deliveries, top-ups and voids run at the same time.
func TestNoDeadlocks(t *testing.T) {
	t.Parallel()
	s, db := onMariaDB(t)
	deadlocks := func() int64 {
		return s.number(t, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'")
	}
	db.Exec(t, "UPDATE pos.stock SET quantity = 10000")
	before, sales := deadlocks(), s.number(t, "SELECT count(*) FROM sales")
	keys := make(chan int)
	var wg sync.WaitGroup
	sell := func(n int) error {
		lines := []Line{{int64(n%5 + 1), 1}}
		if n%4 == 0 {
			lines = nil
			for _, i := range rand.Perm(32) {
				lines = append(lines, Line{int64((i+n)%60 + 1), 1})
			}
		}
		sale, _, err := s.Sell(t.Context(), Cashier, nil, lines, nil, Once{Key: fmt.Sprintf("run-%09d", n)})
		if err == nil && (n%16 == 1 || n%16 == 4) {
			_, _, err = s.VoidSale(t.Context(), sale.ID, "test", Once{User: Admin, Key: fmt.Sprintf("void-%09d", n)})
		}
		if err == nil && n%16 == 2 {
			_, _, err = s.ChangeStock(t.Context(), int64(n%60+1), 5, "test", Once{User: Admin})
		}
		if err == nil && n%16 == 3 {
			_, _, err = s.TopUp(t.Context(), "C1000007", 5, Once{User: Cashier, Key: fmt.Sprintf("topup-%09d", n)})
		}
		return err
	}
	for range 16 {
		wg.Go(func() {
			for n := range keys {
				if err := sell(n); err != nil {
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
	if n := s.number(t, "SELECT count(*) FROM sales") - sales; n != 360 {
		t.Errorf("%d of 360 sales and voids", n)
	}
	if n := deadlocks() - before; n != 0 {
		_, latest, _ := strings.Cut(db.Exec(t, "SHOW ENGINE INNODB STATUS"), "LATEST DETECTED DEADLOCK")
		t.Errorf("%d deadlocks, the last: %.6000s", n, latest)
	}
	if _, ok, err := s.Authenticate(t.Context(), "cashier ", "x"); ok || err != nil {
		t.Errorf("a name with a blank: %v %v", ok, err)
	}
	if _, err := s.Card(t.Context(), "C1000007 "); !errors.Is(err, ErrNotFound) {
		t.Errorf("a number with a blank: %v", err)
	}
	void(t, s)
}

// TestFewConnections uses a role with a limit of six connections and a pool of 24.
func TestFewConnections(t *testing.T) {
	t.Parallel()
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
