package main

var peopleDays = []day{
	{"a manager voids a sale with a reason", func(b *browser) {
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.logInHere("admin", adminPassword)
		b.until("document.querySelectorAll('#products button').length > 0")
		before := b.shop.balance(card)
		b.ring(1)
		b.useCard(card)
		b.sells()
		b.click("#void")
		b.says("#question", "Void sale")
		b.click("#ask [value=yes]") // without a reason the dialog stays open
		if !b.is("document.getElementById('ask').open") {
			b.t.Error("a void without a reason")
		}
		b.keys("wrong dish" + enter) // a scanner's Enter must not confirm
		if !b.is("document.getElementById('ask').open") {
			b.t.Error("Enter has confirmed a void")
		}
		b.shop.inject("POST /api/v1/sales/", unanswered) // and the response is lost
		b.click("#ask [value=yes]")
		b.says("#outcome", "is voided")
		b.says("#receipt-body", "Voided")
		if !b.is("document.getElementById('void').hidden") {
			b.t.Error("it can be voided again")
		}
		if got := b.shop.balance(card); got != before {
			b.t.Errorf("balance %d, was %d", got, before)
		}
		b.shop.sold(goods(1).by(card), sale{Items: map[int]int{1: -1}, Card: card})
	}},
	{"a void that was not made, and the request arrives", func(b *browser) {
		b.click("#logout")
		b.until("!document.getElementById('login').hidden")
		b.logInHere("admin", adminPassword)
		b.until("document.querySelectorAll('#products button').length > 0")
		b.ring(1)
		b.sells()
		b.click("#void")
		b.says("#question", "Void sale")
		b.keys("wrong dish")
		release := b.oneLate("POST /api/v1/sales/")
		b.click("#ask [value=yes]")
		b.says("#outcome", "could not be voided")
		b.shop.clear()
		release()
		b.shop.sold(goods(1))
		made := b.shop.post("/api/v1/topups/", map[string]any{"card": card, "amount": 500})
		before := b.shop.balance(card)
		b.open("/customers/")
		b.write("#search", card)
		b.click(`[aria-label="Top-ups of ` + card + `"]`)
		b.until("document.querySelectorAll('#topup-list button').length > 0")
		release = b.oneLate("POST /api/v1/topups/")
		b.click("#topup-list button")
		b.says("#question", "Void the top-up of 5.00")
		b.keys("typo")
		b.click("#ask [value=yes]")
		b.says("#message", "Try again")
		b.shop.clear()
		release()
		if got := b.shop.balance(card); got != before {
			b.t.Errorf("balance %d, was %d, after top-up %v", got, before, made["id"])
		}
	}},
	{"a cashier cannot void", func(b *browser) {
		b.ring(1)
		b.sells()
		if !b.is("document.getElementById('void').hidden") {
			b.t.Error("a cashier sees Void")
		}
		b.shop.sold(goods(1))
	}},
}
