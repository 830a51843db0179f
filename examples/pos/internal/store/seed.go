package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// Demo sets the amount of demo data. The zero value is the shop of the manual.
type Demo struct {
	Products  int // default 450
	Customers int // default 120
	Sales     int // default 10,000
	// Progress receives the number of rows that are written, and of all rows. Default nil.
	Progress func(done, total int)
}

// demoDays is the number of days with demo sales.
const demoDays = 90

// shelf is a category of the demo with its products.
type shelf struct {
	name     string
	goods    []string
	from, to int64 // prices
}

var shelves = []shelf{
	{"Hot meals", []string{"Lasagne", "Chicken curry", "Fish fingers", "Vegetable stew", "Meatballs"}, 320, 590},
	{"Soups", []string{"Tomato soup", "Pea soup", "Noodle soup", "Pumpkin soup", "Lentil soup"}, 190, 320},
	{"Salads", []string{"Green salad", "Pasta salad", "Potato salad", "Greek salad", "Fruit salad"}, 180, 390},
	{"Sandwiches", []string{"Cheese sandwich", "Ham sandwich", "Egg sandwich", "Tuna sandwich", "Hummus wrap"}, 160, 340},
	{"Bakery", []string{"Croissant", "Pretzel", "Roll", "Muffin", "Cinnamon bun"}, 60, 220},
	{"Fruit", []string{"Apple", "Banana", "Pear", "Orange", "Grapes"}, 40, 150},
	{"Dairy", []string{"Milk", "Yoghurt", "Cheese sticks", "Quark", "Cocoa"}, 70, 190},
	{"Cold drinks", []string{"Water", "Apple juice", "Orange juice", "Iced tea", "Lemonade"}, 80, 220},
	{"Hot drinks", []string{"Tea", "Hot chocolate", "Coffee", "Fruit tea", "Malt drink"}, 90, 260},
	{"Snacks", []string{"Crackers", "Popcorn", "Nuts", "Rice cakes", "Cereal bar"}, 70, 240},
	{"Desserts", []string{"Pudding", "Ice cream", "Jelly", "Brownie", "Apple pie"}, 110, 290},
	{"Stationery", []string{"Pencil", "Exercise book", "Eraser", "Ruler", "Glue stick"}, 50, 450},
}

var (
	sizes      = []string{"small", "regular", "large", "family", "organic", "classic", "spicy", "light"}
	firstNames = []string{"Amina", "Ben", "Chiara", "David", "Elif", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Lena", "Milo", "Nora", "Omar", "Paula", "Rosa", "Samir", "Tilda", "Yusuf"}
	lastNames  = []string{"Abbas", "Bauer", "Costa", "Dietrich", "Evans", "Fischer", "Garcia", "Hoffmann", "Ivanova", "Jensen", "Kowalski", "Lopez", "Marino", "Novak", "Okafor", "Petrov", "Rossi", "Schmidt", "Tanaka", "Weber"}
)

// Empty reports whether the shop has no products yet.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	var n int
	err := s.queryRow(ctx, []any{&n}, "SELECT count(*) FROM (SELECT 1 FROM products LIMIT 1) AS any_product")
	return n == 0, err
}

// Seed fills an empty shop with demo data, in one transaction. The same Demo and day make the
// same data.
func (s *Store) Seed(ctx context.Context, c Calendar, now time.Time, demo Demo) error {
	setDefault(&demo.Products, 450)
	setDefault(&demo.Customers, 120)
	setDefault(&demo.Sales, 10_000)
	empty, err := s.Empty(ctx)
	if err != nil {
		return err
	}
	if !empty {
		return errFilled
	}
	return s.inTx(ctx, func(tx *Tx) error {
		var n int // another server may have been faster
		if err := tx.queryRow(ctx, "SELECT count(*) FROM products").Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return errFilled
		}
		w := &seeder{
			ctx: ctx, tx: tx, rng: rand.New(rand.NewPCG(2026, 11)), progress: demo.Progress,
			total: len(shelves) + 2*demo.Products + 5*demo.Customers + 3*demo.Sales,
		}
		w.catalogue(demo.Products)
		w.customers(demo.Customers)
		w.sales(demo.Sales, c, now)
		w.flushAll()
		w.counters()
		if s.engine == settings.Postgres {
			for _, table := range []string{"categories", "products", "customers", "children", "sales"} {
				w.run("SELECT setval(pg_get_serial_sequence('" + table + "', 'id'), (SELECT max(id) FROM " + table + "))")
			}
		}
		return w.err
	})
}

var errFilled = errors.New("the database has products already: demo data goes into an empty one (choose another --data folder)")

func setDefault(n *int, value int) {
	if *n <= 0 {
		*n = value
	}
}

// seeder writes rows in batches and stops at the first error.
type seeder struct {
	ctx      context.Context
	tx       *Tx
	rng      *rand.Rand
	err      error
	progress func(done, total int)
	done     int
	total    int

	batches []*rowBatch // in the order in which they may be written
	cards   []string
	prices  []int64
	names   []string
}

// rowBatch collects rows for one INSERT.
type rowBatch struct {
	table, columns string
	width          int
	args           []any
}

const batchRows = 250

func (w *seeder) into(table, columns string) *rowBatch {
	b := &rowBatch{table: table, columns: columns, width: strings.Count(columns, ",") + 1}
	w.batches = append(w.batches, b)
	return b
}

func (w *seeder) add(b *rowBatch, values ...any) {
	b.args = append(b.args, values...)
	if len(b.args) < batchRows*b.width {
		return
	}
	// New rows may refer to rows of earlier tables, so those tables are written first.
	for _, earlier := range w.batches {
		w.flush(earlier)
		if earlier == b {
			return
		}
	}
}

func (w *seeder) flush(b *rowBatch) {
	rows := len(b.args) / b.width
	if rows == 0 || w.err != nil {
		return
	}
	row := "(" + marks(b.width) + ")"
	w.run("INSERT INTO "+b.table+" ("+b.columns+") VALUES "+row+strings.Repeat(","+row, rows-1), b.args...)
	b.args = b.args[:0]
	w.done += rows
	if w.progress != nil && w.err == nil {
		w.progress(min(w.done, w.total), w.total)
	}
}

func (w *seeder) flushAll() {
	for _, b := range w.batches {
		w.flush(b)
	}
	if w.progress != nil && w.err == nil {
		w.progress(w.total, w.total)
	}
}

func (w *seeder) run(query string, args ...any) {
	if w.err == nil {
		_, w.err = w.tx.exec(w.ctx, query, args...)
	}
}

func (w *seeder) catalogue(n int) {
	categories := w.into("categories", "id, name")
	products := w.into("products", "id, sku, name, folded, price, category_id")
	stock := w.into("stock", "product_id, quantity")
	for i, shelf := range shelves {
		w.add(categories, i+1, shelf.name)
	}
	for i := range n {
		shelf := shelves[i%len(shelves)]
		kind := i / len(shelves)
		name := shelf.goods[kind%len(shelf.goods)] + ", " + sizes[kind/len(shelf.goods)%len(sizes)]
		if series := kind / (len(shelf.goods) * len(sizes)); series > 0 {
			name += " " + strconv.Itoa(series+1)
		}
		price := (shelf.from + w.rng.Int64N(shelf.to-shelf.from)) / 10 * 10
		w.names, w.prices = append(w.names, name), append(w.prices, price)
		w.add(products, i+1, fmt.Sprintf("SKU-%05d", i+1), name, fold(name), price, i%len(shelves)+1)
		w.add(stock, i+1, 50+w.rng.IntN(450))
	}
}

func (w *seeder) customers(n int) {
	customers := w.into("customers", "id, name, folded")
	children := w.into("children", "id, customer_id, name, folded")
	cards := w.into("cards", "number, child_id, balance")
	child := 0
	for i := range n {
		family := lastNames[w.rng.IntN(len(lastNames))]
		name := firstNames[w.rng.IntN(len(firstNames))] + " " + family
		w.add(customers, i+1, name, fold(name))
		for range 1 + w.rng.IntN(3) {
			child++
			number := fmt.Sprintf("C%07d", 1000000+child*7)
			w.cards = append(w.cards, number)
			name := firstNames[w.rng.IntN(len(firstNames))] + " " + family
			w.add(children, child, i+1, name, fold(name))
			w.add(cards, number, child, 500+w.rng.Int64N(80)*50)
		}
	}
}

func (w *seeder) sales(n int, c Calendar, now time.Time) {
	sales := w.into("sales", "id, created_at, total, card_number, cashier")
	items := w.into("sale_items", "sale_id, line, product_id, name, quantity, price")
	// Times are whole minutes of past days, so that two starts on one day agree and no time is in
	// the future.
	y, m, d := now.In(c.Zone).Date()
	times := make([]time.Time, n)
	for i := range times {
		times[i] = time.Date(y, m, d-1-w.rng.IntN(demoDays), 7, 0, int(w.rng.Int64N(int64(8*time.Hour/time.Second))), 0, c.Zone)
	}
	sort.Slice(times, func(i, j int) bool { return times[i].Before(times[j]) })
	for i, at := range times {
		var total int64
		var lines [][]any
		first := w.rng.IntN(len(w.names))
		for line := range 1 + w.rng.IntN(3) {
			p := (first + line*37) % len(w.names)
			quantity := 1 + w.rng.Int64N(2)
			total += quantity * w.prices[p]
			lines = append(lines, []any{i + 1, line, p + 1, w.names[p], quantity, w.prices[p]})
		}
		var card any
		if w.rng.IntN(10) < 8 && len(w.cards) > 0 {
			card = w.cards[w.rng.IntN(len(w.cards))]
		}
		w.add(sales, i+1, micros(at), total, card, CashierUser.Name)
		for _, line := range lines {
			w.add(items, line...)
		}
	}
}

// counters adds the written sales to the counters, and gives each category a version.
func (w *seeder) counters() {
	q := fmt.Sprintf("(created_at - created_at %% %d) / %d", quarter.Microseconds(), quarter.Microseconds())
	kind := "CASE WHEN card_number IS NULL THEN 'cash' ELSE 'card' END"
	w.run("INSERT INTO quarter_counts (quarter, cashier, kind, slot, entries, amount) SELECT " + q + ", cashier, " + kind +
		", 0, count(*), sum(total) FROM sales GROUP BY " + q + ", cashier, " + kind)
	w.run("INSERT INTO quarter_products (quarter, product_id, quantity, amount) SELECT " + q +
		", i.product_id, sum(i.quantity), sum(i.quantity * i.price) FROM sales s JOIN sale_items i ON i.sale_id = s.id GROUP BY " + q + ", i.product_id")
	for i := range shelves {
		w.run("INSERT INTO versions (name, slot, version) VALUES (?, 0, 1)", CategoryVersion(int64(i+1)))
	}
	for _, name := range []string{MoneyVersion, CatalogueVersion} { // a server may be running
		w.run("INSERT INTO versions (name, slot, version) VALUES (?, "+strconv.Itoa(slots)+", "+now(w.tx.engine)+")", name)
	}
}
