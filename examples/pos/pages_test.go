package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestStrangersLeaveTheForm uses up the limits of the school's address without a session. The till
// still shows the form for the password.
func TestStrangersLeaveTheForm(t *testing.T) {
	testserver.NeedsLong(t)
	s := startShop(t, "--rate-api=3/1h", "--rate-page=2000/1h", "--rate-login=5/1h")
	token := s.token
	s.token = ""
	for range 5 {
		if code, _ := s.request("GET", "/api/v1/me/", nil); code != 401 {
			t.Errorf("a stranger's request: %d", code)
		}
	}
	s.token = token
	b := openBrowser(t).with(t, s)
	b.logIn("/", "cashier", cashierPassword)
	for _, code := range []int{429, 403} {
		s.inject("GET /api/v1/me/", status(code, "{}", "Retry-After", "3600"))
		b.reload()
		b.until("!document.getElementById('login').hidden")
		b.forPeople()
		s.clear()
		b.logInHere("cashier", cashierPassword)
	}
	s.inject("GET /api/v1/me/", status(503, "{}"))
	b.reload()
	b.says("#message", "opens by itself")
	b.until("!document.getElementById('login').hidden")
	s.clear()
	b.until("document.querySelectorAll('#products button').length > 0")
}

// TestDialogAtTheEndOfASession ends the session while a manager edits.
func TestDialogAtTheEndOfASession(t *testing.T) {
	testserver.NeedsLong(t)
	s := startShop(t)
	b := openBrowser(t).with(t, s)
	for _, path := range []string{"/products/", "/users/"} {
		b.open(path)
		b.until("!document.getElementById('login').hidden")
		b.logInHere("admin", adminPassword)
		b.click("#list button")
		b.until("document.getElementById('edit').open")
		s.request("DELETE", "/api/v1/users/admin/sessions/", nil)
		if path == "/products/" {
			b.write("#edit-form [name=price]", "2.50")
			b.click("#edit-form button.main")
		} else {
			b.click("#end-sessions")
		}
		b.until("!document.getElementById('login').hidden && !document.getElementById('edit').open")
		s.token = s.post("/api/v1/login/", map[string]any{"username": "admin", "password": adminPassword})["token"].(string)
		b.logInHere("admin", adminPassword)
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
	}
}

// TestNothingIsLeft logs out on each page. The document has nothing of the user then.
func TestNothingIsLeft(t *testing.T) {
	testserver.NeedsLong(t)
	s := startShop(t)
	s.post("/api/v1/sales/", map[string]any{"card": card, "items": []any{map[string]any{"product": 1, "quantity": 1}}})
	b := openBrowser(t).with(t, s)
	const content = `const e = document.getElementById('content').cloneNode(true);
		for (const s of e.querySelectorAll('#category')) s.replaceChildren();
		return e.innerHTML + [...document.querySelectorAll('#content input')].map((i) => i.value).join()`
	plain := strings.NewReplacer(` style=""`, "", ` disabled=""`, "", ` aria-busy="false"`, "", ` class=""`, "")
	for _, path := range []string{"/", "/customers/", "/products/", "/reports/", "/users/", "/day/"} {
		b.open(path)
		b.until("!document.getElementById('login').hidden")
		served, _ := b.js(content).(string)
		b.logInHere("admin", adminPassword)
		b.until("document.querySelectorAll('#list tr, #products button, #figures dd').length > 0")
		switch path {
		case "/":
			b.scan(card)
			b.says("#holder", "Tilda")
			b.click("#recent summary")
			b.until("document.querySelectorAll('#recents button').length > 0")
		case "/users/":
			b.write("#create [name=username]", "rosa")
			b.write("#create [name=password]", "rosas-password")
			b.until("document.querySelectorAll('#audit tr').length > 0")
		case "/reports/":
			b.says("#list", card)
		case "/products/":
			b.write("#search", "soup")
			b.until("[...document.querySelectorAll('#list tr')].every((r) => /soup/i.test(r.textContent))")
		}
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.nobody()
		if now, _ := b.js(content).(string); plain.Replace(now) != plain.Replace(served) {
			t.Errorf("%s: the document is %s\nand was served as %s", path, now, served)
		}
	}
}

// TestScriptThatDoesNotArrive loses one script of each depth. The page says so and opens by itself.
func TestScriptThatDoesNotArrive(t *testing.T) {
	testserver.NeedsLong(t)
	s := startShop(t)
	b := openBrowser(t).with(t, s)
	b.logIn("/", "cashier", cashierPassword)
	b.ring(1)
	for _, script := range []string{"receipt.js", "till.js", "core.js"} {
		s.inject("GET /assets/"+script, status(503, "{}"))
		b.reload()
		b.says("#boot", "did not arrive")
		b.inView("#boot a")
		s.clear()
		b.wait("the basket", func() bool { return b.quantity(1) == 1 })
	}
	s.inject("GET /assets/boot.js", status(503, "{}"))
	b.reload()
	b.says("#boot", "did not arrive")
	s.clear()
	b.click("#boot a")
	b.wait("the basket", func() bool { return b.quantity(1) == 1 })
}

// TestDayChart draws a day that begins at 05:00 and has an hour twice.
func TestDayChart(t *testing.T) {
	testserver.NeedsLong(t)
	s := startShop(t, "--timezone=Europe/Madrid", "--day-start=05:00")
	b := openBrowser(t).with(t, s)
	body := func(date, from, hours string) string {
		return `{"date":"` + date + `","from":"` + from + `","sales":3,"revenue":300,"cash":300,"card":0,"topups":0,"topup_amount":0,
			"voids":{"count":0,"amount":0,"topups":0,"topup_amount":0},"products":[],"cashiers":[],"hours":[` + hours + `]}`
	}
	s.inject("GET /api/v1/days/", status(200, body("2026-10-24", "2026-10-24T03:00:00Z",
		`{"hour":"08:00","at":"2026-10-24T06:00:00Z","revenue":100},{"hour":"02:00","at":"2026-10-25T00:00:00Z","revenue":200},{"hour":"02:00","at":"2026-10-25T01:00:00Z","revenue":300}`)))
	s.inject("GET /api/v1/days/2026-10-17/", status(200, body("2026-10-17", "2026-10-17T03:00:00Z",
		`{"hour":"08:00","at":"2026-10-17T06:00:00Z","revenue":10},{"hour":"09:00","at":"2026-10-17T07:00:00Z","revenue":20}`)))
	b.logIn("/day/", "admin", adminPassword)
	b.until("document.querySelectorAll('#week table').length > 0")
	rows := func(id string) any {
		return b.js(`return [...document.querySelectorAll('#' + arguments[0] + ' tbody tr')].map((r) => [...r.cells].map((c) => c.textContent).join(' ')).join(', ')`, id)
	}
	if got := rows("hours"); got != "08 1.00, 09 0.00, 02 2.00, 02 3.00" {
		t.Errorf("by hour: %v", got)
	}
	if got := rows("week"); got != "08 1.00 0.10, 09 1.00 0.30, 02 3.00 0.30, 02 6.00 0.30" {
		t.Errorf("against last week: %v", got)
	}
	s.clear() // the server's own days have the same fields
	day := s.get("/api/v1/days/today/")
	for _, h := range day["hours"].([]any) {
		if at, err := time.Parse(time.RFC3339, h.(map[string]any)["at"].(string)); err != nil || at.Minute() != 0 {
			t.Errorf("an hour at %v", h)
		}
	}
}

// TestDayThatIsNotRead keeps figures on the page while the shop does not respond, with their time.
func TestDayThatIsNotRead(t *testing.T) {
	testserver.NeedsLong(t)
	s := startShop(t)
	b := openBrowser(t).with(t, s)
	b.logIn("/day/", "admin", adminPassword)
	b.says("#as-of", "As of")
	today := b.js("return document.getElementById('date').value")
	set := func(date string) {
		b.js("const d = document.getElementById('date'); d.value = arguments[0]; d.dispatchEvent(new Event('change'))", date)
	}
	s.inject("GET /api/v1/days/", status(503, "{}"))
	set("")
	b.says("#day-problem", "cannot be reached")
	b.says("#day-problem", "As of")
	s.clear()
	set("2026-01-05")
	b.until("!document.getElementById('day-problem').textContent && document.getElementById('date').value === '2026-01-05'")
	asked := s.inject("GET /api/v1/days/today/", status(503, "{}"))
	set("") // follows today again
	b.hit(asked)
	s.clear()
	set("")
	b.wait("today", func() bool { return b.js("return document.getElementById('date').value") == today })
}
