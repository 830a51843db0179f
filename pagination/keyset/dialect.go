package keyset

// Dialect is the database that a statement is written for. It decides the form of the
// condition behind a position. One form may take a tenth of a millisecond on one database
// and make another database read half of the table.
type Dialect uint8

// The dialects.
const (
	// Generic is any other database with "?" and LIMIT. It is correct on all such databases
	// and fast on most. Nullable keys need an explicit place of their NULLs.
	Generic Dialect = iota
	// Postgres is PostgreSQL 12 or newer, and databases with the same dialect.
	Postgres
	// MySQL is MariaDB 10.2 or MySQL 8, or newer.
	MySQL
	// SQLite is SQLite 3.30 or newer.
	SQLite
	// SQLServer is Microsoft SQL Server 2012 or newer, with parameters @p1, @p2, ….
	SQLServer
	// Oracle is Oracle Database 12c or newer, with parameters :1, :2, ….
	Oracle
)

// String names the database.
func (d Dialect) String() string {
	return [...]string{"generic SQL", "PostgreSQL", "MySQL", "SQLite", "SQL Server", "Oracle"}[d%6]
}

// prefix is the placeholder of a dialect that numbers its parameters, "" otherwise.
func (d Dialect) prefix() string {
	return [...]string{"", "$", "", "?", "@p", ":"}[d%6]
}

// nullsHigh reports whether the indexes have NULLs above every value.
func (d Dialect) nullsHigh() bool { return d == Postgres || d == Oracle }

// nullsClause reports whether the dialect knows NULLS FIRST and NULLS LAST.
func (d Dialect) nullsClause() bool { return d == Postgres || d == SQLite || d == Oracle }
