package dbreport

import (
	"context"
	"database/sql"
	"reflect"
	"slices"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// flawed is a schema with these indexes: none for a reference, one for a reference in another
// order of columns, one that is the beginning of another, and one that exists twice.
var flawed = []string{
	"CREATE TABLE parents (a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))",
	"CREATE TABLE rooms (id INTEGER NOT NULL PRIMARY KEY)",
	`CREATE TABLE children (id INTEGER NOT NULL PRIMARY KEY, pa INTEGER, pb INTEGER, room INTEGER, name VARCHAR(50),
		CONSTRAINT of_parent FOREIGN KEY (pa, pb) REFERENCES parents (a, b), CONSTRAINT in_room FOREIGN KEY (room) REFERENCES rooms (id))`,
	"CREATE INDEX by_parent ON children (pb, pa)",
	"CREATE INDEX by_name ON children (name)",
	"CREATE INDEX by_name_too ON children (name)",
	"CREATE INDEX by_name_room ON children (name, pb)",
	"CREATE UNIQUE INDEX one_name ON children (name, id)",
	"INSERT INTO rooms (id) VALUES (1), (2), (3)",
	"INSERT INTO children (id, room, name) VALUES (1, 1, 'x'), (2, 1, NULL)",
}

func report(t *testing.T, driver, dsn string, engine settings.Engine, rooms int64, more ...string) *Report {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1) // one database in memory, and one set of counters
	t.Cleanup(func() { _ = db.Close() })
	for _, statement := range append(slices.Clone(flawed), more...) {
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	r, err := Read(context.Background(), db, engine)
	if err != nil {
		t.Fatal(err)
	}
	if r.Version == "" || r.Bytes <= 0 {
		t.Errorf("version %q, %d bytes", r.Version, r.Bytes)
	}
	rows := map[string]int64{}
	for _, table := range r.Tables {
		rows[table.Name] = table.Rows
		if table.Bytes <= 0 || len(table.Indexes) == 0 || !slices.ContainsFunc(table.Indexes, func(x Index) bool { return x.Primary }) {
			t.Errorf("table %+v", table)
		}
	}
	if want := map[string]int64{"parents": 0, "rooms": rooms, "children": 2}; !reflect.DeepEqual(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
	doubled := map[string]bool{}
	for _, d := range r.Doubled {
		doubled[d.Index] = true
	}
	if want := map[string]bool{"by_name": true, "by_name_too": true}; !reflect.DeepEqual(doubled, want) {
		t.Errorf("doubled %v, want %v", r.Doubled, want)
	}
	return r
}

func (r *Report) unindexed() (columns []string) {
	for _, fk := range r.Unindexed {
		columns = append(columns, fk.Columns...)
	}
	return columns
}

func TestSQLite(t *testing.T) {
	r := report(t, "sqlite", ":memory:", settings.SQLite, 3)
	if got := r.unindexed(); !slices.Equal(got, []string{"room"}) {
		t.Errorf("without an index: %v", got)
	}
	if r.Unused != nil {
		t.Errorf("SQLite counts no use, and these are said to have none: %v", r.Unused)
	}
}

func TestPostgres(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "flawed")
	r := report(t, "pgx", server.DSN("flawed"), settings.Postgres, 3, "CREATE INDEX some_names ON children (name, room) WHERE room > 1")
	if got := r.unindexed(); !slices.Equal(got, []string{"room"}) {
		t.Errorf("without an index: %v", got)
	}
	// No query used these indexes. by_parent serves a reference, and the unique ones a rule.
	want := []string{"by_name", "by_name_room", "by_name_too", "some_names"}
	if got := names(r.Unused); !slices.Equal(got, want) {
		t.Errorf("unused %v, want %v", got, want)
	}
}

func TestMariaDB(t *testing.T) {
	server := testserver.MariaDB(t)
	server.CreateDatabase(t, "flawed")
	dsn := server.User() + ":" + server.Password() + "@tcp(" + server.Addr() + ")/flawed"
	r := report(t, "mysql", dsn, settings.MySQL, 3)
	// The server makes an index for each reference without one.
	if got := r.unindexed(); len(got) != 0 {
		t.Errorf("without an index: %v", got)
	}
	if r.Unused != nil {
		t.Errorf("the use is not counted, and these are said to have none: %v", r.Unused)
	}
	// With userstat on, the report can separate used from unused indexes.
	server.CreateDatabase(t, "counted")
	dsn = server.User() + ":" + server.Password() + "@tcp(" + server.Addr() + ")/counted"
	r = report(t, "mysql", dsn, settings.MySQL, 4, "SET GLOBAL userstat = 1", "INSERT INTO rooms SELECT count(*) + 10 FROM children FORCE INDEX (by_name_too) WHERE name = 'x'")
	if got, want := names(r.Unused), []string{"by_name", "by_name_room"}; !slices.Equal(got, want) {
		t.Errorf("unused %v, want %v", got, want)
	}
}

func names(list []IndexName) (names []string) {
	for _, x := range list {
		names = append(names, x.Index)
	}
	slices.Sort(names)
	return names
}
