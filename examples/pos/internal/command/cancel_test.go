package command

import (
	"net/http"
	"testing"
)

// TestCancelKey cancels keys over HTTP. The limit of the pages does not refuse it.
func TestCancelKey(t *testing.T) {
	t.Parallel()
	s := openTestShop(t, unlimited...)
	cancel := func(body string) (int, []byte) {
		status, answer, _ := s.send("POST", "/api/v1/keys/cancel/", body)
		return status, answer
	}
	sale := `{"items":[{"product":2,"quantity":1}]}`
	if status, body := cancel(`{"key":"a"}`); status != http.StatusOK || field(t, body, "cancelled") != true || field(t, body, "sale") != nil {
		t.Errorf("%d %s", status, body)
	}
	if status, body, _ := s.send("POST", "/api/v1/sales/", sale, "Idempotency-Key", "a"); status != http.StatusConflict || field(t, body, "code") != "cancelled" {
		t.Errorf("a sale with the key: %d %s", status, body)
	}
	_, body, _ := s.send("POST", "/api/v1/sales/", sale, "Idempotency-Key", "b")
	id := field(t, body, "id")
	if status, body := cancel(`{"key":"b"}`); status != http.StatusOK || field(t, body, "cancelled") != false || field(t, body, "sale").(map[string]any)["id"] != id {
		t.Errorf("%d %s, want sale %v", status, body, id)
	}
	_, body, _ = s.send("POST", "/api/v1/topups/", `{"card":"`+card+`","amount":5}`, "Idempotency-Key", "c")
	id = field(t, body, "id")
	if status, body := cancel(`{"key":"c"}`); status != http.StatusOK || field(t, body, "topup").(map[string]any)["id"] != id {
		t.Errorf("%d %s, want top-up %v", status, body, id)
	}
	m := s.asManager()
	delivery := `{"change":5,"reason":"delivery"}`
	if status, body, _ := m.send("POST", "/api/v1/products/3/stock/", delivery, "Idempotency-Key", "d"); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	for key, made := range map[string]bool{"d": true, "e": false} {
		if status, body, _ := m.send("POST", "/api/v1/keys/cancel/", `{"key":"`+key+`"}`); status != http.StatusOK || field(t, body, "stock") != made || field(t, body, "cancelled") == made {
			t.Errorf("a delivery: %d %s", status, body)
		}
	}
	if status, body, _ := m.send("POST", "/api/v1/products/3/stock/", delivery, "Idempotency-Key", "e"); status != http.StatusConflict || field(t, body, "code") != "cancelled" {
		t.Errorf("a delivery with a cancelled key: %d %s", status, body)
	}
	for _, bad := range []string{`{}`, `{"key":""}`, `{"key":"a b"}`, `{"key":1}`} {
		if status, body := cancel(bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	s.token = ""
	if status, _ := cancel(`{"key":"a"}`); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", status)
	}
}

// TestStrangersUseNoLimit sends many requests without a session. Each is refused for that reason,
// and a till at the same address can still log in and read.
func TestStrangersUseNoLimit(t *testing.T) {
	t.Parallel()
	s := openTestShop(t, "--rate-api=3/1h", "--rate-sale=3/1h", "--rate-topup=3/1h")
	token := s.token
	for _, s.token = range []string{"", "garbage"} {
		for range 5 {
			for path, method := range map[string]string{"/api/v1/me/": "GET", "/api/v1/sales/": "POST", "/api/v1/topups/": "POST", "/api/v1/reports/sales/": "GET", "/api/v1/users/": "GET"} {
				if status, body, _ := s.send(method, path, "{}"); status != http.StatusUnauthorized {
					t.Fatalf("%s: %d %s", path, status, body)
				}
			}
		}
	}
	s.token = token
	if status, body, _ := s.send("GET", "/api/v1/me/", ""); status != http.StatusOK {
		t.Errorf("the till: %d %s", status, body)
	}
}
