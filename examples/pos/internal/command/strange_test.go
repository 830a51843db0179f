package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestStrangeInputs sends names, numbers and amounts that are nearly valid.
func TestStrangeInputs(t *testing.T) {
	t.Parallel()
	strangeInputs(openTestShop(t, unlimited...))
}

func strangeInputs(s *shop) {
	t := s.t
	t.Helper()
	quoted := func(text string) string { b, _ := json.Marshal(text); return string(b) }
	for _, name := range []string{"cashier ", "cashier\t", "cashier\u00a0", " cashier", "Cashier", "CASHIER", "cashıer", "cashie\u0301r", "cashier\u200b", "ｃashier", "cashier%", "cash_er"} {
		if status, body, _ := s.send("POST", "/api/v1/login/", `{"username":`+quoted(name)+`,"password":"`+cashierPassword+`"}`); status != http.StatusUnauthorized {
			t.Errorf("log-in as %q: %d %s", name, status, body)
		}
	}
	// bcrypt ignores what follows 72 bytes, and repeats a shorter password with a zero byte.
	long := strings.Repeat("p", 72)
	for password, want := range map[string]int{long: http.StatusCreated, "with-a-\u0000-byte": http.StatusBadRequest} {
		if status, body, _ := s.asManager().send("POST", "/api/v1/users/", `{"username":"long","role":"cashier","password":`+quoted(password)+`}`); status != want {
			t.Errorf("a user with the password %q: %d %s", password, status, body)
		}
	}
	for password, want := range map[string]int{long: http.StatusOK, long + "p": http.StatusUnauthorized} {
		if status, body, _ := s.send("POST", "/api/v1/login/", `{"username":"long","password":`+quoted(password)+`}`); status != want {
			t.Errorf("a password of %d bytes: %d %s", len(password), status, body)
		}
	}
	if status, body, _ := s.send("POST", "/api/v1/login/", `{"username":"cashier","password":`+quoted(cashierPassword+"\u0000"+cashierPassword)+`}`); status != http.StatusUnauthorized {
		t.Errorf("a password twice: %d %s", status, body)
	}
	before, _ := s.send2("GET", "/api/v1/cards/"+card+"/", "")
	for _, number := range []string{card + " ", " " + card, strings.ToLower(card), card + "\u00a0", card + "\u0000", "Ｃ1000007", "C100000７", card + "%", "C1000_07"} {
		for path, body := range map[string]string{
			"/api/v1/sales/":  `{"card":` + quoted(number) + `,"items":[{"product":2,"quantity":1}]}`,
			"/api/v1/topups/": `{"card":` + quoted(number) + `,"amount":5}`,
		} {
			if status, answer, _ := s.send("POST", path, body); status != http.StatusBadRequest {
				t.Errorf("%s with card %q: %d %s", path, number, status, answer)
			}
		}
	}
	for _, amount := range []string{"0", "-1", "-9223372036854775808", "1.0", "1e3", "9007199254740993", "99999999999999999999", `"12,50"`, "null", "true"} {
		if status, answer, _ := s.send("POST", "/api/v1/topups/", `{"card":"`+card+`","amount":`+amount+`}`); status != http.StatusBadRequest {
			t.Errorf("a top-up of %s: %d %s", amount, status, answer)
		}
	}
	for _, quantity := range []string{"-1", "1000001", "9223372036854775807", "-9223372036854775808", "0.5", `"1"`, "null"} {
		if status, answer, _ := s.send("POST", "/api/v1/sales/", `{"items":[{"product":2,"quantity":`+quantity+`}]}`); status != http.StatusBadRequest {
			t.Errorf("a sale of %s: %d %s", quantity, status, answer)
		}
	}
	for path, body := range map[string]string{
		"/api/v1/sales/": `{"items":[{"product":2,"quantity":1}],"itemſ":[{"product":3,"quantity":1}]}`, // encoding/json takes ſ for s
		"/api/v1/login/": `{"username":"nobody","uſername":"cashier","password":"` + cashierPassword + `"}`,
	} {
		if status, answer, _ := s.send("POST", path, body); status != http.StatusBadRequest {
			t.Errorf("%s with %s: %d %s", path, body, status, answer)
		}
	}
	if after, _ := s.send2("GET", "/api/v1/cards/"+card+"/", ""); after != before {
		t.Errorf("the card is %s and was %s", after, before)
	}
	for _, token := range []string{"x", strings.Repeat("A", 26), strings.Repeat("A", 26) + "." + strings.Repeat("A", 24), s.token + "A", s.token[1:], strings.ToLower(s.token), "é", "%00"} {
		if status, answer, _ := s.send("GET", "/api/v1/me/", "", "Authorization", "Bearer "+token); status != http.StatusUnauthorized {
			t.Errorf("token %q: %d %s", token, status, answer)
		}
	}
	// A key belongs to one request: a sale, a void, or a top-up.
	key := []string{"Idempotency-Key", "strange-1"}
	status, body, _ := s.send("POST", "/api/v1/sales/", `{"items":[{"product":3,"quantity":1}]}`, key...)
	if status != http.StatusCreated {
		t.Fatalf("a sale: %d %s", status, body)
	}
	id := field(t, body, "id").(float64)
	for _, other := range []struct{ path, body string }{
		{"/api/v1/sales/", `{"items":[{"product":3,"quantity":2}]}`},
		{"/api/v1/sales/", `{"items":[{"product":4,"quantity":1}]}`},
		{"/api/v1/sales/", `{"card":"` + card + `","items":[{"product":3,"quantity":1}]}`},
		{"/api/v1/topups/", `{"card":"` + card + `","amount":5}`},
	} {
		if status, body, _ := s.send("POST", other.path, other.body, key...); status != http.StatusUnprocessableEntity {
			t.Errorf("the key with %s %s: %d %s", other.path, other.body, status, body)
		}
	}
	m := s.asManager()
	void := fmt.Sprintf("/api/v1/sales/%d/void/", int64(id))
	for want, headers := range map[int][]string{http.StatusCreated: {"Idempotency-Key", "void-1"}, http.StatusForbidden: nil} {
		from := m
		if want == http.StatusForbidden {
			from = s
		}
		if status, body, _ := from.send("POST", void, `{"reason":"dropped"}`, headers...); status != want {
			t.Errorf("a void: %d %s", status, body)
		}
	}
	if status, body, _ := m.send("POST", void, `{"reason":"another"}`, "Idempotency-Key", "void-1"); status != http.StatusUnprocessableEntity {
		t.Errorf("the key of the void with another reason: %d %s", status, body)
	}
	// A product that a manager takes off sale, and one whose price changes.
	if status, body, _ := m.send("PATCH", "/api/v1/products/5/", `{"active":false}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if status, body, _ := s.send("POST", "/api/v1/sales/", `{"items":[{"product":5,"quantity":1}]}`); status != http.StatusConflict || field(t, body, "code") != "inactive" {
		t.Errorf("a product that is not for sale: %d %s", status, body)
	}
	if status, body, _ := s.send("POST", "/api/v1/sales/", `{"total":1,"items":[{"product":6,"quantity":1}]}`); status != http.StatusConflict || field(t, body, "code") != "price" {
		t.Errorf("a total that is not the price: %d %s", status, body)
	}
	for path, want := range map[string]int{
		"/api/v1/days/2026-02-29/": 400, "/api/v1/days/2028-02-29/": 200, "/api/v1/days/26-1-1/": 400, "/api/v1/days/2026-11-23T00:00:00Z/": 400, "/api/v1/days/today/": 200,
		"/api/v1/days/9999-12-31/": 400, "/api/v1/days/9999-12-30/": 200, "/api/v1/days/0000-01-01/": 400, "/api/v1/sales/?to=9999-12-31": 200,
		"/api/v1/sales/99999999/": 404, "/api/v1/sales/-1/": 404, "/api/v1/sales/1e3/": 404, "/api/v1/sales/9223372036854775808/": 404,
	} {
		if status, body, _ := m.send("GET", path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestNamesOfUsers creates users. Each that is accepted must have a path, and a name that others
// see as it is.
func TestNamesOfUsers(t *testing.T) {
	t.Parallel()
	m := openTestShop(t, unlimited...).asManager()
	create := func(name string) (int, []byte) {
		body, _ := json.Marshal(map[string]string{"username": name, "password": "12345678", "role": "cashier"})
		status, answer, _ := m.send("POST", "/api/v1/users/", string(body))
		return status, answer
	}
	for _, name := range []string{".", "..", "a/b", "a\x01", "a\u200bb", "a\u202eb", "a\u00a0b", " a", "settings", "", strings.Repeat("x", 65)} {
		if status, body := create(name); status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", name, status, body)
		}
	}
	for _, name := range []string{"...", "José María", "a?b#c%41", "李", "o'neil;--"} {
		status, body := create(name)
		if status != http.StatusCreated {
			t.Errorf("%q: %d %s", name, status, body)
			continue
		}
		if status, body, _ := m.send("PATCH", "/api/v1/users/"+url.PathEscape(name), `{"active":false}`); status != http.StatusOK {
			t.Errorf("disabling %q: %d %s", name, status, body)
		}
	}
}

// TestListsOfRoles reads the list of all products as a manager and as a cashier. Only managers
// see the products that are not for sale.
func TestListsOfRoles(t *testing.T) {
	s := openTestShop(t, unlimited...)
	if status, body, _ := s.asManager().send("PATCH", "/api/v1/products/5/", `{"active":false}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	count := func(s *shop) float64 { return s.get("/api/v1/products/?all=1")["count"].(float64) }
	for range 2 {
		if all, some := count(s.asManager()), count(s); all != some+1 {
			t.Errorf("a manager sees %v products and a cashier %v", all, some)
		}
	}
}

// TestKeyOfADelivery repeats a delivery with its key, and uses the key for other deliveries.
func TestKeyOfADelivery(t *testing.T) {
	m := openTestShop(t, unlimited...).asManager()
	_, before := m.product(3)
	for i, test := range []struct {
		path, body string
		status     int
	}{
		{"3", `{"change":5,"reason":"delivery"}`, http.StatusCreated},
		{"3", `{"reason":"delivery","change":5}`, http.StatusCreated},
		{"3", `{"change":6,"reason":"delivery"}`, http.StatusUnprocessableEntity},
		{"4", `{"change":5,"reason":"delivery"}`, http.StatusUnprocessableEntity},
	} {
		status, body, header := m.send("POST", "/api/v1/products/"+test.path+"/stock/", test.body, "Idempotency-Key", "delivery-1")
		if status != test.status || (header.Get("Idempotency-Replayed") != "") != (i == 1) {
			t.Errorf("%s %s: %d %s", test.path, test.body, status, body)
		}
	}
	if _, after := m.product(3); after != before+5 {
		t.Errorf("stock %d, was %d", after, before)
	}
}

// TestAuditOfDownloads refuses a format, which is no download.
func TestAuditOfDownloads(t *testing.T) {
	m := openTestShop(t, unlimited...).asManager()
	for format, want := range map[string]int{"xml": http.StatusBadRequest, "CSV": http.StatusBadRequest, "csv": http.StatusOK} {
		if status, body, _ := m.send("GET", "/api/v1/reports/sales/?from=2026-01-01&to=2026-01-01&format="+format, ""); status != want {
			t.Errorf("%s: %d %s", format, status, body)
		}
	}
	lines, _ := m.send2("GET", "/api/v1/audit/", "")
	if n := strings.Count(lines, `"action":"download"`); n != 1 {
		t.Errorf("%d downloads in %s", n, lines)
	}
}

// send2 sends a request and returns its body as a text.
func (s *shop) send2(method, path, body string) (string, int) {
	status, answer, _ := s.send(method, path, body)
	return string(answer), status
}
