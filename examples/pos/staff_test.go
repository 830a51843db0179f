package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestStaff creates, changes and disables users in the browser, ends their sessions, and
// reads the audit log.
func TestStaff(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("a browser")
	}
	s := startShop(t)
	b := openBrowser(t).with(t, s)
	b.logIn("/users/", "admin", adminPassword)
	b.says("#list", "cashier")
	b.write("#create [name=username]", "rosa")
	b.write("#create [name=password]", "rosas-password")
	b.click("#create button")
	b.says("#message", "Saved")
	b.says("#list", "rosa")
	b.says("#audit", "rosa")
	b.write("#create [name=username]", "rosa")
	b.write("#create [name=password]", "rosas-password")
	b.click("#create button")
	b.says("#message", "already")
	b.forPeople()

	logIn := func(password string) (*shop, int) {
		one := &shop{t: t, direct: s.direct}
		status, v := one.request("POST", "/api/v1/login/", map[string]any{"username": "rosa", "password": password})
		one.token, _ = v["token"].(string)
		return one, status
	}
	rosa, status := logIn("rosas-password")
	if status != http.StatusOK {
		t.Fatalf("log-in of a new user: %d", status)
	}
	ended := func(s *shop, what string) {
		t.Helper()
		b.wait(what+" to end the session", func() bool {
			status, _ := s.request("GET", "/api/v1/me/", nil)
			return status == http.StatusUnauthorized
		})
	}
	edit := func(name string) {
		t.Helper()
		b.click(fmt.Sprintf(`[aria-label="Edit %s"]`, name))
		b.until("document.getElementById('edit').open")
	}
	save := func() {
		t.Helper()
		b.click("#edit-form button.main")
		b.until("!document.getElementById('edit').open")
	}
	if status, _ := rosa.request("POST", "/api/v1/sales/1/void/", map[string]any{"reason": "x"}); status != http.StatusForbidden {
		t.Errorf("a cashier voids: %d", status)
	}
	if status, _ := rosa.request("GET", "/api/v1/audit/", nil); status != http.StatusForbidden {
		t.Errorf("a cashier reads the audit log: %d", status)
	}
	edit("rosa")
	b.says("#sessions", "127.0.0.1")
	b.click("#end-sessions")
	b.says("#edit-problem", "ended")
	ended(rosa, "the button")
	b.click("#edit-cancel")

	rosa, _ = logIn("rosas-password")
	edit("rosa")
	b.js("document.querySelector('#edit-form [name=role]').value = 'admin'")
	save()
	ended(rosa, "a new role")
	rosa, _ = logIn("rosas-password")
	if status, _ := rosa.request("GET", "/api/v1/audit/", nil); status != http.StatusOK {
		t.Errorf("a manager reads the audit log: %d", status)
	}
	edit("rosa")
	b.write("#edit-form [name=password]", "another-password")
	save()
	ended(rosa, "a new password")
	if _, status := logIn("rosas-password"); status != http.StatusUnauthorized {
		t.Errorf("the old password: %d", status)
	}
	rosa, status = logIn("another-password")
	if status != http.StatusOK {
		t.Errorf("the new password: %d", status)
	}
	edit("rosa")
	b.click("#edit-form [name=active]")
	save()
	ended(rosa, "disabling")
	if _, status := logIn("another-password"); status != http.StatusUnauthorized {
		t.Errorf("a disabled user logs in: %d", status)
	}
	b.says("#list", "disabled")

	answer := make(chan struct{})
	ending := b.shop.inject("DELETE /api/v1/users/rosa/", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		wait(answer, r)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	edit("rosa")
	b.click("#end-sessions")
	b.hit(ending)
	b.click("#edit-cancel")
	edit("cashier")
	close(answer)
	b.says("#message", "rosa: ")
	if text := b.text("#edit-problem"); text != "" {
		t.Errorf("the dialog of another user says %q", text)
	}
	b.click("#edit-cancel")

	edit("admin") // the last manager stays active
	b.click("#edit-form [name=active]")
	b.click("#edit-form button.main")
	b.says("#edit-problem", "last active manager")
	b.click("#edit-cancel")
	if log := b.text("#audit"); strings.Count(log, "rosa") < 5 {
		t.Errorf("the audit log has %q", log)
	}
	for range 40 {
		s.request("PATCH", "/api/v1/users/cashier/", map[string]any{"active": true})
	}
	b.reload()
	b.until("document.querySelectorAll('#audit tr').length === 25")
	more := b.shop.inject("GET /api/v1/audit/?cursor=", slow(answer))
	b.js("const more = document.getElementById('more'); more.click(); more.click()")
	b.says("#audit", "create user")
	if n := more.hits.Load(); n != 1 {
		t.Errorf("%d requests for one page of the audit log", n)
	}
	b.forPeople()

	b.click("#logout")
	b.until("!document.getElementById('login').hidden")
	for _, path := range []string{"/users/", "/reports/", "/products/", "/day/"} {
		b.open(path)
		if b.is("!document.getElementById('login').hidden") || path == "/users/" {
			b.until("!document.getElementById('login').hidden")
			b.logInHere("cashier", cashierPassword)
		}
		b.says("#message", "for managers")
		if b.is("!document.getElementById('content').hidden") {
			t.Errorf("%s: a cashier sees a manager's page", path)
		}
	}
}

// TestStock changes price and stock in the browser while a response is lost.
func TestStock(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("a browser")
	}
	s := startShop(t)
	b := openBrowser(t).with(t, s)
	b.logIn("/products/", "admin", adminPassword)
	name, _, stock := s.product(7)
	b.write("#search", sku(7))
	b.until("document.querySelectorAll('#list tr').length === 1")
	b.click("#list button")
	b.write("#edit-form [name=price]", "1.234,50")
	b.click("#edit-form button.main")
	b.says("#edit-problem", "Write an amount")
	b.write("#edit-form [name=price]", "2,50")
	b.write("#edit-form [name=change]", "10")
	b.click("#edit-form button.main")
	b.says("#edit-problem", "Give a reason")
	b.write("#edit-form [name=reason]", "delivery")
	b.shop.inject("POST /api/v1/products/7/stock/", unanswered)
	b.click("#edit-form button.main")
	b.says("#edit-problem", fmt.Sprintf("The stock is %d now", stock+10))
	b.shop.clear()
	b.click("#edit-form button.main") // the form no longer contains the change
	b.until("!document.getElementById('edit').open")
	if _, price, now := s.product(7); price != 250 || now != stock+10 {
		t.Errorf("%s: price %d, stock %d, was %d", name, price, now, stock)
	}
	release := b.oneLate("POST /api/v1/products/7/stock/")
	asked := b.shop.inject("POST /api/v1/keys/", unreached)
	b.click("#list button")
	b.write("#edit-form [name=change]", "10")
	b.write("#edit-form [name=reason]", "delivery")
	b.click("#edit-form button.main")
	b.says("#edit-problem", "not known yet")
	asked.remove()
	s.post("/api/v1/users/", map[string]any{"username": "second", "password": "second-password", "role": "admin"})
	find := func() {
		b.write("#search", sku(7))
		b.until("document.querySelectorAll('#list tr').length === 1")
		b.click("#list button")
	}
	again := func(user, password string) {
		b.click("#edit-cancel")
		b.click("#logout")
		b.logInHere(user, password)
		find()
	}
	again("second", "second-password") // who cannot end the key, and has no doubt
	b.click("#edit-form button.main")
	b.until("!document.getElementById('edit').open")
	b.click("#list button")
	again("admin", adminPassword)
	b.reload()
	find()
	b.click("#edit-form button.main")
	b.says("#edit-problem", fmt.Sprintf("not saved. The stock is %d now", stock+10))
	b.shop.clear()
	b.write("#edit-form [name=change]", "10")
	b.write("#edit-form [name=reason]", "delivery")
	b.click("#edit-form button.main")
	b.until("!document.getElementById('edit').open")
	release() // the first request arrives
	if _, _, now := s.product(7); now != stock+20 {
		t.Errorf("stock %d, was %d", now, stock)
	}
	answer := make(chan struct{})
	saved := b.shop.inject("PATCH /api/v1/products/7/", slow(answer))
	b.click("#list button")
	b.write("#edit-form [name=price]", "2,60")
	b.click("#edit-form button.main")
	b.hit(saved)
	b.click("#edit-cancel")
	b.write("#search", sku(8))
	b.says("#list", sku(8))
	b.click("#list button")
	b.write("#edit-form [name=name]", "Another name")
	close(answer)
	b.says("#message", "Saved")
	if !b.is("document.getElementById('edit').open && document.querySelector('#edit-form [name=name]').value === 'Another name'") {
		t.Error("a late response closes the dialog of another product")
	}
	b.click("#edit-cancel")
	b.forPeople()
}

// TestStatusPageLeadsBack opens the status page as a manager, as a cashier and without a
// session.
func TestStatusPageLeadsBack(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("a browser")
	}
	s := startShop(t)
	b := openBrowser(t).with(t, s)
	for _, user := range []string{"", "cashier", "admin"} {
		if user != "" {
			b.open("/")
			b.until("!document.getElementById('login').hidden")
			b.logInHere(user, map[string]string{"cashier": cashierPassword, "admin": adminPassword}[user])
		}
		b.open("/status/")
		if details := strings.Contains(b.text("body"), "database"); details != (user == "admin") {
			t.Errorf("%q sees %q", user, b.text("body"))
		}
		b.click(`a[href="/"]`)
		b.until("document.getElementById('bar') && location.pathname === '/'")
		if user != "" {
			b.click("#logout")
			b.until("!document.getElementById('login').hidden")
		}
	}
}
