package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

const (
	card      = "C1000007" // the card of Tilda Ivanova
	otherCard = "C1000014"
)

// day is one fault of a cashier's day.
type day struct {
	name string
	run  func(*browser)
}

// TestCashiersDay sells in Chromium while networks, servers and users fail. After each fault it
// compares the books. The page must not show texts for programs.
func TestCashiersDay(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("a browser")
	}
	t.Parallel()
	every := os.Getenv("POS_CASHIERS_DAY") != "" // takes several minutes; otherwise one case of each kind
	s, b := startShop(t), openBrowser(t)
	for _, days := range [][]day{cardDays, answerDays, unknownDays, inputDays, peopleDays} {
		for i, d := range days {
			if i > 0 && !every {
				break
			}
			t.Run(d.name, func(t *testing.T) { b.with(t, s).spend(d) })
		}
	}
}

// spend logs in as the cashier, at a shop where the card has money, and runs a day.
func (b *browser) spend(d day) {
	b.t.Helper()
	if b.shop.balance(card) < 5000 { // the days before have spent it
		b.shop.post("/api/v1/topups/", map[string]any{"card": card, "amount": 5000})
	}
	b.logIn("/", "cashier", cashierPassword)
	b.until("document.querySelectorAll('#products button').length > 0")
	d.run(b)
	b.shop.clear()
	b.forPeople()
}

// notForPeople matches texts that only programs should read.
var notForPeople = regexp.MustCompile(`/api/|Idempotency|undefined|\bnull\b|NaN|\[object|TypeError|Cannot read|"detail"|\{|product \d+ \(`)

// forPeople checks the texts of the page.
func (b *browser) forPeople() {
	b.t.Helper()
	if bad := notForPeople.FindString(b.text("body")); bad != "" {
		b.t.Errorf("the page says %q:\n%s", bad, b.text("body"))
	}
}

// scan reads a code with the scanner in the search field.
func (b *browser) scan(text string) {
	b.t.Helper()
	b.keys(f2 + text + enter)
}

// ring scans products and waits until each is in the basket.
func (b *browser) ring(products ...int) {
	b.t.Helper()
	for _, id := range products {
		before := b.quantity(id)
		b.scan(sku(id))
		b.wait(fmt.Sprint("product ", id, " in the basket"), func() bool { return b.quantity(id) == before+1 })
	}
}

// quantity returns the quantity of a product in the displayed basket.
func (b *browser) quantity(id int) int {
	b.t.Helper()
	v, _ := b.js(`const e = document.querySelector('[data-focus="' + arguments[0] + '+"]');
		return e ? Number(e.parentElement.querySelector('span').textContent) : 0`, id).(float64)
	return int(v)
}

// useCard types a card's number and waits for its holder.
func (b *browser) useCard(number string) {
	b.t.Helper()
	b.write("#card", number)
	b.keys(enter)
	b.until("/\\d/.test(document.getElementById('holder').textContent)")
}

func (b *browser) press() { b.t.Helper(); b.keys(f9) }

// sells presses Sell and waits for the message.
func (b *browser) sells() {
	b.t.Helper()
	b.press()
	b.says("#outcome", "Sold for")
}

// nobody checks that the document contains no data of a card or its holder.
func (b *browser) nobody() {
	b.t.Helper()
	html, _ := b.js(`return document.body.innerHTML + [...document.querySelectorAll('input')].map((i) => i.value).join(' ')`).(string)
	for _, text := range []string{"Tilda", "Ivanova", card, otherCard} {
		if strings.Contains(html, text) {
			b.t.Errorf("the document still has %q", text)
		}
	}
}

var cardDays = []day{
	{"the next customer pays with cash", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.sells()
		if b.text("#holder") != "" || b.js("return document.getElementById('card').value") != "" {
			b.t.Error("the card is still there after the sale")
		}
		b.ring(2)
		b.sells()
		b.shop.sold(goods(1).by(card), goods(2))
	}},
	{"the card goes when the basket is emptied", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.click("#clear")
		b.ring(2)
		b.sells()
		b.shop.sold(goods(2))
	}},
	{"log-out leaves nothing of a customer", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.sells() // the receipt names the card
		b.ring(2)
		b.useCard(card)
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.nobody()
		b.logInHere("admin", adminPassword)
		b.until("document.querySelectorAll('#products button').length > 0")
		b.nobody()
		if b.quantity(2) != 0 {
			b.t.Error("the next user has the basket")
		}
		b.shop.sold(goods(1).by(card))
	}},
	{"log-out while a card and a name are looked up", func(b *browser) {
		release := make(chan struct{})
		cards, people := b.shop.inject("GET /api/v1/cards/", slow(release)), b.shop.inject("GET /api/v1/customers/", slow(release))
		b.click("#forgot summary")
		b.write("#person", "Tilda")
		b.keys(enter)
		b.write("#card", card)
		b.keys(enter)
		b.wait("both look-ups", func() bool { return cards.hits.Load() > 0 && people.hits.Load() > 0 })
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		close(release)
		b.logInHere("cashier", cashierPassword) // by now the responses have arrived
		b.until("document.querySelectorAll('#products button').length > 0")
		b.nobody()
	}},
	{"log-out while the shop is away", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.shop.inject("POST /api/v1/logout/", unreached)
		b.click("#logout")
		b.says("#outcome", "not logged out yet")
		b.nobody()
		b.shop.clear()
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
	}},
	{"back after a log-out", func(b *browser) {
		b.open("/customers/")
		b.says("#list", "C1000007")
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.nobody()
		b.call("POST", "/back", map[string]any{}, nil)
		b.until("!document.getElementById('login').hidden")
		b.nobody()
	}},
	{"log-out on another page", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.open("/customers/")
		b.says("#list", "C1000007")
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		if b.is("JSON.stringify(localStorage).includes('" + card + "')") {
			b.t.Error("the browser keeps the card")
		}
		b.logIn("/", "cashier", cashierPassword)
		b.until("document.querySelectorAll('#products button').length > 0")
		b.nobody()
		if b.quantity(1) != 0 {
			b.t.Error("the basket is still there")
		}
	}},
	{"log-out on another page while a sale is unknown", func(b *browser) {
		b.ring(1)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", unreached)
		b.press()
		b.until("!document.getElementById('drop').hidden")
		b.open("/customers/")
		b.shop.clear()
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.logIn("/", "cashier", cashierPassword)
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"a card that does not exist", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.write("#card", "C9999999")
		b.keys(enter)
		b.says("#holder", "no card with this number")
		if strings.Contains(b.text("body"), "Tilda") {
			b.t.Error("the name stays under another number")
		}
		b.press()
		b.says("#outcome", "no card with this number")
		b.shop.sold()
	}},
	{"another child's card while a request is in flight", func(b *browser) {
		release := make(chan struct{})
		first := b.shop.inject("GET /api/v1/cards/"+card, slow(release))
		b.ring(1)
		b.write("#card", card)
		b.keys(enter)
		b.wait("the look-up", func() bool { return first.hits.Load() > 0 })
		b.useCard(otherCard)
		name := b.text("#holder")
		close(release)
		b.sells()
		if strings.Contains(name, "Tilda") {
			b.t.Errorf("beside %s stands %q", otherCard, name)
		}
		b.shop.sold(goods(1).by(otherCard))
	}},
	{"another card while the sale looks the first one up", func(b *browser) {
		release := make(chan struct{})
		first := b.shop.inject("GET /api/v1/cards/"+card, slow(release))
		b.ring(1)
		b.write("#card", card)
		b.press()
		b.wait("the look-up", func() bool { return first.hits.Load() > 0 })
		b.write("#card", otherCard)
		close(release)
		b.keys(enter)
		b.until("document.getElementById('holder').textContent.includes(':')")
		b.shop.sold()
		b.sells()
		b.shop.sold(goods(1).by(otherCard))
	}},
	{"a card and Enter with a full basket", func(b *browser) {
		b.ring(1)
		b.keys(f4 + card + enter)
		b.says("#holder", "Tilda")
		b.wait("the focus on Sell", func() bool { return b.focus() == "sell" })
		b.shop.sold()
		b.keys(enter)
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1).by(card))
	}},
	{"Sell before the name was seen", func(b *browser) {
		b.ring(1)
		b.write("#card", card)
		b.press()
		b.says("#outcome", "Check the name")
		b.shop.sold()
		b.sells()
		b.shop.sold(goods(1).by(card))
	}},
	{"a forgotten card", func(b *browser) {
		b.ring(1)
		b.click("#forgot summary")
		b.write("#person", "Tilda")
		b.keys(enter)
		b.click("#found button")
		b.until("document.getElementById('holder').textContent.includes(':')")
		b.sells()
		if got := b.shop.sales(); len(got) != 1 || got[0].Card == "" {
			b.t.Errorf("%+v", got)
		}
	}},
	{"the card look-up fails", func(b *browser) {
		b.shop.inject("GET /api/v1/cards/", status(503, `{"detail":"no"}`))
		b.ring(1)
		b.write("#card", card)
		b.press()
		b.until("document.getElementById('ask').open")
		b.keys(enter) // the safe answer has the focus
		b.until("!document.getElementById('ask').open")
		b.shop.sold()
		b.press()
		b.click("#ask [value=yes]")
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1).by(card))
	}},
}

var answerDays = []day{
	{"the panels fail when a sale is made", func(b *browser) {
		for i, f := range []fault{
			status(503, `{"detail":"no"}`), status(200, `{}`), status(200, `{"results":null}`), status(200, "<html>"), unreached, truncated, status(500, ""), status(404, `{"detail":"not found"}`),
		} {
			b.ring(1)
			b.shop.inject("GET /api/v1/", f)
			b.sells()
			b.says("#goods-problem", "could not be loaded")
			if text := b.text("#outcome"); !strings.HasPrefix(text, "Sold for") {
				b.t.Errorf("fault %d: %q", i, text)
			}
			b.forPeople()
			b.shop.clear()
			b.shop.sold(goods(1))
		}
	}},
	{"the page opens while its panels fail", func(b *browser) {
		b.ring(1)
		for _, panel := range []string{"categories", "products", "topups"} {
			b.shop.inject("GET /api/v1/"+panel+"/", status(503, `{"detail":"no"}`))
		}
		b.reload()
		b.wait("the basket", func() bool { return b.quantity(1) == 1 })
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"the shop is away when the page opens", func(b *browser) {
		b.ring(1)
		b.shop.inject("GET /api/v1/me/", status(502, "<html>bad gateway"))
		b.reload()
		b.says("#message", "opens by itself")
		b.shop.clear()
		b.wait("the basket", func() bool { return b.quantity(1) == 1 })
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"goods added while a sale is under way", func(b *browser) {
		release := make(chan struct{})
		b.shop.inject("POST /api/v1/sales/", slow(release))
		b.ring(1)
		b.press()
		b.says("#outcome", "Selling")
		if !b.is("document.getElementById('entry').disabled && [...document.querySelectorAll('#products button')].every((b) => b.disabled)") {
			b.t.Error("the basket can be changed while it is sold")
		}
		b.scan(sku(2))
		b.says("#scan-problem", sku(2))
		close(release)
		b.says("#outcome", "Sold for")
		b.says("#scan-problem", "Scan it again") // the message remains after the sale
		b.ring(2)
		if b.text("#scan-problem") != "" {
			b.t.Error("the old problem stays")
		}
		b.sells()
		b.shop.sold(goods(1), goods(2))
	}},
	{"a double click, Enter and F9", func(b *browser) {
		release := make(chan struct{})
		sent := b.shop.inject("POST /api/v1/sales/", slow(release))
		b.ring(1)
		b.js("const s = document.getElementById('sell'); s.click(); s.click(); s.dispatchEvent(new MouseEvent('dblclick', {bubbles: true}))")
		b.press()
		b.press()
		b.wait("the sale", func() bool { return sent.hits.Load() > 0 })
		close(release)
		b.says("#outcome", "Sold for")
		b.press()
		b.says("#outcome", "Choose a product first")
		b.shop.sold(goods(1))
	}},
	{"a slow answer says so", func(b *browser) {
		release := make(chan struct{})
		b.shop.inject("POST /api/v1/sales/", slow(release))
		b.ring(1)
		b.press()
		b.says("#outcome", "Selling")
		if !b.is("document.getElementById('bar').getAttribute('aria-busy') === 'true'") {
			b.t.Error("the bar is not busy")
		}
		b.says("#outcome", "slow")
		b.says("#waiting", "slow")
		close(release)
		b.says("#outcome", "Sold for")
		b.until("!document.getElementById('waiting').textContent")
		b.shop.sold(goods(1))
	}},
	{"a server that hangs while goods are looked up", func(b *browser) {
		release := make(chan struct{})
		defer close(release)
		b.shop.inject("GET /api/v1/products/", late(release))
		b.scan(sku(1))
		b.says("#waiting", "…")
		b.until("document.body.getAttribute('aria-busy') === 'true'")
		b.says("#scan-problem", "could not be looked up") // after the time-out
		b.until("!document.getElementById('waiting').textContent")
	}},
	{"the next page twice while the first is slow", func(b *browser) {
		release := make(chan struct{})
		second := b.shop.inject("GET /api/v1/products/?page=2", slow(release))
		b.click("#next")
		b.js("document.getElementById('next').click()")
		b.wait("page 2", func() bool { return second.hits.Load() > 0 })
		b.shop.inject("GET /api/v1/products/?page=1", func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
		b.write("#search", "salad")
		b.until("[...document.querySelectorAll('#products button')].every((b) => /salad/i.test(b.textContent))")
		close(release)
		b.click("#next")
		b.until("!document.getElementById('pages').textContent.includes('…')")
		if !b.is("[...document.querySelectorAll('#products button')].every((b) => /salad/i.test(b.textContent))") {
			b.t.Error("the late page replaced the newer one")
		}
	}},
	{"a search that is overtaken", func(b *browser) {
		release := make(chan struct{})
		first := b.shop.inject("GET /api/v1/products/?page=1&page_size=24&search=soup", slow(release))
		b.write("#search", "soup")
		b.wait("the first search", func() bool { return first.hits.Load() > 0 })
		b.write("#search", "salad")
		b.until("[...document.querySelectorAll('#products button')].every((b) => /salad/i.test(b.textContent))")
		close(release)
		b.write("#search", "salad")
		b.until("[...document.querySelectorAll('#products button')].every((b) => /salad/i.test(b.textContent))")
	}},
	{"sold out elsewhere", func(b *browser) {
		name, _, stock := b.shop.product(12)
		b.ring(12)
		b.shop.post("/api/v1/sales/", map[string]any{"items": []any{map[string]any{"product": 12, "quantity": stock}}})
		b.shop.sales()
		b.press()
		b.says("#outcome", "Only 0 of "+name)
		b.until("document.querySelectorAll('#products button').length > 0")
		b.write("#search", sku(12))
		b.until("document.querySelectorAll('#products button').length === 1 && document.querySelector('#products button').disabled")
		b.says("#products", "sold out")
		b.shop.sold()
	}},
	{"a price that changes in the basket", func(b *browser) {
		_, price, _ := b.shop.product(13)
		b.ring(13)
		b.shop.request("PATCH", "/api/v1/products/13/", map[string]any{"price": price + 500})
		b.press()
		b.says("#outcome", "Prices have changed")
		b.says("#total", fmt.Sprintf("%d.%02d", (price+500)/100, price%100))
		b.shop.sold()
		b.sells()
		b.shop.sold(goods(13))
	}},
	{"a product that is taken off sale", func(b *browser) {
		b.ring(14, 1)
		b.shop.request("PATCH", "/api/v1/products/14/", map[string]any{"active": false})
		b.press()
		b.says("#outcome", "not for sale any more")
		b.click(`[data-focus="14−"]`)
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"a card without money", func(b *browser) {
		_, price, _ := b.shop.product(6)
		if n := b.shop.balance(otherCard) / price; n > 0 {
			b.shop.post("/api/v1/sales/", map[string]any{"card": otherCard, "items": []any{map[string]any{"product": 6, "quantity": n}}})
			b.shop.sales()
		}
		b.ring(6)
		b.useCard(otherCard)
		b.press()
		b.says("#outcome", "The card has")
		b.shop.sold()
	}},
	{"every refusal is in words", func(b *browser) {
		b.ring(1)
		for _, one := range []struct { // the text before differs, so that b.says waits for each answer
			code int
			says string
		}{
			{400, "not accepted"},
			{403, "Only a manager"},
			{413, "not accepted"},
			{404, "does not exist"},
			{415, "not accepted"},
			{409, "changed meanwhile"},
			{429, "min"},
			{422, "changed meanwhile"},
		} {
			rule := b.shop.inject("POST /api/v1/sales/", status(one.code, `{"detail":"log in first: POST /api/v1/login/"}`, "Retry-After", "3597"))
			b.press()
			b.says("#outcome", one.says)
			b.forPeople()
			rule.remove()
		}
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"an old problem does not outlive a success", func(b *browser) {
		rule := b.shop.inject("GET /api/v1/sales/?cursor", status(503, `{"detail":"no"}`))
		b.ring(1)
		b.click("#recent summary")
		b.says("#outcome", "cannot be reached")
		rule.remove()
		b.sells()
		if strings.Contains(b.text("body"), "cannot be reached") || b.is("document.getElementById('outcome').classList.contains('problem')") {
			b.t.Errorf("%q", b.text("body"))
		}
		b.shop.sold(goods(1))
	}},
}
