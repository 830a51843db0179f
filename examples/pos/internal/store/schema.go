package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// schema is written once for all engines; {id} is an automatic primary key. Instants are
// microseconds since 1970 and money is in the smallest unit: integers mean the same
// everywhere. The CHECKs are the last line of defence behind the conditional updates.
// sale_items comes last, so that a database that has it has everything.
const schema = `
CREATE TABLE IF NOT EXISTS meta (
	name {key} NOT NULL PRIMARY KEY,
	value VARCHAR(1024) NOT NULL
);
CREATE TABLE IF NOT EXISTS users (
	username {key} NOT NULL PRIMARY KEY,
	role VARCHAR(16) NOT NULL,
	password_hash VARCHAR(255) NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (
	token_hash {key} NOT NULL PRIMARY KEY,
	username {key} NOT NULL REFERENCES users (username),
	expires_at BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS categories (
	id {id},
	name VARCHAR(100) NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS products (
	id {id},
	sku {key} NOT NULL UNIQUE,
	name VARCHAR(190) NOT NULL,
	price BIGINT NOT NULL CHECK (price >= 0),
	category_id BIGINT NOT NULL REFERENCES categories (id)
);
CREATE TABLE IF NOT EXISTS stock (
	product_id BIGINT NOT NULL PRIMARY KEY REFERENCES products (id),
	quantity BIGINT NOT NULL CHECK (quantity >= 0)
);
CREATE TABLE IF NOT EXISTS customers (
	id {id},
	name VARCHAR(190) NOT NULL
);
CREATE TABLE IF NOT EXISTS children (
	id {id},
	customer_id BIGINT NOT NULL REFERENCES customers (id),
	name VARCHAR(190) NOT NULL
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
	amount BIGINT NOT NULL CHECK (amount > 0),
	cashier {key} NOT NULL REFERENCES users (username)
);
CREATE TABLE IF NOT EXISTS sales (
	id {id},
	created_at BIGINT NOT NULL,
	total BIGINT NOT NULL CHECK (total >= 0),
	card_number {key} NULL REFERENCES cards (number),
	cashier {key} NOT NULL REFERENCES users (username)
);
CREATE TABLE IF NOT EXISTS idempotency (
	username {key} NOT NULL REFERENCES users (username),
	request_key {key} NOT NULL,
	fingerprint VARCHAR(64) NOT NULL,
	status INTEGER NOT NULL,
	response {blob} NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (username, request_key)
);
CREATE TABLE IF NOT EXISTS sale_items (
	sale_id BIGINT NOT NULL REFERENCES sales (id),
	line INTEGER NOT NULL,
	product_id BIGINT NOT NULL REFERENCES products (id),
	name VARCHAR(190) NOT NULL,
	quantity BIGINT NOT NULL CHECK (quantity > 0),
	price BIGINT NOT NULL CHECK (price >= 0),
	PRIMARY KEY (sale_id, line)
);
`

// indexes serve the orders that lists can have, and every foreign key.
var indexes = []struct{ name, on string }{
	{"sessions_username", "sessions (username)"},
	{"sessions_expiry", "sessions (expires_at)"},
	{"products_category", "products (category_id, id)"},
	{"products_name", "products (name, id)"},
	{"products_price", "products (price, id)"},
	{"stock_quantity", "stock (quantity, product_id)"},
	{"customers_name", "customers (name, id)"},
	{"children_customer", "children (customer_id, id)"},
	{"topups_card", "topups (card_number)"},
	{"topups_cashier", "topups (cashier)"},
	{"topups_time", "topups (created_at)"},
	{"sales_time", "sales (created_at, id)"},
	{"sales_total", "sales (total, id)"},
	{"sales_card", "sales (card_number)"},
	{"sales_cashier", "sales (cashier)"},
	{"idempotency_time", "idempotency (created_at)"},
	{"sale_items_product", "sale_items (product_id)"},
}

// Tables lists the tables, parents first.
var Tables = []string{
	"meta", "users", "sessions", "categories", "products", "stock", "customers", "children",
	"cards", "topups", "sales", "idempotency", "sale_items",
}

// migrate creates what is missing. On a server that several processes start on at once,
// a lock lets one of them do it.
func (s *Store) migrate(ctx context.Context) error {
	if err := s.createTables(ctx); err != nil {
		return err
	}
	return s.inTx(ctx, func(tx *Tx) error {
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
		db = s.write // nobody else writes
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	unlock, err := s.lockSchema(ctx, conn)
	if err != nil {
		return err
	}
	defer unlock()
	for statement := range strings.SplitSeq(s.ddl(), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) ddl() string {
	// Names of users, keys and numbers compare by their bytes on every engine.
	words := strings.NewReplacer("{id}", "INTEGER PRIMARY KEY", "{key}", "VARCHAR(190)", "{blob}", "BLOB")
	switch s.engine {
	case settings.MySQL:
		words = strings.NewReplacer("{id}", "BIGINT PRIMARY KEY AUTO_INCREMENT", "{blob}", "LONGBLOB", "\n);\n", "\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n",
			"{key}", "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	case settings.Postgres:
		words = strings.NewReplacer("{id}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "{key}", "VARCHAR(190)", "{blob}", "BYTEA")
	}
	ddl := words.Replace(schema)
	for _, x := range indexes {
		ddl += fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s;\n", x.name, x.on)
	}
	return ddl
}

// lockSchema holds one lock per database server while tables are made or filled.
func (s *Store) lockSchema(ctx context.Context, conn *sql.Conn) (unlock func(), err error) {
	var lock, release string
	switch s.engine {
	case settings.MySQL:
		lock, release = "SELECT GET_LOCK(CONCAT(DATABASE(), '.pos'), 60)", "SELECT RELEASE_LOCK(CONCAT(DATABASE(), '.pos'))"
	case settings.Postgres:
		lock, release = "SELECT pg_advisory_lock(7067351)", "SELECT pg_advisory_unlock(7067351)"
	default:
		return func() {}, nil // one process has the folder
	}
	if _, err := conn.ExecContext(ctx, lock); err != nil {
		return nil, err
	}
	return func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), release) }, nil
}
