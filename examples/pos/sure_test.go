package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestNextCustomer delays scans, cards and top-ups until the next customer is at the till.
func TestNextCustomer(t *testing.T) {
	testserver.NeedsLong(t)
	runDays(t, nextDays)
}

// TestOutcome delays requests until the till has said what became of them.
func TestOutcome(t *testing.T) {
	testserver.NeedsLong(t)
	runDays(t, outcomeDays)
}

// queued responds with 504 at once. The request reaches the server when the channel is closed.
func queued(until, done chan struct{}) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(r.Body)
		later := r.Clone(context.WithoutCancel(r.Context()))
		later.Body = io.NopCloser(bytes.NewReader(body))
		go func() { <-until; next.ServeHTTP(httptest.NewRecorder(), later); close(done) }()
		w.WriteHeader(http.StatusGatewayTimeout)
	}
}

// oneLate makes every request to a route fail. The first one reaches the server when release runs.
func (b *browser) oneLate(route string) (release func()) {
	until, done := make(chan struct{}), make(chan struct{})
	b.shop.inject(route, unreached)
	var first *rule
	first = b.shop.inject(route, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		first.remove()
		queued(until, done)(w, r, next)
	})
	return func() { close(until); <-done }
}

func (b *browser) hit(r *rule) {
	b.t.Helper()
	b.wait(r.route, func() bool { return r.hits.Load() > 0 })
}

var nextDays = []day{
	{"Sell waits for a scanned card", func(b *browser) {
		release := make(chan struct{})
		b.ring(1)
		slowly := b.shop.inject("GET /api/v1/products/?search="+card, slow(release))
		b.scan(card)
		b.hit(slowly)
		b.press()
		b.says("#outcome", "still being looked up")
		b.shop.sold()
		close(release)
		b.says("#outcome", "Check the name")
		b.shop.sold()
		b.sells()
		b.ring(2)
		b.sells()
		b.shop.sold(goods(1).by(card), goods(2))
	}},
	{"Sell waits for scanned goods", func(b *browser) {
		release := make(chan struct{})
		b.ring(1)
		slowly := b.shop.inject("GET /api/v1/products/?search="+sku(3), slow(release))
		b.scan(sku(3))
		b.hit(slowly)
		b.press()
		b.says("#outcome", "still being looked up")
		close(release)
		b.says("#outcome", "The sale has changed")
		b.shop.sold()
		b.sells()
		b.shop.sold(goods(1, 3))
	}},
	{"Sell waits for a scan that fails", func(b *browser) {
		release := make(chan struct{})
		b.ring(1)
		slowly := b.shop.inject("GET /api/v1/products/?search="+sku(3), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			<-release
			status(503, "{}")(w, r, next)
		})
		b.scan(sku(3))
		b.hit(slowly)
		b.press()
		b.says("#outcome", "still being looked up")
		close(release)
		b.says("#scan-problem", "could not be looked up")
		b.shop.clear()
		b.until("document.getElementById('outcome').textContent === ''")
		b.shop.sold()
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"a scan and a search after the basket is emptied", func(b *browser) {
		for _, text := range []string{card, sku(3)} {
			release := make(chan struct{})
			b.ring(1)
			b.js("document.getElementById('forgot').open = true")
			b.write("#person", "Tilda")
			people := b.shop.inject("GET /api/v1/customers/", slow(release))
			slowly := b.shop.inject("GET /api/v1/products/?search="+text, slow(release))
			b.keys(enter)
			b.scan(text)
			b.hit(slowly)
			b.hit(people)
			b.click("#clear")
			close(release)
			b.says("#scan-problem", "Scan it again")
			b.shop.clear()
			b.ring(2)
			b.sells()
			b.shop.sold(goods(2))
			if b.text("#found") != "" {
				b.t.Errorf("the search of the customer before shows %q", b.text("#found"))
			}
		}
	}},
	{"the card ends with its top-up", func(b *browser) {
		b.fill("5.00")
		b.says("#outcome", "put on the card of Tilda")
		b.until("document.getElementById('card').value === '' && document.getElementById('no-card').hidden")
		b.ring(2)
		b.sells()
		b.shop.sold(goods(2))
	}},
	{"a top-up in the middle of a sale", func(b *browser) {
		b.ring(1)
		b.fill("5.00")
		b.says("#outcome", "put on the card of Tilda")
		b.press()
		b.says("#question", "Sell for cash")
		b.keys(enter) // the safe answer has the focus
		b.until("!document.getElementById('ask').open")
		b.shop.sold()
		b.useCard(card)
		b.sells()
		b.shop.sold(goods(1).by(card))
	}},
	{"a card is removed", func(b *browser) {
		b.scan(card)
		b.says("#holder", "Tilda")
		b.click("#no-card")
		b.nobody()
		b.ring(1)
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"the session ends before a sale on a card", func(b *browser) {
		b.ring(1)
		b.useCard(card)
		b.shop.request("DELETE", "/api/v1/users/cashier/sessions/", nil)
		b.press()
		b.says("#message", "Please log in again")
		b.nobody()
		b.logInHere("cashier", cashierPassword)
		b.says("#holder", "Tilda")
		b.sells()
		b.shop.sold(goods(1).by(card))
	}},
	{"a card is scanned while cards fail", func(b *browser) {
		b.shop.inject("GET /api/v1/cards/", status(503, `{"detail":"x"}`))
		b.scan(card)
		b.says("#scan-problem", "could not be looked up")
		if strings.Contains(b.text("body"), "No product") {
			b.t.Error("the card is a product that does not exist")
		}
	}},
	{"the list of recent sales has the newest", func(b *browser) {
		b.click("#recent summary")
		b.until("document.querySelectorAll('#recents button').length > 0")
		before := b.text("#recents")
		b.ring(1)
		b.sells()
		b.wait("the sale in the list", func() bool { return b.text("#recents") != before })
		b.shop.sold(goods(1))
	}},
	{"a card that another till has emptied", func(b *browser) {
		b.ring(1)
		b.shop.inject("POST /api/v1/sales/", status(409, `{"code":"spent","detail":"the card's balance does not suffice any more"}`))
		b.press()
		b.says("#outcome", "does not suffice")
		b.shop.sold()
	}},
	{"the words about the network go with the problem", func(b *browser) {
		b.offline(true)
		b.says("#outcome", "no network")
		b.offline(false)
		b.until("document.getElementById('outcome').textContent === ''")
	}},
}

var outcomeDays = []day{
	{"not sold, and the request arrives", func(b *browser) {
		before := b.shop.balance(card)
		b.ring(1)
		b.useCard(card)
		release := b.oneLate("POST /api/v1/sales/")
		b.press()
		b.until("!document.getElementById('drop').hidden")
		b.click("#drop")
		b.says("#outcome", "This was not sold")
		b.click("#clear") // the customer leaves
		b.shop.clear()
		release()
		if got := b.shop.balance(card); got != before {
			b.t.Errorf("balance %d, was %d", got, before)
		}
		b.shop.sold()
	}},
	{"back to the basket, and the sale was made", func(b *browser) {
		b.ring(1)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", unreached)
		b.press()
		b.until("!document.getElementById('drop').hidden")
		b.click("#drop")
		b.says("#outcome", "Sold for")
		b.shop.clear()
		b.shop.sold(goods(1))
	}},
	{"a slow sale and a second tab", func(b *browser) {
		release := make(chan struct{})
		b.ring(1)
		sent := b.shop.inject("POST /api/v1/sales/", late(release))
		b.press()
		b.hit(sent)
		first, second := b.tabs()
		b.says("#outcome", "not been sold so far")
		sent.remove()
		b.click("#drop")
		b.says("#outcome", "This was not sold")
		b.ring(2)
		first()
		close(release)
		b.says("#outcome", "This was not sold")
		second()
		b.sells()
		b.shop.sold(goods(1, 2))
		first()
	}},
	{"back to the basket, and then again", func(b *browser) {
		b.ring(1)
		b.shop.inject("POST /api/v1/sales/", unreached)
		b.press()
		b.until("!document.getElementById('drop').hidden")
		b.shop.clear()
		release := make(chan struct{})
		dropped, sent := b.shop.inject("POST /api/v1/keys/", slow(release)), b.shop.inject("POST /api/v1/sales/", unreached)
		b.click("#drop")
		b.hit(dropped)
		b.js("document.getElementById('again').click(); document.getElementById('sell').click()")
		b.press()
		close(release)
		b.says("#outcome", "This was not sold")
		if n := sent.hits.Load(); n != 0 {
			b.t.Errorf("%d requests while the key was cancelled", n)
		}
		b.shop.clear()
		b.ring(2)
		b.sells()
		b.shop.sold(goods(1, 2))
	}},
	{"refused after a lost request", func(b *browser) {
		b.ring(1)
		release := b.oneLate("POST /api/v1/sales/")
		var second *rule
		second = b.shop.inject("GET /api/v1/sales/?key=", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			second.remove()
			b.shop.inject("POST /api/v1/sales/", status(409, `{"code":"stock","product":1,"left":0,"detail":"x"}`))
			next.ServeHTTP(w, r)
		})
		b.press()
		b.says("#outcome", "Only 0 of")
		b.shop.clear()
		release()
		b.shop.sold()
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"a used key and no word of the shop", func(b *browser) {
		b.ring(1)
		b.shop.inject("POST /api/v1/sales/", replaced(422, `{"detail":"x"}`))
		b.shop.inject("POST /api/v1/keys/", status(503, "{}"))
		b.shop.inject("GET /api/v1/sales/?key=", status(503, "{}"))
		b.press()
		b.says("#outcome", "Do not ring it up again")
		b.shop.clear()
		b.click("#again")
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"an unknown top-up is asked for", func(b *browser) {
		before := b.shop.balance(card)
		b.shop.inject("POST /api/v1/topups/", unanswered)
		b.shop.inject("GET /api/v1/topups/", status(503, "{}"))
		b.fill("20.00")
		b.until("!document.getElementById('entry').disabled")
		b.says("#topup-words", "not known yet")
		if !b.is("document.getElementById('topup').hidden && document.getElementById('card').value === ''") {
			b.t.Error("the form takes another top-up")
		}
		b.ring(2) // the next customer
		b.sells()
		b.shop.clear()
		b.says("#outcome", "20.00 was put on card "+card+" before")
		b.until("document.getElementById('topup-open').hidden")
		b.fill("20.00") // the other parent brings 20.00 too
		b.says("#outcome", "put on the card of Tilda")
		if got := b.shop.balance(card); got != before+4000 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
		b.shop.sold(goods(2))
	}},
	{"an unknown top-up is cancelled, and the request arrives", func(b *browser) {
		before := b.shop.balance(card)
		release := b.oneLate("POST /api/v1/topups/")
		b.fill("20.00")
		b.until("!document.getElementById('entry').disabled")
		b.click("#topup-drop")
		b.says("#outcome", "20.00 was not put on card")
		b.shop.clear()
		release()
		if got := b.shop.balance(card); got != before {
			b.t.Errorf("balance %d, was %d", got, before)
		}
		b.fill("1.00")
		b.says("#outcome", "1.00 put on the card of Tilda")
	}},
	{"a top-up ends while the next card is there", func(b *browser) {
		for _, ends := range []func(){
			func() { b.js("window.dispatchEvent(new Event('online'))") },
			func() { b.click("#topup-again") },
		} {
			b.shop.inject("POST /api/v1/topups/", unanswered)
			b.shop.inject("GET /api/v1/topups/", status(503, "{}"))
			b.fill("5.00")
			b.until("!document.getElementById('entry').disabled && !document.getElementById('topup-open').hidden")
			b.scan(otherCard) // of the next customer, whose goods come later
			b.until("document.getElementById('card').value === '" + otherCard + "' && /\\d/.test(document.getElementById('holder').textContent)")
			b.shop.clear()
			ends()
			b.says("#outcome", "5.00 was put on card "+card+" before")
			b.ring(1)
			b.sells()
			b.shop.sold(goods(1).by(otherCard))
		}
	}},
	{"a reload during a top-up, which is then refused", func(b *browser) {
		before := b.shop.balance(card)
		until, done := make(chan struct{}), make(chan struct{})
		sent := b.shop.inject("POST /api/v1/topups/", func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
			queued(until, done)(httptest.NewRecorder(), r, next)
			<-r.Context().Done()
		})
		b.fill("5.00")
		b.hit(sent)
		b.reload()
		b.says("#topup-words", "not known yet")
		b.shop.clear()
		b.shop.inject("POST /api/v1/topups/", status(429, "{}"))
		b.click("#topup-again")
		b.says("#outcome", "not known yet")
		close(until)
		<-done
		b.shop.clear()
		b.click("#topup-again")
		b.says("#outcome", "5.00 was put on card "+card)
		if got := b.shop.balance(card); got != before+500 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
	{"a top-up before the name is there", func(b *browser) {
		before := b.shop.balance(otherCard)
		release := make(chan struct{})
		b.js("document.getElementById('money').open = true")
		b.shop.inject("GET /api/v1/cards/", slow(release))
		b.write("#card", otherCard)
		b.write("#amount", "7")
		b.keys(enter)
		close(release)
		b.says("#question", "7.00 on the card of Milo")
		b.keys(enter) // the safe answer has the focus
		b.until("!document.getElementById('ask').open")
		if got := b.shop.balance(otherCard); got != before {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
	{"the storage fills up, and a reload", func(b *browser) {
		b.ring(1)
		// Room for the key is left, and none for the basket with the key.
		b.js(`let n = 5 << 20, i = 0; while (n > 0) { try { localStorage.setItem("x" + i++, "x".repeat(n)); } catch { n >>= 1; } }`)
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", unreached)
		b.press()
		b.says("#outcome", "Do not ring it up again")
		b.reload()
		b.says("#outcome", "Do not ring it up again")
		b.shop.clear()
		b.says("#outcome", "Sold for")
		b.shop.sold(goods(1))
	}},
	{"the storage fills up, and a reload of a sale that never arrived", func(b *browser) {
		b.ring(1)
		b.js(`let n = 5 << 20, i = 0; while (n > 0) { try { localStorage.setItem("x" + i++, "x".repeat(n)); } catch { n >>= 1; } }`)
		b.shop.inject("POST /api/v1/sales/", unreached)
		b.press()
		b.until("!document.getElementById('drop').hidden")
		b.reload()
		b.until("!document.getElementById('drop').hidden && document.getElementById('again').hidden")
		b.click("#drop")
		b.says("#outcome", "This was not sold")
		b.shop.clear()
		b.ring(2)
		b.sells()
		b.shop.sold(goods(2))
	}},
	{"the storage takes nothing, and a reload", func(b *browser) {
		b.ring(1) // stored
		b.fullStorage()
		b.shop.inject("POST /api/v1/sales/", unanswered)
		b.shop.inject("GET /api/v1/sales/?key=", unreached)
		b.press()
		b.says("#outcome", "Do not ring it up again")
		if !b.is("!dispatchEvent(new Event('beforeunload', {cancelable: true}))") {
			b.t.Error("the page closes without a warning")
		}
		b.shop.clear()
		b.reload()
		b.until("document.querySelectorAll('#products button').length > 0")
		if b.quantity(1) != 0 {
			b.t.Error("the sold basket is back")
		}
		b.shop.sold(goods(1))
	}},
}
