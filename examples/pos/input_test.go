package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

var inputDays = []day{
	{"amounts as people write them", func(b *browser) {
		before := b.shop.balance(card)
		for text, want := range map[string]int{
			"12,50": 1250, "12.50": 1250, "3": 300, " 4,5 ": 450, "0.01": 1,
			"1,250": 0, "1.250,00": 0, "1,250.00": 0, "1250,000": 0, "-5": 0, "+5": 0, "1e3": 0, "5 5": 0, "0": 0, "0,00": 0, "5€": 0, "$5": 0, "1'000": 0, "٥": 0, "Infinity": 0, "0x10": 0, "99999999999999": 0, ",5": 0,
		} {
			if want == 0 {
				b.js("document.getElementById('money').open = true")
				b.write("#amount", text)
				b.keys(enter)
				b.says("#outcome", "Write an amount")
				continue
			}
			b.fill(text) // a top-up ends its card
			b.says("#outcome", "put on the card of Tilda")
			before += want
			b.js("document.getElementById('outcome').textContent = ''")
		}
		if got := b.shop.balance(card); got != before {
			b.t.Errorf("balance %d, want %d", got, before)
		}
	}},
	{"a scan after one that finds nothing", func(b *browser) {
		b.keys(f2 + "4006381333931" + enter)
		b.says("#outcome", "No product")
		b.keys(sku(1) + enter)
		b.wait("the product in the basket", func() bool { return b.quantity(1) == 1 })
		b.keys(f2 + "SKU-" + enter)
		b.says("#outcome", "Several products")
		b.click("#products button") // with the focus elsewhere
		b.keys(sku(2) + enter)
		b.wait("the product in the basket", func() bool { return b.quantity(2) == 1 })
	}},
	{"a scan of a product that is not for sale", func(b *browser) {
		for id, change := range map[int]map[string]any{20: {"active": false}, 21: {"name": "Lid for " + sku(20)}} {
			b.shop.request("PATCH", fmt.Sprintf("/api/v1/products/%d/", id), change)
		}
		b.scan(sku(20))
		b.says("#outcome", "No product")
		b.ring(21)
		b.sells()
		b.shop.sold(goods(21))
	}},
	{"a large top-up is confirmed, and has a bound", func(b *browser) {
		before := b.shop.balance(card)
		b.fill("200.01")
		b.says("#outcome", "At most 200.00")
		b.write("#amount", "150")
		b.keys(enter)
		b.says("#question", "Put 150.00 on the card of Tilda")
		b.picture("large top-up")
		b.keys(enter) // a scanner's Enter must not confirm
		b.until("!document.getElementById('ask').open")
		if got := b.shop.balance(card); got != before {
			b.t.Errorf("balance %d, was %d", got, before)
		}
		b.click("#topup button")
		b.click("#ask [value=yes]")
		b.says("#outcome", "150.00 put on the card of Tilda")
		if got := b.shop.balance(card); got != before+15000 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
	{"a double click on top up", func(b *browser) {
		before := b.shop.balance(card)
		b.useCard(card)
		b.js("document.getElementById('money').open = true")
		b.write("#amount", "1.10")
		b.js("const x = document.querySelector('#topup button'); x.click(); x.click(); x.click()")
		b.says("#outcome", "put on the card of Tilda")
		if got := b.shop.balance(card); got != before+110 {
			b.t.Errorf("balance %d, was %d", got, before)
		}
	}},
	{"cash and change", func(b *browser) {
		_, price, _ := b.shop.product(1)
		b.ring(1)
		b.write("#given", "50")
		b.says("#change", fmt.Sprintf("Change: %d.%02d", (5000-price)/100, (5000-price)%100))
		b.sells()
		b.says("#receipt-body", "Given 50.00")
		b.says("#receipt-body", "Change")
		b.shop.sold(goods(1))
		b.ring(1)
		b.write("#given", "0,10")
		b.says("#change", "missing")
		b.press()
		b.says("#outcome", "missing")
		b.write("#given", "5o")
		b.press()
		b.says("#outcome", "Write an amount")
		b.shop.sold()
		b.write("#given", "")
		b.sells()
		b.shop.sold(goods(1))
	}},
	{"a scanner adds goods", func(b *browser) {
		b.js("document.activeElement.blur()") // no element has the focus
		b.keys(sku(1) + enter)
		b.wait("the product", func() bool { return b.quantity(1) == 1 })
		b.js("document.querySelector('#products button:enabled').focus()") // or a tile has it
		b.keys(sku(2) + enter)
		b.wait("the product", func() bool { return b.quantity(2) == 1 })
		b.sells()
		b.shop.sold(goods(1, 2))
	}},
	{"a fast scanner and a slow shop", func(b *browser) {
		release := make(chan struct{})
		first := b.shop.inject("GET /api/v1/products/?search="+sku(1), slow(release))
		b.keys(f2 + sku(1) + enter + sku(2) + enter + sku(3) + enter)
		b.wait("the first", func() bool { return first.hits.Load() > 0 })
		close(release)
		b.wait("all three", func() bool { return b.quantity(1) == 1 && b.quantity(2) == 1 && b.quantity(3) == 1 })
		b.sells()
		b.shop.sold(goods(1, 2, 3))
	}},
	{"a scanned card", func(b *browser) {
		b.ring(1)
		b.scan(card)
		b.says("#holder", "Tilda")
		b.sells()
		b.shop.sold(goods(1).by(card))
	}},
	{"codes that are none", func(b *browser) {
		for text, says := range map[string]string{"nothing-like-this": "No product found", "soup": "Several products", "<b>x</b>": "No product found", "%": "No product found", "../../users": "No product found"} {
			b.scan(text)
			b.says("#outcome", says)
			b.write("#search", "")
		}
		b.shop.sold()
	}},
	{"only the keyboard", func(b *browser) {
		if b.focus() != "search" {
			b.t.Errorf("after the log-in the focus is on %s", b.focus())
		}
		b.scan(sku(1))
		b.wait("the product", func() bool { return b.quantity(1) == 1 })
		b.until("document.getElementById('announce').textContent.includes('Total')")
		stops := 0
		for ; b.focus() != "sell" && stops < 30; stops++ {
			b.keys(tab)
		}
		if stops > 16 {
			b.t.Errorf("%d stops from search to Sell", stops)
		}
		b.js("document.querySelector('#products button:enabled').focus()")
		b.keys(right + down)
		if !b.is("document.activeElement.closest('#products')") {
			b.t.Errorf("the arrows lead to %s", b.focus())
		}
		b.js("document.querySelector('[data-focus=\"1+\"]').focus()")
		b.keys(enter)
		b.wait("one more", func() bool { return b.quantity(1) == 2 })
		if !b.is("document.activeElement.dataset.focus === '1+'") {
			b.t.Errorf("after one more the focus is on %s", b.focus())
		}
		b.press()
		b.says("#outcome", "Sold for")
		if b.focus() != "search" {
			b.t.Errorf("after the sale the focus is on %s", b.focus())
		}
		b.shop.sold(sale{Items: map[int]int{1: 2}})
	}},
	{"receipt again, and in print", func(b *browser) {
		name, _, _ := b.shop.product(1)
		b.ring(1)
		b.sells()
		b.says("#receipt-body", name)
		b.devtools("Emulation.setEmulatedMedia", map[string]any{"media": "print"})
		if !b.is("getComputedStyle(document.getElementById('receipt')).visibility === 'visible' && getComputedStyle(document.getElementById('products')).visibility === 'hidden'") {
			b.t.Error("the print has more or less than the receipt")
		}
		b.devtools("Emulation.setEmulatedMedia", map[string]any{"media": ""})
		b.reload()
		b.click("#recent summary")
		b.click("#recents button")
		b.says("#receipt-body", name)
		b.shop.sold(goods(1))
	}},
	{"a search that fails is said in view", func(b *browser) {
		b.size(320, 640)
		b.shop.inject("GET /api/v1/products/", status(503, `{"detail":"no"}`))
		b.scan(sku(1))
		b.says("#scan-problem", "could not be looked up")
		b.inView("#scan-problem")
	}},
}

// inView checks that an element is in the window.
func (b *browser) inView(css string) {
	b.t.Helper()
	v := b.js(`const e = document.querySelector(arguments[0]), r = e.getBoundingClientRect();
		const shown = e.checkVisibility() && r.width > 0 && r.top >= -1 && r.left >= -1 && r.bottom <= innerHeight + 1 && r.right <= innerWidth + 1;
		const at = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
		return shown && (e === at || e.contains(at)) ? "" : JSON.stringify({top: r.top, bottom: r.bottom, right: r.right, height: innerHeight, width: innerWidth})`, css)
	if v != "" {
		b.picture("out of view")
		b.t.Errorf("%s is out of view: %v", css, v)
	}
}

// TestTillInSpanish sells in a shop whose pages and amounts are Spanish.
func TestTillInSpanish(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() {
		t.Skip("a browser")
	}
	b := openBrowser(t).with(t, startShop(t, "--locale=es", "--timezone=Pacific/Auckland"))
	b.logIn("/", "cashier", cashierPassword)
	b.until("document.querySelectorAll('#products button').length > 0")
	before := b.shop.balance(card)
	b.fill("12,50")
	b.says("#outcome", "12,50")
	if got := b.shop.balance(card); got != before+1250 {
		t.Errorf("balance %d, was %d", got, before)
	}
	b.js("document.getElementById('money').open = true")
	b.write("#amount", "1.250,00")
	b.keys(enter)
	b.says("#outcome", "12,50") // an example of an amount
	b.ring(1)
	b.press()
	b.until("document.getElementById('sell').disabled === false && document.querySelectorAll('#receipt-body tr').length > 0")
	if lang := b.js("return document.documentElement.lang"); lang != "es" {
		t.Errorf("the page's language is %v", lang)
	}
	if words := b.text("body"); strings.Contains(words, "Sell") || strings.Contains(words, "Sold") {
		t.Errorf("English words in a Spanish page: %s", words)
	}
	// The receipt has the shop's time, in any time zone of the browser.
	want := b.js(`return new Date().toLocaleDateString("es", { dateStyle: "short", timeZone: "Pacific/Auckland" })`).(string)
	b.says("#receipt-body", want)
}
