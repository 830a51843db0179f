package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

var seedDay = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// utc are business days of UTC, from midnight.
var utc = Calendar{Zone: time.UTC}

func at(data string) *settings.Settings {
	s := settings.Default()
	s.Data = data
	return s
}

func openShop(t *testing.T, on *settings.Settings, demo Demo) *Store {
	t.Helper()
	s, err := Open(t.Context(), on)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Seed(t.Context(), utc, seedDay, demo); err != nil {
		t.Fatal(err)
	}
	return s
}

var small = Demo{Products: 24, Customers: 5, Sales: 60}

func (s *Store) number(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	if err := s.queryRow(context.Background(), []any{&n}, query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDemoData(t *testing.T) {
	t.Parallel()
	s := openShop(t, at(t.TempDir()), Demo{})
	for query, want := range map[string]int64{
		"SELECT count(*) FROM categories":                                                           12,
		"SELECT count(*) FROM products":                                                             450,
		"SELECT count(*) FROM stock":                                                                450,
		"SELECT count(*) FROM customers":                                                            120,
		"SELECT count(*) FROM sales":                                                                10_000,
		"SELECT sum(amount) - (SELECT sum(total) FROM sales) FROM quarter_counts":                   0,
		"SELECT sum(amount) - (SELECT sum(total) FROM sales) FROM quarter_products":                 0,
		"SELECT count(*) FROM cards k LEFT JOIN children c ON c.id = k.child_id WHERE c.id IS NULL": 0,
		"SELECT count(*) FROM sales s WHERE total <> (SELECT sum(quantity * price) FROM sale_items i WHERE i.sale_id = s.id)":    0,
		"SELECT count(*) FROM sales WHERE created_at >= " + fmt.Sprint(micros(seedDay)):                                          0,
		"SELECT count(*) FROM (SELECT customer_id, count(*) n FROM children GROUP BY customer_id) x WHERE n NOT BETWEEN 1 AND 3": 0,
	} {
		if got := s.number(t, query); got != want {
			t.Errorf("%s: %d, not %d", query, got, want)
		}
	}
	if err := s.Seed(t.Context(), utc, seedDay, Demo{}); err == nil {
		t.Error("a second seeding was accepted")
	}
	one, other := openShop(t, at(t.TempDir()), small), openShop(t, at(t.TempDir()), small)
	sum := "SELECT sum(total * id) + (SELECT sum(balance) FROM cards) + (SELECT sum(quantity * product_id) FROM stock) FROM sales"
	if a, b := one.number(t, sum), other.number(t, sum); a != b {
		t.Errorf("two seedings differ: %d and %d", a, b)
	}
}

// TestConcurrentSales sells one product to one card from a hundred tills at once. Exactly as
// many sales succeed as money and stock allow.
func TestConcurrentSales(t *testing.T) {
	sellConcurrently(t, openShop(t, at(t.TempDir()), small))
}

func sellConcurrently(t *testing.T, s *Store) {
	t.Helper()
	const tills, affordable = 100, 40
	card := "C1000007"
	price := s.number(t, "SELECT price FROM products WHERE id = 1")
	for _, set := range []string{
		fmt.Sprintf("UPDATE cards SET balance = %d WHERE number = '%s'", affordable*price+price/2, card),
		"UPDATE stock SET quantity = 70 WHERE product_id = 1",
	} {
		if err := s.inTx(t.Context(), func(tx *Tx) error { _, err := tx.exec(t.Context(), set); return err }); err != nil {
			t.Fatal(err)
		}
	}
	before := s.number(t, "SELECT count(*) FROM sales")
	var wg sync.WaitGroup
	results := make([]error, tills)
	for i := range tills {
		wg.Go(func() {
			_, _, results[i] = s.Sell(context.Background(), Cashier, &card, []Line{{1, 1}}, nil, Once{})
		})
	}
	wg.Wait()
	sold := int64(0)
	for _, err := range results {
		if err == nil {
			sold++
		} else if !errors.As(err, new(Conflict)) {
			t.Errorf("a sale failed: %v", err)
		}
	}
	if sold != affordable {
		t.Errorf("%d sales succeeded, the card paid for %d", sold, affordable)
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM sales":                                                  before + sold,
		"SELECT balance FROM cards WHERE number = '" + card + "'":                     price / 2,
		"SELECT quantity FROM stock WHERE product_id = 1":                             70 - sold,
		"SELECT count(*) FROM sale_items WHERE sale_id NOT IN (SELECT id FROM sales)": 0,
	} {
		if got := s.number(t, query); got != want {
			t.Errorf("%s: %d, not %d", query, got, want)
		}
	}
}

// TestFailedSaleChangesNothing makes a sale fail at its last step, after stock was taken.
func TestFailedSaleChangesNothing(t *testing.T) {
	s := openShop(t, at(t.TempDir()), small)
	card := "C1000007"
	state := func() int64 {
		return s.number(t, "SELECT (SELECT sum(quantity * product_id) FROM stock) + (SELECT sum(balance) FROM cards) * 100000 + (SELECT count(*) FROM sales) * 1000000000")
	}
	before := state()
	lines := []Line{{1, 2}, {2, 3}}
	for name, test := range map[string]struct {
		card  *string
		lines []Line
	}{
		"too little stock":   {nil, []Line{{1, 1}, {2, MaxQuantity}}},
		"too little balance": {&card, []Line{{1, 40}}},
		"no such product":    {nil, []Line{{1, 1}, {99999, 1}}},
		"no such card":       {ptr("C9"), lines},
		"second line too":    {nil, []Line{{1, 45}, {1, 900}}},
	} {
		if _, _, err := s.Sell(t.Context(), Cashier, test.card, test.lines, nil, Once{User: Cashier, Key: name}); err == nil {
			t.Errorf("%s: the sale succeeded", name)
		} else if !errors.As(err, new(Conflict)) && !errors.As(err, new(Invalid)) {
			t.Errorf("%s: %v", name, err)
		}
		if after := state(); after != before {
			t.Errorf("%s: something changed", name)
		}
	}
	// After a failed sale its key is free for the corrected sale.
	if _, _, err := s.Sell(t.Context(), Cashier, nil, []Line{{1, 1}}, nil, Once{User: Cashier, Key: "too little stock"}); err != nil {
		t.Errorf("a key was used up by a sale that failed: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

// TestSameKeyTwentyTimes sends one sale twenty times at once. It happens once, and all requests
// get the same result.
func TestSameKeyTwentyTimes(t *testing.T) { sameKey(t, openShop(t, at(t.TempDir()), small)) }

func sameKey(t *testing.T, s *Store) {
	t.Helper()
	before := s.number(t, "SELECT count(*) FROM sales")
	var wg sync.WaitGroup
	outcomes := make([]Sale, 20)
	replays := make([]bool, 20)
	for i := range outcomes {
		wg.Go(func() {
			var err error
			outcomes[i], replays[i], err = s.Sell(context.Background(), Cashier, nil, []Line{{2, 1}}, nil, Once{User: Cashier, Key: "k", Body: []byte("a")})
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	first, _ := json.Marshal(outcomes[0])
	for i, o := range outcomes {
		if body, _ := json.Marshal(o); !bytes.Equal(body, first) || o.ID == 0 {
			t.Errorf("answers differ: %s and %s", body, first)
		}
		if !replays[i] {
			fresh++
		}
	}
	if n := s.number(t, "SELECT count(*) FROM sales"); n != before+1 || fresh != 1 {
		t.Errorf("%d sales and %d first answers", n-before, fresh)
	}
	if _, _, err := s.Sell(t.Context(), Cashier, nil, []Line{{2, 2}}, nil, Once{User: Cashier, Key: "k", Body: []byte("b")}); !errors.Is(err, ErrKeyReused) {
		t.Errorf("another request under the same key: %v", err)
	}
	if _, _, err := s.Sell(t.Context(), Admin, nil, []Line{{2, 1}}, nil, Once{User: Admin, Key: "k", Body: []byte("a")}); err != nil {
		t.Errorf("another user's key of the same name: %v", err)
	}
}

func TestTopUp(t *testing.T) {
	s := openShop(t, at(t.TempDir()), small)
	before, err := s.Card(t.Context(), "C1000007")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.TopUp(t.Context(), before.Number, 250, Once{User: Cashier}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.TopUp(t.Context(), before.Number, MaxMoney, Once{User: Cashier}); !errors.As(err, new(Conflict)) {
		t.Errorf("an overflowing top-up: %v", err)
	}
	if _, _, err := s.TopUp(t.Context(), "C9", 1, Once{User: Cashier}); !errors.As(err, new(Invalid)) {
		t.Errorf("a top-up of no card: %v", err)
	}
	if after, _ := s.Card(t.Context(), before.Number); after.Balance != before.Balance+250 {
		t.Errorf("balance %d after %d and 250", after.Balance, before.Balance)
	}
	if _, err := s.Card(t.Context(), "C9"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such card: %v", err)
	}
}

func TestLists(t *testing.T) { lists(t, openShop(t, at(t.TempDir()), small)) }

func lists(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	order, err := keyset.NewOrder(nil, keyset.Key{Name: "id", Expr: "p.id", Unique: true})
	if err != nil {
		t.Fatal(err)
	}
	other := "Lid for SKU-00002"
	gone, active := "Lid for SKU-00005", false
	for id, change := range map[int64]ProductChange{7: {Name: &other}, 8: {Name: &gone}, 5: {Active: &active}} {
		if _, err := s.ChangeProduct(ctx, id, change, Admin); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		filter ProductFilter
		want   int64
	}{
		"all":          {ProductFilter{}, 23},
		"category":     {ProductFilter{Category: 3}, 2},
		"search":       {ProductFilter{Search: "LASAGNE"}, 1},
		"sku":          {ProductFilter{Search: "sku-00002"}, 2},
		"not for sale": {ProductFilter{Search: "sku-00005"}, 0},
		"manager":      {ProductFilter{Search: "sku-00005", All: true}, 2},
		"wildcard":     {ProductFilter{Search: "%"}, 0},
		"both":         {ProductFilter{Category: 2, Search: "lasagne"}, 0},
		"unlikely one": {ProductFilter{Search: "'; DROP TABLE products; --"}, 0},
	} {
		source := s.Products(test.filter, order)
		n, err := source.Count(ctx)
		if err != nil || n != test.want {
			t.Errorf("%s: %d products, %v", name, n, err)
		}
		rows, err := source.List(ctx, 50, 0)
		if err != nil || int64(len(rows)) != test.want {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
	customerOrder, err := keyset.NewOrder(nil, keyset.Key{Name: "id", Expr: "c.id", Unique: true})
	if err != nil {
		t.Fatal(err)
	}
	customers, err := s.Customers("", customerOrder).List(ctx, 50, 0)
	if err != nil || len(customers) != 5 {
		t.Fatalf("%d customers, %v", len(customers), err)
	}
	for _, c := range customers {
		if len(c.Children) < 1 || len(c.Children) > 3 || c.Children[0].Card.Number == "" {
			t.Errorf("customer %d has children %v", c.ID, c.Children)
		}
	}
	verified(t, ProductColumns(), s.Products(ProductFilter{}, order))
	verified(t, CustomerColumns(), s.Customers("", customerOrder).bare)
	verified(t, SaleColumns(), s.Sales(SaleFilter{}, order).bare)
	verified(t, SaleRowColumns(), s.SaleRows(SaleFilter{}, order))
	verified(t, AuditColumns(), s.AuditLog(order))
	d, err := s.Dashboard(ctx, utc, seedDay.AddDate(0, 0, -1))
	if err != nil || len(d.LastSevenDays) != 7 {
		t.Fatalf("dashboard %+v, %v", d, err)
	}
	for i, day := range d.LastSevenDays {
		alone, err := s.Dashboard(ctx, utc, seedDay.AddDate(0, 0, i-7))
		if want := (DayRevenue{Date: alone.Date, Sales: alone.Sales, Revenue: alone.Revenue}); err != nil || day != want || want.Sales == 0 {
			t.Errorf("day %d of the week is %+v, by itself %+v, %v", i, day, want, err)
		}
	}
}

func TestUsersAndSessions(t *testing.T) {
	t.Parallel()
	s := openShop(t, at(t.TempDir()), small)
	ctx := t.Context()
	if given, err := s.GivePassword(ctx, AdminUser, "right"); err != nil || !given {
		t.Fatal(given, err)
	}
	if given, err := s.GivePassword(ctx, AdminUser, "second"); err != nil || given {
		t.Fatal("a second first password was given", err)
	}
	for _, test := range []struct {
		name, password string
		want           bool
	}{{"admin", "right", true}, {"admin", "wrong", false}, {"bob", "right", false}, {"ADMIN", "right", false}, {"cashier", "!", false}} {
		if user, ok, err := s.Authenticate(ctx, test.name, test.password); ok != test.want || err != nil || ok && user.Role != Admin {
			t.Errorf("%s/%s: %v %v %v", test.name, test.password, user, ok, err)
		}
	}
	start := func(token string, lifetime time.Duration) {
		t.Helper()
		if err := s.StartSession(ctx, token, AdminUser, lifetime, "192.0.2.1", "test"); err != nil {
			t.Fatal(err)
		}
	}
	open := func(token string) bool {
		t.Helper()
		user, ok, err := s.Session(ctx, token)
		if err != nil || ok && user.Name != "admin" {
			t.Errorf("session: %v %v", user, err)
		}
		return ok
	}
	start("one", time.Hour)
	start("two", time.Hour)
	start("old", -time.Second)
	if !open("one") || !open("two") || open("old") || open(hashToken("one")) {
		t.Error("the wrong sessions are open")
	}
	if list, err := s.Sessions(ctx, "admin"); err != nil || len(list) != 2 {
		t.Errorf("sessions %v, %v", list, err)
	}
	if err := s.EndSession(ctx, "one"); err != nil || open("one") || !open("two") {
		t.Error("a session goes on after its end, or another ended with it", err)
	}
	password := "another one"
	if _, err := s.ChangeUser(ctx, "admin", UserChange{Password: &password}, "admin"); err != nil || open("two") {
		t.Error("a session goes on after a new password", err)
	}
	role := Cashier
	if _, err := s.ChangeUser(ctx, "admin", UserChange{Role: &role}, "admin"); !errors.As(err, new(Conflict)) {
		t.Errorf("the last manager became a cashier: %v", err)
	}
}

func TestOneServerAFolder(t *testing.T) {
	on := at(t.TempDir())
	unlock, err := Lock(on)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(on); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server: %v", err)
	}
	unlock()
	unlock, err = Lock(on)
	if err != nil {
		t.Fatalf("after the first server's end: %v", err)
	}
	unlock()
}

// TestDamagedFileIsLeftAlone opens garbage, a file with overwritten pages, a truncated one, and
// one of three bytes.
func TestDamagedFileIsLeftAlone(t *testing.T) {
	good := at(t.TempDir())
	openShop(t, good, small).Close()
	whole, err := os.ReadFile(good.SQLitePath())
	if err != nil {
		t.Fatal(err)
	}
	holed := bytes.Clone(whole)
	copy(holed[4096:12288], bytes.Repeat([]byte{0xAA}, 8192))
	for name, content := range map[string][]byte{
		"garbage": []byte(strings.Repeat("this is no database\n", 500)),
		"holed":   holed,
		"cut":     whole[:len(whole)/2],
		"short":   []byte("SQL"),
	} {
		on := at(t.TempDir())
		if err := os.WriteFile(on.SQLitePath(), content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), on)
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", name)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "damaged") {
			t.Errorf("%s: the message is %q", name, text)
		}
		if after, err := os.ReadFile(on.SQLitePath()); err != nil || !bytes.Equal(content, after) {
			t.Errorf("%s was changed (%v)", name, err)
		}
	}
}

// verified compares a list with its database, in every order.
func verified[T any](t *testing.T, columns []keyset.Column[T], source keyset.SQLSource[T]) {
	t.Helper()
	cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := keyset.New("list", pagination.Standard, cursors, columns, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Verify(t.Context(), source, nil); err != nil {
		t.Error(err)
	}
}
