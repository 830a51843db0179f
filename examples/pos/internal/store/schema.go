package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// schema is the schema for all engines. {id} is an automatic primary key, and {key} a text that
// compares by its bytes, trailing blanks included. Instants are microseconds since 1970 and
// money is in the smallest unit. The CHECKs are the last line of defence.
//
// A void is a sale or a top-up with negative amounts. Its column voids names the entry that it
// undoes. So every sum over sales, top-ups or counters is the net amount.
//
// The columns folded hold the names as [fold] writes them, for the search.
//
// sales and topups hold the Idempotency-Key of their request, so a key is stored as long as its
// record. request_keys has each key once, for its change or for its end: the primary key decides
// between a change and a cancellation at the same time. It has the fingerprint of a change without
// a record. Its rows expire (see [Store.ForgetKeys]).
//
// sale_items comes last, so a start that was interrupted has not made a shop (see isShop).
const schema = `
CREATE TABLE IF NOT EXISTS meta (
	name {key} NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS leases (
	name {key} NOT NULL PRIMARY KEY,
	holder {key} NOT NULL,
	until BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS users (
	username {key} NOT NULL PRIMARY KEY,
	role VARCHAR(16) NOT NULL,
	password_hash VARCHAR(255) NOT NULL,
	active INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE IF NOT EXISTS sessions (
	token_hash {key} NOT NULL PRIMARY KEY,
	username {key} NOT NULL REFERENCES users (username),
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	address VARCHAR(64) NOT NULL,
	agent VARCHAR(190) NOT NULL,
	INDEX sessions_username (username),
	INDEX sessions_expiry (expires_at)
);
CREATE TABLE IF NOT EXISTS audit (
	id {id},
	created_at BIGINT NOT NULL,
	username {key} NOT NULL,
	action VARCHAR(40) NOT NULL,
	subject VARCHAR(190) NOT NULL,
	detail VARCHAR(1000) NOT NULL,
	INDEX audit_time (created_at, id)
);
CREATE TABLE IF NOT EXISTS categories (
	id {id},
	name VARCHAR(100) NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS products (
	id {id},
	sku {key} NOT NULL UNIQUE,
	name VARCHAR(190) NOT NULL,
	folded TEXT NOT NULL,
	price BIGINT NOT NULL CHECK (price >= 0),
	category_id BIGINT NOT NULL REFERENCES categories (id),
	active INTEGER NOT NULL DEFAULT 1,
	INDEX products_category (category_id, id),
	INDEX products_name (name, id),
	INDEX products_price (price, id)
);
CREATE TABLE IF NOT EXISTS stock (
	product_id BIGINT NOT NULL PRIMARY KEY REFERENCES products (id),
	quantity BIGINT NOT NULL CHECK (quantity >= 0),
	INDEX stock_quantity (quantity, product_id)
);
CREATE TABLE IF NOT EXISTS customers (
	id {id},
	name VARCHAR(190) NOT NULL,
	folded TEXT NOT NULL,
	INDEX customers_name (name, id)
);
CREATE TABLE IF NOT EXISTS children (
	id {id},
	customer_id BIGINT NOT NULL REFERENCES customers (id),
	name VARCHAR(190) NOT NULL,
	folded TEXT NOT NULL,
	INDEX children_customer (customer_id, id)
);
CREATE TABLE IF NOT EXISTS cards (
	number {key} NOT NULL PRIMARY KEY,
	child_id BIGINT NOT NULL UNIQUE REFERENCES children (id),
	balance BIGINT NOT NULL CHECK (balance >= 0)
);
CREATE TABLE IF NOT EXISTS topups (
	id {id},
	created_at BIGINT NOT NULL,
	card_number {key} NOT NULL REFERENCES cards (number),
	amount BIGINT NOT NULL CHECK (amount <> 0),
	balance BIGINT NOT NULL,
	cashier {key} NOT NULL REFERENCES users (username),
	voids BIGINT NULL UNIQUE REFERENCES topups (id),
	reason VARCHAR(190) NULL,
	request_key {key} NULL,
	fingerprint VARCHAR(64) NULL,
	UNIQUE (cashier, request_key),
	INDEX topups_card (card_number, id),
	INDEX topups_time (created_at, id)
);
CREATE TABLE IF NOT EXISTS sales (
	id {id},
	created_at BIGINT NOT NULL,
	total BIGINT NOT NULL,
	card_number {key} NULL REFERENCES cards (number),
	cashier {key} NOT NULL REFERENCES users (username),
	voids BIGINT NULL UNIQUE REFERENCES sales (id),
	reason VARCHAR(190) NULL,
	request_key {key} NULL,
	fingerprint VARCHAR(64) NULL,
	UNIQUE (cashier, request_key),
	INDEX sales_time (created_at, id),
	INDEX sales_total (total, id),
	INDEX sales_card (card_number, id)
);
CREATE TABLE IF NOT EXISTS request_keys (
	cashier {key} NOT NULL,
	request_key {key} NOT NULL,
	cancelled INTEGER NOT NULL,
	fingerprint VARCHAR(64) NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (cashier, request_key),
	INDEX request_keys_expiry (expires_at)
);
CREATE TABLE IF NOT EXISTS quarter_counts (
	quarter BIGINT NOT NULL,
	cashier {key} NOT NULL,
	kind VARCHAR(16) NOT NULL,
	slot INTEGER NOT NULL,
	entries BIGINT NOT NULL,
	amount BIGINT NOT NULL,
	PRIMARY KEY (quarter, cashier, kind, slot)
);
CREATE TABLE IF NOT EXISTS quarter_products (
	quarter BIGINT NOT NULL,
	product_id BIGINT NOT NULL REFERENCES products (id),
	quantity BIGINT NOT NULL,
	amount BIGINT NOT NULL,
	PRIMARY KEY (quarter, product_id),
	INDEX quarter_products_product (product_id)
);
CREATE TABLE IF NOT EXISTS versions (
	name {key} NOT NULL,
	slot INTEGER NOT NULL,
	version BIGINT NOT NULL,
	PRIMARY KEY (name, slot)
);
CREATE TABLE IF NOT EXISTS sale_items (
	sale_id BIGINT NOT NULL REFERENCES sales (id),
	line INTEGER NOT NULL,
	product_id BIGINT NOT NULL REFERENCES products (id),
	name VARCHAR(190) NOT NULL,
	quantity BIGINT NOT NULL CHECK (quantity <> 0),
	price BIGINT NOT NULL CHECK (price >= 0),
	PRIMARY KEY (sale_id, line),
	INDEX sale_items_product (product_id)
);
`

// Tables lists the tables, parents first.
var Tables = []string{
	"meta", "leases", "users", "sessions", "audit", "categories", "products", "stock", "customers", "children",
	"cards", "topups", "sales", "request_keys", "quarter_counts", "quarter_products", "versions", "sale_items",
}

// isShop reports whether a database has the tables of a shop. Other programs have some of the same
// names, and not all of these. A shop of an earlier version may lack others.
func isShop(names []string) bool {
	for _, table := range []string{"meta", "leases", "quarter_counts", "sale_items"} {
		if !slices.Contains(names, table) {
			return false
		}
	}
	return true
}

// foreign reports whether the tables of a database belong to something else. A first start that was
// interrupted has made the tables in their order, and no others.
func foreign(names []string) bool {
	made := 0
	for made < len(Tables) && slices.Contains(names, Tables[made]) {
		made++
	}
	return !isShop(names) && made < len(names)
}

// addedColumns are columns that tables of an earlier version lack. A default serves the rows of that
// version, and its servers while they still run.
func addedColumns() []struct{ table, column, definition, index string } {
	return []struct{ table, column, definition, index string }{
		{"request_keys", "fingerprint", "VARCHAR(64) NULL", ""},
		{"request_keys", "expires_at", fmt.Sprint("BIGINT NOT NULL DEFAULT ", micros(time.Now().Add(otherKey))), "request_keys_expiry"},
	}
}

// migrateAttempts is the maximum number of attempts when several servers start at once and
// disturb each other. There is no lock. Each statement creates a missing table, column or index,
// and the next attempt finds those of another server.
const migrateAttempts = 20

// metaDemo is the name of the demo state of a database that a server created: it waits for demo
// data, or it has demo data or must not get any.
const (
	metaDemo  = "demo"
	DemoWaits = "waits"
	DemoDone  = "done"
)

// migrate creates the missing tables, columns and indexes.
func (s *Store) migrate(ctx context.Context, isNew bool) (err error) {
	for attempt := 1; attempt <= migrateAttempts; attempt++ {
		if err = s.createTables(ctx); err == nil {
			break
		}
		if attempt == migrateAttempts || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Duration(attempt) * 20 * time.Millisecond)
	}
	if err := s.foldAgain(ctx); err != nil {
		return err
	}
	return s.inTx(ctx, func(tx *Tx) error {
		if isNew {
			if _, err := tx.insertNew(ctx, "meta (name, value) VALUES (?, ?)", metaDemo, DemoWaits); err != nil {
				return err
			}
		}
		for _, u := range []User{AdminUser, CashierUser} {
			if _, err := tx.insertNew(ctx, "users (username, role, password_hash) VALUES (?, ?, ?)", u.Name, u.Role, noHash); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) createTables(ctx context.Context) error {
	db := s.side
	if s.engine == settings.SQLite {
		db = s.write // SQLite has one writer
	}
	tables, indexes := ddl(s.engine)
	for statement := range strings.SplitSeq(tables, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	for _, c := range addedColumns() {
		if _, err := db.ExecContext(ctx, "SELECT "+c.column+" FROM "+c.table+" WHERE 1 = 0"); err == nil {
			continue
		}
		add := "ALTER TABLE " + c.table + " ADD COLUMN " + c.column + " " + c.definition
		if s.engine == settings.MySQL && c.index != "" {
			add += ", ADD INDEX " + c.index + " (" + c.column + ")"
		}
		if _, err := db.ExecContext(ctx, add); err != nil {
			return err
		}
	}
	for _, statement := range indexes {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// ddl returns the schema in the dialect of an engine. MySQL has indexes inside CREATE TABLE and
// no CREATE INDEX IF NOT EXISTS. The other engines have the reverse.
func ddl(engine settings.Engine) (tables string, indexes []string) {
	switch engine {
	case settings.MySQL:
		return strings.NewReplacer("{id}", "BIGINT PRIMARY KEY AUTO_INCREMENT", "{key}", "VARBINARY(190)",
			"\n);\n", "\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n").Replace(schema), nil
	case settings.Postgres:
		return indexesApart(strings.NewReplacer("{id}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "{key}", "VARCHAR(190)").Replace(schema))
	default:
		return indexesApart(strings.NewReplacer("{id}", "INTEGER PRIMARY KEY", "{key}", "VARCHAR(190)").Replace(schema))
	}
}

func indexesApart(schema string) (withoutIndexes string, indexes []string) {
	var tables strings.Builder
	var table string
	for line := range strings.SplitSeq(schema, "\n") {
		if name, ok := strings.CutPrefix(line, "CREATE TABLE IF NOT EXISTS "); ok {
			table = strings.TrimSuffix(name, " (")
		}
		if on, ok := strings.CutPrefix(line, "\tINDEX "); ok {
			name, columns, _ := strings.Cut(strings.TrimSuffix(on, ","), " ")
			indexes = append(indexes, "CREATE INDEX IF NOT EXISTS "+name+" ON "+table+" "+columns)
			continue
		}
		tables.WriteString(line + "\n")
	}
	return strings.ReplaceAll(tables.String(), ",\n);", "\n);"), indexes
}
