package store

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// The kinds of counted entries. A void counts under the kind of the entry that it undoes, with
// a negative amount, and once more under KindVoid.
const (
	kindCash      = "cash"
	kindCard      = "card"
	kindTopUp     = "topup"
	kindVoid      = "void"
	kindTopUpVoid = "topup-void"
)

// quarter is the unit of the counters. The offsets of all time zones are whole quarters of an
// hour, so a business day in any zone is a sum of quarters.
const quarter = 15 * time.Minute

func quarterOf(micros int64) int64 { return micros / quarter.Microseconds() }

// slots is the number of rows of each counter. The sales of several tills use different rows,
// so they do not wait for each other. Readers add the rows up.
const slots = 8

// count adds entries to a counter of the quarter that contains at.
func (t *Tx) count(b *batch, at int64, cashier, kind string, entries, amount int64) {
	b.add(t.adding("INSERT INTO quarter_counts (quarter, cashier, kind, slot, entries, amount) VALUES (?, ?, ?, ?, ?, ?)",
		"quarter_counts", "quarter, cashier, kind, slot", "entries", "amount"),
		quarterOf(at), cashier, kind, rand.IntN(slots), entries, amount)
}

// countProducts adds the items of a sale to the counters of their products.
func (t *Tx) countProducts(b *batch, at int64, items []SaleItem) {
	var args []any
	for _, i := range items {
		args = append(args, quarterOf(at), i.Product, i.Quantity, i.Quantity*i.Price)
	}
	b.add(t.adding("INSERT INTO quarter_products (quarter, product_id, quantity, amount) VALUES "+rows(len(items), 4),
		"quarter_products", "quarter, product_id", "quantity", "amount"), args...)
}

// rows returns n tuples of question marks.
func rows(n, width int) string {
	return strings.TrimSuffix(strings.Repeat("("+marks(width)+"),", n), ",")
}

// MoneyVersion is the version that changes with every sale and top-up.
const MoneyVersion = "money"

// CatalogueVersion is the version that changes with names and prices of products.
const CatalogueVersion = "catalogue"

// bump increases versions in the transaction that makes cached values old. A version is a time
// of the database in microseconds: after a restore no version occurs again (see [Versions]), and
// the values that Redis has from before the restore stay unused.
func (t *Tx) bump(b *batch, names ...string) {
	var args []any
	slot := rand.IntN(slots)
	for _, n := range names {
		args = append(args, n, slot)
	}
	greatest := "greatest"
	if t.engine == settings.SQLite {
		greatest = "max"
	}
	row := "(?, ?, " + now(t.engine) + "),"
	b.add("INSERT INTO versions (name, slot, version) VALUES "+strings.TrimSuffix(strings.Repeat(row, len(names)), ",")+
		t.onConflict("name, slot")+"version = "+greatest+"(versions.version + 1, "+t.inserted("version")+")", args...)
}
