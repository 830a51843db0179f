package command

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

func TestListShapes(t *testing.T) {
	s := openTestShop(t)
	v := s.get("/api/v1/products/?page=1&page_size=50")
	if v["count"] != 450.0 || v["total_pages"] != 9.0 || v["current_page"] != 1.0 || v["page_size"] != 50.0 || v["previous"] != nil || v["next"] == nil {
		t.Errorf("products: %v", v)
	}
	p := v["results"].([]any)[0].(map[string]any)
	if len(v["results"].([]any)) != 50 || p["category"].(map[string]any)["name"] == "" || p["sku"] == "" {
		t.Errorf("product: %v", p)
	}
	v = s.get("/api/v1/customers")
	child := v["results"].([]any)[0].(map[string]any)["children"].([]any)[0].(map[string]any)
	if v["count"] != 120.0 || v["page_size"] != 25.0 || child["card"].(map[string]any)["number"] == "" {
		t.Errorf("customers: %v %v", v["count"], child)
	}
	if v := s.get("/api/v1/sales/"); v["count"] != 10_000.0 || v["page_size"] != 25.0 {
		t.Errorf("sales: %v", v["count"])
	}
	if v := s.asManager().get("/api/v1/reports/sales/"); v["count"] != 10_000.0 || v["page_size"] != 100.0 {
		t.Errorf("report: %v", v["count"])
	}
	if v := s.get("/api/v1/categories/"); len(v["results"].([]any)) != 12 {
		t.Errorf("categories: %v", v)
	}
	if v := s.get("/api/v1/products/?category=3&search=salad"); v["count"].(float64) < 1 || v["count"].(float64) >= 450 {
		t.Errorf("filtered: %v", v["count"])
	}
	s = s.asManager()
	for path, want := range map[string]int{
		"/api/v1/products/?page=10": 404, "/api/v1/products/?page=x": 404, "/api/v1/products/?category=x": 400,
		"/api/v1/products/?search=%00": 400, "/api/v1/sales/?from=x": 400, "/api/v1/sales/?cursor=forged": 404,
		"/api/v1/cards/C9/": 404, "/api/v1/cards/%00/": 404, "/api/v1/reports/sales/?format=pdf": 400,
	} {
		if status, body, _ := s.send("GET", path, ""); status != want || !bytes.Contains(body, []byte(`"detail"`)) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestKeysetWalk reads all sales by cursor, and the same sales as CSV and NDJSON.
func TestKeysetWalk(t *testing.T) {
	s := openTestShop(t, unlimited...)
	seen := map[float64]bool{}
	for next := "/api/v1/sales/?cursor=&page_size=100&ordering=-total"; next != ""; {
		v := s.get(next)
		for _, sale := range v["results"].([]any) {
			seen[sale.(map[string]any)["id"].(float64)] = true
		}
		link, _ := v["next"].(string)
		next = strings.TrimPrefix(link, s.url)
	}
	if len(seen) != 10_000 {
		t.Errorf("%d sales by cursor", len(seen))
	}
	for format, lines := range map[string]int{"csv": 10_001, "ndjson": 10_000} {
		_, body, header := s.asManager().send("GET", "/api/v1/reports/sales/?format="+format, "")
		if n := bytes.Count(body, []byte("\n")); n != lines {
			t.Errorf("%s: %d lines, %s", format, n, header.Get("Content-Type"))
		}
	}
}

// TestConcurrentSales sells from one card and one product with a hundred tills at once. The
// cached responses must agree with the database.
func TestConcurrentSales(t *testing.T) { sellConcurrently(openTestShop(t, unlimited...)) }

func sellConcurrently(s *shop) {
	t := s.t
	t.Helper()
	price, stock := s.product(1)
	balance := s.balance()
	before := s.get("/api/v1/sales/?page_size=1")["count"].(float64)
	var sold, refused atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			status, body, _ := s.send("POST", "/api/v1/sales/", `{"card":"`+card+`","items":[{"product":1,"quantity":1}]}`)
			switch status {
			case http.StatusCreated:
				sold.Add(1)
			case http.StatusConflict:
				refused.Add(1)
			default:
				t.Errorf("%d %s", status, body)
			}
		})
	}
	wg.Wait()
	if want := balance / price; sold.Load() != want || refused.Load() != 100-want {
		t.Errorf("%d sold and %d refused, the card paid for %d", sold.Load(), refused.Load(), want)
	}
	if _, now := s.product(1); now != stock-sold.Load() {
		t.Errorf("stock %d after %d of %d", now, sold.Load(), stock)
	}
	if now := s.balance(); now != balance-sold.Load()*price {
		t.Errorf("balance %d", now)
	}
	if v := s.get("/api/v1/sales/?page_size=1"); v["count"] != before+float64(sold.Load()) {
		t.Errorf("%v sales", v["count"])
	}
	if v := s.get("/api/v1/dashboard/"); v["sales"] != float64(sold.Load()) || v["revenue"] != float64(sold.Load()*price) {
		t.Errorf("dashboard: %v", v)
	} else if week := v["last_seven_days"].([]any); len(week) != 7 || week[6].(map[string]any)["revenue"] != v["revenue"] {
		t.Errorf("the week: %v", week)
	}
}

func TestIdempotencyKey(t *testing.T) { sendTwenty(openTestShop(t, unlimited...)) }

func sendTwenty(s *shop) {
	t := s.t
	t.Helper()
	sale := `{"card":"` + card + `","items":[{"product":2,"quantity":1}]}`
	if status, body, _ := s.send("POST", "/api/v1/topups/", `{"card":"`+card+`","amount":5000}`); status != http.StatusCreated {
		t.Fatalf("top-up: %d %s", status, body)
	}
	before := s.balance()
	bodies := make([][]byte, 20)
	var wg sync.WaitGroup
	for i := range bodies {
		wg.Go(func() {
			status, body, _ := s.send("POST", "/api/v1/sales/", sale, "Idempotency-Key", "till-1")
			if status != http.StatusCreated {
				t.Errorf("%d %s", status, body)
			}
			bodies[i] = body
		})
	}
	wg.Wait()
	for _, b := range bodies {
		if !bytes.Equal(b, bodies[0]) {
			t.Errorf("answers differ: %s and %s", b, bodies[0])
		}
	}
	price, _ := s.product(2)
	if now := s.balance(); now != before-price {
		t.Errorf("balance %d after one sale of %d from %d", now, price, before)
	}
	for name, test := range map[string]struct {
		path, body, key string
		status          int
	}{
		"other body":    {"/api/v1/sales/", `{"items":[{"product":2,"quantity":1}]}`, "till-1", 422},
		"other route":   {"/api/v1/topups/", `{"card":"` + card + `","amount":5}`, "till-1", 422},
		"other spacing": {"/api/v1/sales/", " " + sale + "\n", "till-1", 201},
		"no key":        {"/api/v1/sales/", sale, " ", 400},
		"long key":      {"/api/v1/sales/", sale, strings.Repeat("k", 191), 400},
	} {
		if status, body, _ := s.send("POST", test.path, test.body, "Idempotency-Key", test.key); status != test.status {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// TestTopUpIsSeenAtOnce reads a balance into the cache, changes it, and reads again.
func TestTopUpIsSeenAtOnce(t *testing.T) {
	s := openTestShop(t)
	before := s.balance()
	status, body, _ := s.send("POST", "/api/v1/topups/", `{"card":"`+card+`","amount":250}`)
	if status != http.StatusCreated || field(t, body, "balance") != float64(before+250) {
		t.Errorf("%d %s", status, body)
	}
	if now := s.balance(); now != before+250 {
		t.Errorf("balance %d", now)
	}
}

func TestBadBodies(t *testing.T) {
	s := openTestShop(t, unlimited...)
	balance := s.balance()
	_, stock := s.product(1)
	for _, test := range []struct {
		path, body string
		status     int
	}{
		{"sales", ``, 400},
		{"sales", `null`, 400},
		{"sales", `[]`, 400},
		{"sales", `{"items":`, 400},
		{"sales", `{}`, 400},
		{"sales", `{"items":[]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":1}]}{}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":1}],"discount":5}`, 400},
		{"sales", `{"Items":[{"product":1,"quantity":1}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":1}],"items":[{"product":2,"quantity":1}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":-1}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":0}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":1.5}]}`, 400},
		{"sales", `{"items":[{"product":"1","quantity":1}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":9223372036854775808}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":9223372036854775807}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":1},{"product":1,"quantity":1}]}`, 400},
		{"sales", `{"items":[{"product":99999,"quantity":1}]}`, 400},
		{"sales", `{"card":"C9","items":[{"product":1,"quantity":1}]}`, 400},
		{"sales", `{"card":"","items":[{"product":1,"quantity":1}]}`, 400},
		{"sales", `{"card":"\u0000","items":[{"product":1,"quantity":1}]}`, 400},
		{"sales", `{"items":[{"product":1,"quantity":1000000}]}`, 409},
		{"sales", `{"items":[{"product":1,"quantity":1` + strings.Repeat(" ", 70_000) + `}]}`, 413},
		{"topups", `{"card":"` + card + `","amount":0}`, 400},
		{"topups", `{"card":"` + card + `","amount":-5}`, 400},
		{"topups", `{"card":"` + card + `","amount":20001}`, 400},
		{"topups", `{"card":"` + card + `","amount":9007199254740992}`, 400},
		{"topups", `{"card":"` + card + `","amount":"5"}`, 400},
		{"topups", `{"card":"C9","amount":5}`, 400},
		{"login", `{"username":"cashier"}`, 400},
		{"login", `{"username":"cashier","password":"x","remember":true}`, 400},
		{"login", `{"username":"\u0000","password":"x"}`, 401},
	} {
		status, body, _ := s.send("POST", "/api/v1/"+test.path+"/", test.body)
		if status != test.status || field(t, body, "detail") == nil {
			t.Errorf("%s %.80s: %d %s", test.path, test.body, status, body)
		}
	}
	if now := s.balance(); now != balance {
		t.Errorf("balance %d, was %d", now, balance)
	}
	if _, now := s.product(1); now != stock {
		t.Errorf("stock %d, was %d", now, stock)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := openTestShop(t, unlimited...)
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api/v1/nothing", 404, ""},
		{"GET", "/api/v1//products/", 404, ""},
		{"GET", "/api/v1/x/../products/", 404, ""},
		{"POST", "/api/v1/products", 405, "GET, HEAD, OPTIONS"},
		{"DELETE", "/api/v1/sales/", 405, "GET, HEAD, OPTIONS, POST"},
		{"GET", "/api/v1/login", 405, "OPTIONS, POST"},
		{"OPTIONS", "/api/v1/login/", 204, "OPTIONS, POST"},
		{"HEAD", "/api/v1/products", 200, ""},
		{"GET", "/api/v1/products", 200, ""},
		{"GET", "/health", 200, ""},
		{"GET", "/alive", 200, ""},
		{"GET", "/", 200, ""},
		{"POST", "/health/", 405, "GET, HEAD, OPTIONS"},
		{"DELETE", "/health/database", 405, "GET, HEAD, OPTIONS"},
		{"GET", "/metrics", 401, ""},
		{"GET", "/status/", 401, ""},
	} {
		status, body, header := s.send(test.method, test.path, "")
		if status != test.status || header.Get("Allow") != test.allow {
			t.Errorf("%s %s: %d, Allow %q", test.method, test.path, status, header.Get("Allow"))
		}
		if status >= 400 && test.path != "/status/" && field(t, body, "detail") == nil {
			t.Errorf("%s %s: %s", test.method, test.path, body)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: no security headers", test.method, test.path)
		}
	}
	s.token = opsToken
	for path, want := range map[string]string{"/metrics": "health_status", "/status": "database", "/health/?verbose": "database"} {
		if status, body, _ := s.send("GET", path, ""); status != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s with the operations token: %d %.200s", path, status, body)
		}
	}
	if status, _, _ := s.send("GET", "/api/v1/products/", ""); status != 401 {
		t.Errorf("the operations token sells: %d", status)
	}
}

func TestSessions(t *testing.T) {
	s := openTestShop(t, unlimited...)
	cookie := func(header http.Header) string {
		c, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
		return c
	}
	bearer := s.token
	s.token = ""
	status, _, header := s.send("POST", "/api/v1/login", `{"username":"admin","password":"`+adminPassword+`"}`)
	if c := header.Get("Set-Cookie"); status != 200 || !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") {
		t.Errorf("login: %d %q", status, c)
	}
	admin := cookie(header)
	if status, _, _ := s.send("GET", "/metrics", "", "Cookie", admin); status != 200 {
		t.Errorf("metrics for an admin: %d", status)
	}
	sale := `{"items":[{"product":1,"quantity":1}]}`
	if _, _, header := s.send("POST", "/api/v1/login", `{"username":"admin","password":"`+adminPassword+`"}`, "X-Forwarded-Proto", "https"); !strings.Contains(header.Get("Set-Cookie"), "Secure") {
		t.Errorf("a cookie behind a proxy with TLS: %q", header.Get("Set-Cookie"))
	}
	if status, body, _ := s.send("POST", "/api/v1/sales/", sale, "Cookie", admin, "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("a sale from another site: %d %s", status, body)
	}
	if status, body, _ := s.send("POST", "/api/v1/sales/", sale, "Cookie", admin, "Origin", s.url); status != 201 {
		t.Errorf("a sale from our page: %d %s", status, body)
	}
	if status, _, _ := s.send("GET", "/api/v1/products/", ""); status != 401 {
		t.Errorf("nobody: %d", status)
	}
	s.token = bearer
	if status, _, _ := s.send("GET", "/metrics", ""); status != 401 {
		t.Errorf("metrics for a cashier: %d", status)
	}
	if status, _, _ := s.send("POST", "/api/v1/logout/", ""); status != 204 {
		t.Errorf("logout: %d", status)
	}
	if status, _, _ := s.send("GET", "/api/v1/products/", ""); status != 401 {
		t.Errorf("after the logout: %d", status)
	}
}

// TestPageOfAnotherUser sends the name of the user that a page shows. It counts only beside the
// cookie of a browser.
func TestPageOfAnotherUser(t *testing.T) {
	s := openTestShop(t, unlimited...)
	if status, body, _ := s.asManager().send("POST", "/api/v1/users/", `{"username":"José 100%","password":"12345678","role":"cashier"}`); status != 201 {
		t.Fatalf("%d %s", status, body)
	}
	jose, err := s.parts.sessions.Start(t.Context(), store.User{Name: "José 100%", Role: store.Cashier}, time.Hour, "127.0.0.1", "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		token, header, value string
		want                 int
	}{
		{s.token, "X-Pos-User", "cashier", 201},
		{s.token, "X-Pos-User", "", 201},
		{s.token, "Accept", "*/*", 201},
		{jose, "X-Pos-User", "Jos%C3%A9%20100%25", 201},
		{s.token, "X-Pos-User", "admin", 401},
		{s.admin, "X-Pos-User", "cashier", 401},
		{s.token, "X-Pos-User", "Cashier", 401},
		{s.token, "X-Pos-User", "cashier%20", 401},
		{s.token, "X-Pos-User", "100%", 401},
		{jose, "X-Pos-User", "José 100%", 401},
	} {
		browser := *s
		browser.token = ""
		if status, body, _ := browser.send("POST", "/api/v1/sales/", `{"items":[{"product":1,"quantity":1}]}`, "Cookie", "pos_session="+one.token, one.header, one.value); status != one.want {
			t.Errorf("%s %q: %d %s", one.header, one.value, status, body)
		}
	}
	if status, body, _ := s.send("POST", "/api/v1/sales/", `{"items":[{"product":1,"quantity":1}]}`, "X-Pos-User", "admin"); status != 201 {
		t.Errorf("a program: %d %s", status, body)
	}
}

// TestSixthFailedLogin guesses until the limit. The correct password is then refused too.
func TestSixthFailedLogin(t *testing.T) {
	t.Parallel()
	s := openTestShop(t, "--trusted-proxies=127.0.0.1")
	s.token = ""
	try := func(from, user, password string) (int, http.Header) {
		status, _, header := s.send("POST", "/api/v1/login/", `{"username":"`+user+`","password":"`+password+`"}`, "X-Forwarded-For", from)
		return status, header
	}
	for i := range 3 { // successful log-ins do not count
		if status, _ := try("192.0.2.1", "admin", adminPassword); status != 200 {
			t.Fatalf("login %d: %d", i, status)
		}
	}
	for i := range 5 {
		if status, _ := try("192.0.2.1", "admin", fmt.Sprint("guess", i)); status != 401 {
			t.Errorf("guess %d: %d", i+1, status)
		}
	}
	for name, password := range map[string]string{"sixth guess": "guess5", "right password": adminPassword} {
		status, header := try("192.0.2.1", "admin", password)
		if status != 429 {
			t.Errorf("%s: %d", name, status)
		}
		for _, h := range []string{"Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			if header.Get(h) == "" {
				t.Errorf("%s: no %s", name, h)
			}
		}
	}
	if status, _ := try("192.0.2.1", "cashier", cashierPassword); status != 200 {
		t.Errorf("another account from that address: %d", status)
	}
	if status, _ := try("192.0.2.2", " ADMIN", adminPassword); status == 429 {
		t.Errorf("that account from another address: %d", status)
	}
	if status, _ := try("192.0.2.2", "cashier", cashierPassword); status != 200 {
		t.Errorf("another account from another address: %d", status)
	}
}

func TestLimits(t *testing.T) {
	s := openTestShop(t, "--rate-api=3/1h", "--rate-sale=2/1h")
	for range 5 { // reading a limit does not count
		limits := s.get("/api/v1/limits/")["limits"].([]any)
		i := slices.IndexFunc(limits, func(l any) bool { return l.(map[string]any)["policy"] == "api" })
		if i < 0 || limits[i].(map[string]any)["remaining"] != 3.0 {
			t.Fatalf("limits: %v", limits)
		}
	}
	for i, want := range []int{200, 200, 200, 429} {
		if status, _, _ := s.send("GET", "/api/v1/categories/", ""); status != want {
			t.Errorf("request %d: %d", i+1, status)
		}
	}
	for i, want := range []int{201, 201, 429} {
		if status, _, _ := s.send("POST", "/api/v1/sales/", `{"items":[{"product":1,"quantity":1}]}`); status != want {
			t.Errorf("sale %d: %d", i+1, status)
		}
	}
}

func TestQueryCount(t *testing.T) {
	s := openTestShop(t, "--rate-api=off")
	if _, _, header := s.send("GET", "/api/v1/products/", ""); header.Get("X-Query-Count") != "" {
		t.Error("X-Query-Count without POS_DEBUG")
	}
	for _, test := range []struct{ path, first, second string }{
		{"/api/v1/products/", "4", "0"}, // session, versions, count, page; then all from the cache
		{"/api/v1/customers/", "3", "3"},
		{"/api/v1/sales/", "4", "3"}, // the first page asks the database about its computed columns
		{"/api/v1/categories/", "1", "0"},
		{"/api/v1//nothing/", "0", "0"},
	} {
		// A server remembers the session and the versions for 0.4 s. On a busy machine the requests
		// may take longer: then they count for nothing, and a new server is asked.
		want := test.first + " and " + test.second
		for tries := 0; ; tries++ {
			s := openTestShopEnv(t, "POS_DEBUG=1")
			count := func(path string) string {
				_, _, header := s.send("GET", path, "")
				return header.Get("X-Query-Count")
			}
			begin := time.Now()
			if test.path != "/api/v1/products/" {
				count("/api/v1/products/") // reads the session and the versions
			}
			got := count(test.path) + " and " + count(test.path)
			if got == want {
				break
			}
			if took := time.Since(begin); took < 400*time.Millisecond || tries == 20 {
				t.Errorf("%s: %s statements in %v, want %s", test.path, got, took, want)
				break
			}
		}
	}
}
