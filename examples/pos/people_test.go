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
		b.keys(enter) // without a reason the dialog stays open
		if !b.is("document.getElementById('ask').open") {
			b.t.Error("a void without a reason")
		}
		b.keys("wrong dish")
		b.shop.inject("POST /api/v1/sales/", unanswered) // and the response is lost
		b.keys(enter)
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
	{"a cashier cannot void", func(b *browser) {
		b.ring(1)
		b.sells()
		if !b.is("document.getElementById('void').hidden") {
			b.t.Error("a cashier sees Void")
		}
		b.shop.sold(goods(1))
	}},
}
