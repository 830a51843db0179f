package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestTwoTabs uses one till in two tabs of a browser. They share the session and the stored sale.
func TestTwoTabs(t *testing.T) {
	testserver.NeedsLong(t)
	runDays(t, tabDays)
}

// TestFullStorage ends the session while the browser stores nothing. The till keeps the sale and
// the top-up for the next log-in.
func TestFullStorage(t *testing.T) {
	testserver.NeedsLong(t)
	runDays(t, fullDays)
}

func runDays(t *testing.T, days []day) {
	t.Helper()
	if testing.Short() || raceDetector {
		t.Skip("a browser")
	}
	s, b := startShop(t), openBrowser(t)
	for _, d := range days {
		t.Run(d.name, func(t *testing.T) { b.with(t, s).spend(d) })
	}
}

// tabs opens the till in a second tab and returns functions that change to a tab. The first tab
// remains when the test ends.
func (b *browser) tabs() (first, second func()) {
	b.t.Helper()
	var one string
	var two struct{ Handle string }
	b.call("GET", "/window", nil, &one)
	b.call("POST", "/window/new", map[string]any{"type": "tab"}, &two)
	use := func(handle string) func() {
		return func() { b.t.Helper(); b.call("POST", "/window", map[string]any{"handle": handle}, nil) }
	}
	first, second = use(one), use(two.Handle)
	b.t.Cleanup(func() {
		second()
		b.call("DELETE", "/window", nil, nil)
		first()
	})
	second()
	b.open("/")
	b.until("document.querySelectorAll('#products button').length > 0")
	return first, second
}

var tabDays = []day{
	{"the basket is sold in the other tab", func(b *browser) {
		b.ring(1)
		first, _ := b.tabs()
		b.wait("the basket", func() bool { return b.quantity(1) == 1 })
		b.sells()
		b.shop.sold(goods(1))
		first()
		b.wait("the basket to be empty", func() bool { return b.quantity(1) == 0 })
		b.ring(1) // the next customer buys the same product
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"another user logs in in the other tab", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", unreached)
		b.press()
		b.until("!document.getElementById('again').hidden")
		first, second := b.tabs()
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.logInHere("admin", adminPassword)
		b.until("document.querySelectorAll('#products button').length > 0")
		first()
		b.shop.clear()
		b.js("document.getElementById('again').click()") // the page may have asked by itself
		b.says("#message", "Please log in again")
		b.nobody()
		b.shop.sold(goods(1).by(card))
		b.logInHere("cashier", cashierPassword)
		b.says("#outcome", "Sold for")
		b.shop.sold()
		second()
		b.scan(sku(2)) // now the tab of the manager has no session
		b.says("#message", "Please log in again")
		b.shop.sold()
	}},
	{"another user logs in in the other tab before a sale", func(b *browser) {
		b.ring(1)
		first, _ := b.tabs()
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.logInHere("admin", adminPassword)
		first()
		b.scan(sku(1))
		b.says("#message", "Please log in again")
		b.logInHere("cashier", cashierPassword)
		b.ring(2)
		b.sells()
		b.shop.sold(goods(2)) // the log-out emptied the basket
	}},
	{"two log-outs on another page, and an unknown sale", func(b *browser) {
		b.open("/customers/")
		b.says("#list", card)
		customers, till := b.tabs()
		b.shop.inject("GET /api/v1/sales/?key=", unreached)
		for range 2 {
			customers()
			b.click("#logout")
			b.logInHere("cashier", cashierPassword)
			till()
			b.reload()
			b.until("document.querySelectorAll('#products button').length > 0")
			if b.is("document.getElementById('drop').hidden") {
				b.ring(1)
				b.shop.inject("POST /api/v1/sales/", unanswered)
				b.press()
			}
			b.until("!document.getElementById('drop').hidden")
		}
		b.shop.clear()
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"a late answer and the next basket in the other tab", func(b *browser) {
		for _, one := range []struct {
			answer fault
			says   string
		}{
			{nil, "Sold for"}, // the server's own
			{status(409, `{"detail":"x"}`), "changed meanwhile"},
		} {
			release := make(chan struct{})
			sent := b.shop.inject("POST /api/v1/sales/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if one.answer == nil {
					slow(release)(w, r, next)
					return
				}
				next.ServeHTTP(httptest.NewRecorder(), r)
				late(release)(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { one.answer(w, r, next) }))
			})
			b.ring(1)
			b.press()
			b.wait("the sale", func() bool { return sent.hits.Load() > 0 })
			first, second := b.tabs()
			b.says("#outcome", "Sold for")
			sent.remove()
			b.ring(2, 3)
			b.useCard(card)
			first()
			close(release)
			b.says("#outcome", one.says)
			b.wait("the basket of the other tab", func() bool { return b.quantity(1) == 0 && b.quantity(2) == 1 && b.quantity(3) == 1 })
			b.nobody()
			second()
			if b.quantity(2) != 1 || b.quantity(3) != 1 || b.js("return document.getElementById('card').value") != card {
				b.t.Error("the next basket has changed")
			}
			b.sells()
			b.shop.sold(goods(1), goods(2, 3).by(card))
			first()
		}
	}},
	{"the tab that sells is left before the response", func(b *browser) {
		b.ring(1)
		first, _ := b.tabs()
		end := make(chan struct{})
		sent := b.shop.inject("POST /api/v1/sales/", func(http.ResponseWriter, *http.Request, http.Handler) { <-end })
		b.press()
		b.hit(sent)
		b.open("/status/")
		sent.remove()
		close(end)
		first()
		b.until("!document.getElementById('drop').hidden")
		b.click("#drop")
		b.says("#outcome", "This was not sold")
		b.ring(2)
		b.sells()
		b.shop.sold(goods(1, 2))
	}},
	{"a tab asks about a sale, and the next has begun", func(b *browser) {
		b.ring(1)
		first, second := b.tabs()
		end, answer := make(chan struct{}), make(chan struct{})
		sent := b.shop.inject("POST /api/v1/sales/", late(end))
		b.press()
		b.hit(sent)
		first()
		b.until("document.getElementById('entry').disabled")
		asked := b.shop.inject("GET /api/v1/sales/?key=", slow(answer))
		b.js("window.dispatchEvent(new Event('online'))")
		b.hit(asked)
		// The storage has the next sale, and this tab has no event of it yet.
		b.js(`localStorage.setItem("pos.till.cashier", JSON.stringify({ number: "next", items: [] }))`)
		close(answer)
		b.until("!document.getElementById('entry').disabled")
		if !b.is(`localStorage.getItem("pos.till.cashier").includes('"next"')`) {
			b.t.Error("the next sale is lost")
		}
		close(end)
		second()
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"a card in the tab that did not sell", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		first, _ := b.tabs()
		b.useCard(card)
		b.sells()
		b.shop.sold(goods(1).by(card))
		first()
		b.wait("the basket to be empty", func() bool { return b.quantity(1) == 0 })
		b.nobody()
		b.ring(2)
		b.sells()
		b.shop.sold(goods(2))
	}},
}

// fullStorage makes the browser refuse to store.
func (b *browser) fullStorage() {
	b.t.Helper()
	b.js("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
}

// endSession ends the cashier's session and waits until the page asks for the password.
func (b *browser) endSession() {
	b.t.Helper()
	b.shop.request("DELETE", "/api/v1/users/cashier/sessions/", nil)
	b.shop.clear()
	b.js("document.getElementById('next').click()") // any request
	b.says("#message", "Please log in again")
}

var fullDays = []day{
	{"an open basket", func(b *browser) {
		b.fullStorage()
		b.ring(1, 2)
		b.endSession()
		b.logInHere("admin", adminPassword)
		b.until("document.querySelectorAll('#products button').length > 0")
		if b.quantity(1) != 0 {
			b.t.Error("the manager has the cashier's basket")
		}
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.logInHere("cashier", cashierPassword)
		b.wait("the basket", func() bool { return b.quantity(1) == 1 && b.quantity(2) == 1 })
		b.sells()
		b.shop.sold(goods(1, 2))
	}},
	{"an unknown sale", func(b *browser) {
		b.fullStorage()
		b.ring(1)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", status(503, `{"detail":"x"}`))
		b.press()
		b.until("!document.getElementById('again').hidden")
		b.endSession()
		b.logInHere("cashier", cashierPassword)
		b.says("#outcome", "Sold for")
		b.ring(2)
		b.sells()
		b.shop.sold(goods(1), goods(2))
	}},
	{"an unknown top-up", func(b *browser) {
		before := b.shop.balance(card)
		b.fullStorage()
		b.shop.inject("POST /api/v1/topups/", unanswered)
		b.shop.inject("GET /api/v1/topups/", status(503, "{}"))
		b.fill("4.75")
		b.until("!document.getElementById('entry').disabled && document.getElementById('outcome').textContent.includes('once only')")
		b.endSession()
		b.logInHere("cashier", cashierPassword)
		b.says("#outcome", "4.75 was put on card "+card)
		b.fill("4.75") // the next top-up, with its own key
		b.says("#outcome", "put on the card of Tilda")
		if got := b.shop.balance(card); got != before+950 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
}
