package command

import (
	"bytes"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestOnMariaDB runs the tests of the shop on a real MariaDB server.
func TestOnMariaDB(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	db := testserver.MariaDB(t)
	db.CreateDatabase(t, "pos")
	onServer(t, "--database=mysql://"+db.User()+":"+db.Password()+"@"+db.Addr()+"/pos")
}

func TestOnPostgres(t *testing.T) {
	t.Parallel()
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	onServer(t, "--database="+db.DSN("pos"))
}

func onServer(t *testing.T, database string) {
	t.Helper()
	s := openTestShop(t, append(unlimited, database)...)
	sellConcurrently(s)
	spendAtOnce(s)
	sendTwenty(s)
	strangeInputs(s)
	if v := s.get("/api/v1/customers/?search=%27"); v["count"] != 0.0 {
		t.Errorf("customers: %v", v["count"])
	}
	if v := s.get("/api/v1/sales/?cursor=&ordering=-total&page_size=3"); len(v["results"].([]any)) != 3 || v["next"] == nil {
		t.Errorf("sales by cursor: %v", v)
	}
	if status, body, _ := s.asManager().send("GET", "/api/v1/reports/sales/?format=csv", ""); status != 200 || bytes.Count(body, []byte("\n")) < 501 {
		t.Errorf("report: %d, %d bytes", status, len(body))
	}
	second := openTestShop(t, append(unlimited, database)...)
	if _, stock := second.product(1); stock < 0 {
		t.Errorf("stock %d", stock)
	}
}

// spendAtOnce sends one sale twenty times at once with one key. The card cannot pay for it. The
// server must refuse each request for that reason, and none because of the others.
func spendAtOnce(s *shop) {
	t := s.t
	t.Helper()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			body := `{"card":"` + card + `","items":[{"product":2,"quantity":40}]}`
			if status, answer, _ := s.send("POST", "/api/v1/sales/", body, "Idempotency-Key", "too-dear"); status != http.StatusConflict {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	wg.Wait()
}

// TestTwoReplicas shares cache, limits and sessions through Redis. A sale, a log-out or a
// refusal on one replica takes effect on the other.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	redis := testserver.Redis(t)
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	flags := []string{"--database=" + db.DSN("pos"), "--redis=redis://" + redis.Addr() + "/0", "--rate-topup=3/1h"}
	one, two := openTestShop(t, flags...), openTestShop(t, flags...)
	two.token = one.token
	before := two.balance() // now in the cache of both
	for i, want := range []int{201, 201, 201, 429} {
		replica := []*shop{one, two}[i%2]
		if status, body, _ := replica.send("POST", "/api/v1/topups/", `{"card":"`+card+`","amount":100}`); status != want {
			t.Errorf("top-up %d: %d %s", i+1, status, body)
		}
	}
	if now := two.balance(); now != before+300 {
		t.Errorf("balance %d, was %d", now, before)
	}
	if status, _, _ := one.send("POST", "/api/v1/logout/", ""); status != http.StatusNoContent {
		t.Errorf("logout: %d", status)
	}
	if status, _, _ := two.send("GET", "/api/v1/categories/", ""); status != http.StatusUnauthorized {
		t.Errorf("after a logout at the other replica: %d", status)
	}
}

// TestWithoutItsRedis sells, logs in and logs out while Redis is unavailable.
func TestWithoutItsRedis(t *testing.T) {
	t.Parallel()
	redis := testserver.Redis(t)
	s := openTestShop(t, append(unlimited, "--redis=redis://"+redis.Addr())...)
	sale := `{"items":[{"product":1,"quantity":1}]}`
	redis.Kill()
	start := time.Now()
	for range 20 {
		if status, body, _ := s.send("POST", "/api/v1/sales/", sale); status != http.StatusCreated {
			t.Errorf("a sale: %d %s", status, body)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("twenty sales took %s", took)
	}
	if status, _, _ := s.send("GET", "/ready/", ""); status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
	if status, body, _ := s.send("POST", "/api/v1/login/", `{"username":"admin","password":"`+adminPassword+`"}`); status != http.StatusOK {
		t.Errorf("login: %d %s", status, body)
	}
	if status, body, _ := s.send("POST", "/api/v1/logout/", ""); status != http.StatusNoContent {
		t.Errorf("logout: %d %s", status, body)
	}
	redis.Restart() // and has lost all data
	if status, _, _ := s.send("GET", "/api/v1/categories/", ""); status != http.StatusUnauthorized {
		t.Errorf("after the logout: %d", status)
	}
	if status, _, _ := s.asManager().send("GET", "/api/v1/categories/", ""); status != http.StatusOK {
		t.Errorf("a session from before: %d", status)
	}
}

// TestDatabaseThatHangs gets a JSON response before the server closes the connection. The
// health check reports the cause at once, and the shop works again when the database returns.
func TestDatabaseThatHangs(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	db := testserver.MariaDB(t)
	db.CreateDatabase(t, "pos")
	s := openTestShop(t, append(unlimited, "--database=mysql://"+db.User()+":"+db.Password()+"@"+db.Addr()+"/pos")...)
	db.Pause()
	t.Cleanup(db.Continue)
	var wg sync.WaitGroup
	for range 25 { // more than the number of connections
		wg.Go(func() {
			start := time.Now()
			status, body, header := s.send("POST", "/api/v1/sales/", `{"items":[{"product":1,"quantity":1}]}`)
			if status != http.StatusServiceUnavailable || field(t, body, "detail") == nil || header.Get("Retry-After") == "" {
				t.Errorf("a sale: %d %s", status, body)
			}
			if took := time.Since(start); took > 25*time.Second {
				t.Errorf("the answer took %s", took)
			}
		})
	}
	wg.Wait()
	if status, body, _ := s.send("GET", "/health/", ""); status != http.StatusServiceUnavailable {
		t.Errorf("health: %d %s", status, body)
	}
	db.Continue()
	waitFor(t, "a sale", func() bool {
		status, _, _ := s.send("POST", "/api/v1/sales/", `{"items":[{"product":1,"quantity":1}]}`)
		return status == http.StatusCreated
	})
}
