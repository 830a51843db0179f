package main

import (
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

var unknownDays = []day{
	{"a lost answer", func(b *browser) {
		for _, lost := range []fault{unanswered, truncated, replaced(500, "oops"), replaced(502, "<html>"), replaced(200, "<html>log in to the network</html>"), replaced(200, `{"ok":true}`), replaced(503, `{"detail":"x"}`), replaced(204, "")} {
			b.ring(1)
			b.shop.inject("POST /api/v1/sales/", lost)
			b.sells()
			b.shop.clear()
			b.shop.sold(goods(1))
		}
	}},
	{"a lost answer and a reload", func(b *browser) {
		b.ring(1, 2)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		asked := b.shop.inject("GET /api/v1/sales/?key=", unreached)
		b.press()
		b.wait("the question by the key", func() bool { return asked.hits.Load() > 0 })
		b.reload()
		b.says("#outcome", "Do not ring it up again")
		b.shop.clear()
		b.says("#outcome", "Sold for") // the page retries without the user
		if b.quantity(1) != 0 {
			b.t.Error("the basket is still there")
		}
		b.shop.sold(goods(1, 2))
	}},
	{"a reload in the middle of a sale that arrives", func(b *browser) {
		release := make(chan struct{})
		sent := b.shop.inject("POST /api/v1/sales/", slow(release))
		b.ring(1)
		b.press()
		b.wait("the sale", func() bool { return sent.hits.Load() > 0 })
		b.reload()
		close(release)
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"a reload in the middle of a sale that never arrives", func(b *browser) {
		b.ring(1)
		sent := b.shop.inject("POST /api/v1/sales/", unreached)
		b.press()
		b.wait("the sale", func() bool { return sent.hits.Load() > 0 })
		b.reload()
		b.says("#outcome", "not been sold so far")
		b.wait("the focus", func() bool { return b.focus() == "again" })
		b.shop.clear()
		b.keys(enter)
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"a reload keeps the basket", func(b *browser) {
		b.ring(3, 4, 4)
		b.reload()
		b.wait("the basket", func() bool { return b.quantity(3) == 1 && b.quantity(4) == 2 })
		b.sells()
		b.shop.sold(sale{Items: map[int]int{3: 1, 4: 2}})
	}},
	{"unknown for long, then the shop answers", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", status(503, `{"detail":"no"}`))
		b.press()
		b.says("#outcome", "Do not ring it up again")
		b.until("!document.getElementById('again').hidden && document.getElementById('sell').hidden && document.getElementById('entry').disabled")
		b.scan(sku(2))
		b.says("#scan-problem", "not added")
		b.shop.inject("POST /api/v1/keys/", status(503, `{"detail":"no"}`))
		b.click("#drop") // the outcome is unknown: the sale must not return to the basket
		b.says("#outcome", "Do not ring it up again")
		b.shop.clear()
		b.click("#again")
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1).by(card))
	}},
	{"unknown, and the shop answers by itself", func(b *browser) {
		b.ring(1)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", unreached)
		b.press()
		b.says("#outcome", "Do not ring it up again")
		b.shop.clear()
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"not sold, and back to the basket", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.shop.inject("POST /api/v1/sales/", unreached)
		b.press()
		b.until("!document.getElementById('drop').hidden")
		b.reload() // the card returns too
		b.until("!document.getElementById('drop').hidden")
		b.click("#drop")
		b.says("#outcome", "not sold")
		b.says("#holder", "Tilda")
		b.shop.clear()
		b.ring(2)
		b.sells()
		b.shop.sold(goods(1, 2).by(card))
	}},
	{"the session ends before a sale", func(b *browser) {
		b.ring(1, 2)
		b.shop.request("DELETE", "/api/v1/users/cashier/sessions/", nil)
		b.press()
		b.says("#message", "Please log in again")
		b.forPeople()
		b.logInHere("cashier", cashierPassword)
		b.wait("the basket", func() bool { return b.quantity(1) == 1 && b.quantity(2) == 1 })
		b.sells()
		b.shop.sold(goods(1, 2))
	}},
	{"the session ends after a lost answer", func(b *browser) {
		b.ring(1)
		lost := b.shop.inject("POST /api/v1/sales/", unanswered)
		asked := b.shop.inject("GET /api/v1/sales/?key=", status(503, `{"detail":"x"}`))
		b.press()
		b.wait("the question by the key", func() bool { return asked.hits.Load() > 0 })
		lost.remove()
		b.shop.request("DELETE", "/api/v1/users/cashier/sessions/", nil)
		b.says("#message", "Please log in again")
		asked.remove()
		b.logInHere("admin", adminPassword) // another user at the till
		b.until("document.querySelectorAll('#products button').length > 0")
		if b.quantity(1) != 0 {
			b.t.Error("the manager has the cashier's sale")
		}
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.logInHere("cashier", cashierPassword)
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"the session ends while a sale is on its way", func(b *browser) {
		b.ring(1)
		release := make(chan struct{})
		sent := b.shop.inject("POST /api/v1/sales/", slow(release))
		b.press()
		b.wait("the sale", func() bool { return sent.hits.Load() > 0 })
		b.shop.request("DELETE", "/api/v1/users/cashier/sessions/", nil)
		close(release)
		b.says("#message", "log in again") // the list of goods needs a session
		b.logInHere("cashier", cashierPassword)
		b.until("document.querySelectorAll('#products button').length > 0")
		if b.quantity(1) != 0 {
			b.t.Error("the sold basket is back")
		}
		b.shop.sold(goods(1))
	}},
	{"no network", func(b *browser) {
		b.ring(1)
		b.offline(true)
		b.says("#outcome", "no network")
		b.press()
		b.says("#outcome", "Do not ring it up again")
		b.offline(false)
		b.click("#again")
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"the network goes with the answer and comes back", func(b *browser) {
		b.ring(1)
		release := make(chan struct{})
		sent := b.shop.inject("POST /api/v1/sales/", slow(release))
		b.press()
		b.wait("the sale", func() bool { return sent.hits.Load() > 0 })
		b.offline(true)
		b.shop.clear()
		b.offline(false)
		close(release)
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"a top-up whose answer is lost", func(b *browser) {
		before := b.shop.balance(card)
		b.shop.inject("POST /api/v1/topups/", unanswered)
		b.fill("12.50")
		b.says("#outcome", "12.50 was put on card "+card) // the page has asked for it
		b.shop.clear()
		if got := b.shop.balance(card); got != before+1250 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
	{"a top-up whose answer is lost, and a reload", func(b *browser) {
		before := b.shop.balance(card)
		sent := b.shop.inject("POST /api/v1/topups/", unanswered)
		b.shop.inject("GET /api/v1/topups/", status(503, "{}"))
		b.fill("7.25")
		b.wait("the top-up", func() bool { return sent.hits.Load() > 0 })
		b.reload()
		b.shop.clear()
		b.says("#outcome", "7.25 was put on card "+card)
		if got := b.shop.balance(card); got != before+725 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
	{"a top-up that is unknown and repeated", func(b *browser) {
		before := b.shop.balance(card)
		b.shop.inject("POST /api/v1/topups/", unanswered)
		b.shop.inject("GET /api/v1/topups/", status(503, "{}"))
		b.fill("3")
		b.until("!document.getElementById('entry').disabled && document.getElementById('outcome').textContent.includes('once only')")
		b.reload()
		b.says("#outcome", "once only")
		b.says("#topup-words", "once only")
		b.shop.clear()
		b.click("#topup-again")
		b.says("#outcome", "3.00 was put on card "+card)
		if got := b.shop.balance(card); got != before+300 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
}

// fill tops the card up by an amount.
func (b *browser) fill(amount string) {
	b.t.Helper()
	b.useCard(card)
	b.js("document.getElementById('money').open = true")
	b.write("#amount", amount)
	b.keys(enter)
}

// TestTillWithSpentLimits logs in, reads and sells while the limit of reads, sales or log-ins
// is used up.
func TestTillWithSpentLimits(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("a browser")
	}
	b := openBrowser(t)
	b = b.with(t, startShop(t, "--rate-page=6/1h", "--rate-sale=2/1h", "--rate-login=3/1h"))
	b.logIn("/", "cashier", cashierPassword)
	b.until("document.querySelectorAll('#products button').length > 0")
	b.ring(1)
	b.wait("the end of the reads", func() bool {
		return b.js(`const x = new XMLHttpRequest(); x.open("GET", "/api/v1/categories/", false); x.send(); return x.status`) == 429.0
	})
	b.reload() // a till with a session stays a till
	b.wait("the basket", func() bool { return b.quantity(1) == 1 })
	b.says("#goods-problem", "Selling what is in the basket works")
	b.write("#card", card)
	b.press()
	b.click("#ask [value=yes]")
	b.says("#outcome", "Sold for")
	b.shop.sold(goods(1).by(card))
	if b.is("!document.getElementById('login').hidden") {
		t.Error("the till asks for the password")
	}
	b.forPeople()
	b.click("#logout")
	b.until("!document.getElementById('login').hidden")
	for range 2 { // a third attempt would use up the limit of this device
		b.write("[name=username]", "cashier")
		b.write("[name=password]", "guess-guess")
		b.click("#login button")
		b.says("#message", "wrong")
	}
	b.logIn("/", "cashier", cashierPassword)
	if text := b.text("#message"); strings.Contains(text, "Too many") {
		t.Errorf("the cashier is locked out: %q", text)
	}
}
