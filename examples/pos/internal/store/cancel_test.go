package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestCancel cancels keys before, after and during their sales and top-ups, on all engines.
func TestCancel(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cancelKeys(t, open(t))
		})
	}
	t.Run("serializable", func(t *testing.T) {
		t.Parallel()
		db := testserver.Postgres(t)
		db.CreateDatabase(t, "pos")
		db.Exec(t, "postgres", "ALTER DATABASE pos SET default_transaction_isolation = 'serializable'")
		on := at(t.TempDir())
		if err := on.Database.Set(db.DSN("pos")); err != nil {
			t.Fatal(err)
		}
		cancelKeys(t, openShop(t, on, small))
	})
}

func cancelKeys(t *testing.T, s *Store) {
	card := "C1000007"
	ctx := t.Context()
	sell := func(user, key string) (Sale, error) {
		sale, _, err := s.Sell(ctx, user, &card, []Line{{1, 1}}, nil, Once{Key: key, Body: []byte("a")})
		return sale, err
	}
	topUp := func(user, key string) (TopUp, error) {
		made, _, err := s.TopUp(ctx, card, 7, Once{User: user, Key: key, Body: []byte("b")})
		return made, err
	}
	deliver := func(user, key string) (replayed bool, err error) {
		_, replayed, err = s.ChangeStock(ctx, 1, 3, "delivery", Once{User: user, Key: key, Body: []byte("c")})
		return replayed, err
	}
	cancelled := func(err error) bool {
		var c Conflict
		return errors.As(err, &c) && c.Code == "cancelled"
	}
	if _, _, err := s.TopUp(ctx, card, 1_000_000, Once{User: Admin}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.write.ExecContext(ctx, "UPDATE stock SET quantity = 100000"); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // before: refused, however often
		if end, err := s.Cancel(ctx, Cashier, "before"); err != nil || end != (KeyEnd{Cancelled: true, Stored: i == 0}) {
			t.Fatalf("cancel: %+v %v", end, err)
		}
		if _, err := sell(Cashier, "before"); !cancelled(err) {
			t.Errorf("a sale with a cancelled key: %v", err)
		}
		if _, err := topUp(Cashier, "before"); !cancelled(err) {
			t.Errorf("a top-up with a cancelled key: %v", err)
		}
		if _, err := deliver(Cashier, "before"); !cancelled(err) {
			t.Errorf("a delivery with a cancelled key: %v", err)
		}
	}
	if _, err := sell(Admin, "before"); err != nil {
		t.Errorf("the same key of another user: %v", err)
	}
	sold, err := sell(Cashier, "after")
	if err != nil {
		t.Fatal(err)
	}
	put, err := topUp(Cashier, "after-topup")
	if err != nil {
		t.Fatal(err)
	}
	if replayed, err := deliver(Cashier, "after-delivery"); err != nil || replayed {
		t.Fatal(replayed, err)
	}
	after := func() {
		t.Helper()
		if end, err := s.Cancel(ctx, Cashier, "after"); err != nil || end.Sale == nil || end.Sale.ID != sold.ID || end.Cancelled {
			t.Errorf("cancel after the sale: %+v %v", end, err)
		}
		if end, err := s.Cancel(ctx, Cashier, "after-topup"); err != nil || end.TopUp == nil || end.TopUp.ID != put.ID || end.Cancelled {
			t.Errorf("cancel after the top-up: %+v %v", end, err)
		}
		if end, err := s.Cancel(ctx, Cashier, "after-delivery"); err != nil || end != (KeyEnd{Stock: true}) {
			t.Errorf("cancel after the delivery: %+v %v", end, err)
		}
		if again, err := sell(Cashier, "after"); err != nil || again.ID != sold.ID {
			t.Errorf("a repetition: %v %v", again, err)
		}
		if replayed, err := deliver(Cashier, "after-delivery"); err != nil || !replayed {
			t.Errorf("a repeated delivery: %v %v", replayed, err)
		}
		if _, err := sell(Cashier, "after-delivery"); !errors.Is(err, ErrKeyReused) {
			t.Errorf("a sale with the key of a delivery: %v", err)
		}
		if _, err := deliver(Cashier, "after"); !errors.Is(err, ErrKeyReused) {
			t.Errorf("a delivery with the key of a sale: %v", err)
		}
	}
	expire := func(passed time.Duration) {
		t.Helper()
		if _, err := s.write.ExecContext(ctx, fmt.Sprintf("UPDATE request_keys SET expires_at = expires_at - %d", passed.Microseconds())); err != nil {
			t.Fatal(err)
		}
		if err := s.ForgetKeys(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // after: the record, and a repetition still returns it
		after()
	}
	expire(25 * time.Hour) // the keys of a sale and a top-up are in their records
	if rows := s.number(t, "SELECT count(*) FROM request_keys"); rows != 2 {
		t.Errorf("%d keys after a day, want the cancelled one and that of the delivery", rows)
	}
	after()
	if _, err := sell(Cashier, "before"); !cancelled(err) {
		t.Errorf("a sale with a key that was cancelled a day ago: %v", err)
	}
	expire(400 * 24 * time.Hour)
	if rows := s.number(t, "SELECT count(*) FROM request_keys"); rows != 0 {
		t.Errorf("%d keys after 400 days", rows)
	}

	// During: for each key the requests and the cancellations agree on one outcome.
	count := func() int64 {
		return s.number(t, "SELECT (SELECT count(*) FROM sales) + (SELECT count(*) FROM topups)")
	}
	balance := func() int64 { return s.number(t, "SELECT balance FROM cards WHERE number = '"+card+"'") }
	before, had := count(), balance()
	var won, lost, spent int64
	for n := range 40 {
		key := fmt.Sprint("during-", n)
		var wg sync.WaitGroup
		var mu sync.Mutex
		outcomes := map[string]int64{} // what each request says, and what it cost
		say := func(what string, cost int64) { mu.Lock(); defer mu.Unlock(); outcomes[what] = cost }
		for range 2 {
			wg.Go(func() {
				var id, cost int64
				var err error
				if n%2 == 0 {
					var sale Sale
					sale, err = sell(Cashier, key)
					id, cost = sale.ID, sale.Total
				} else {
					var made TopUp
					made, err = topUp(Cashier, key)
					id, cost = made.ID, -made.Amount
				}
				switch {
				case err == nil:
					say(fmt.Sprint("made ", id), cost)
				case cancelled(err):
					say("cancelled", 0)
				default:
					t.Errorf("%s: %v", key, err)
				}
			})
			wg.Go(func() {
				end, err := s.Cancel(context.WithoutCancel(ctx), Cashier, key)
				switch {
				case err != nil:
					t.Errorf("cancel %s: %v", key, err)
				case end.Sale != nil:
					say(fmt.Sprint("made ", end.Sale.ID), end.Sale.Total)
				case end.TopUp != nil:
					say(fmt.Sprint("made ", end.TopUp.ID), -end.TopUp.Amount)
				default:
					say("cancelled", 0)
				}
			})
		}
		wg.Wait()
		if len(outcomes) != 1 {
			t.Fatalf("%s has the outcomes %v", key, outcomes)
		}
		for what, cost := range outcomes {
			if spent += cost; what == "cancelled" {
				lost++
			} else {
				won++
			}
		}
	}
	t.Logf("%s: %d made, %d cancelled", s.engine, won, lost)
	if made := count() - before; made != won {
		t.Errorf("%d records, and %d were reported", made, won)
	}
	if now := balance(); now != had-spent {
		t.Errorf("balance %d, want %d", now, had-spent)
	}
}

// TestShopOfAnEarlierVersion starts two servers at once on a shop whose keys have fewer columns, and
// whose names are folded in another way.
func TestShopOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s, ctx := open(t), t.Context()
			earlier := "INSERT INTO request_keys (cashier, request_key, cancelled) VALUES ('cashier', '%s', 1)"
			for _, statement := range []string{
				"DROP TABLE request_keys",
				"CREATE TABLE request_keys (cashier VARCHAR(190) NOT NULL, request_key VARCHAR(190) NOT NULL, cancelled INTEGER NOT NULL, PRIMARY KEY (cashier, request_key))",
				fmt.Sprintf(earlier, "before"),
				"UPDATE products SET name = 'Weißbrot', folded = 'weißbrot' WHERE id = 2",
				"DELETE FROM meta WHERE name = 'fold'",
			} {
				if _, err := s.write.ExecContext(ctx, statement); err != nil {
					t.Fatal(err)
				}
			}
			var starts sync.WaitGroup
			for range 2 {
				starts.Go(func() {
					if err := s.migrate(ctx, false); err != nil {
						t.Error(err)
					}
				})
			}
			starts.Wait()
			if _, err := s.write.ExecContext(ctx, fmt.Sprintf(earlier, "beside")); err != nil {
				t.Errorf("a server of the earlier version: %v", err)
			}
			if err := s.ForgetKeys(ctx); err != nil {
				t.Error(err)
			}
			var refused Conflict
			for _, key := range []string{"before", "beside"} {
				if _, _, err := s.Sell(ctx, Cashier, nil, []Line{{1, 1}}, nil, Once{User: Cashier, Key: key}); !errors.As(err, &refused) || refused.Code != "cancelled" {
					t.Errorf("a sale with a key that was cancelled: %v", err)
				}
			}
			if _, _, err := s.Sell(ctx, Cashier, nil, []Line{{1, 1}}, nil, Once{User: Cashier, Key: "new"}); err != nil {
				t.Error(err)
			}
			if _, _, err := s.ChangeStock(ctx, 1, 3, "delivery", Once{User: Admin, Key: "new"}); err != nil {
				t.Error(err)
			}
			if n := s.number(t, "SELECT count(*) FROM products WHERE folded = 'weissbrot'"); n != 1 {
				t.Error("a name is not folded as a search folds")
			}
			if err := s.createTables(ctx); err != nil { // the next start
				t.Error(err)
			}
		})
	}
}
