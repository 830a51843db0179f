//go:build unix

package mysql_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// steps is a connector that calls before with the text of each statement. An error of it
// takes the place of the statement.
type steps struct {
	sqldriver.Connector
	mu     sync.Mutex
	before func(statement string) error
}

// stepping returns a pool whose statements are watched.
func stepping(t testing.TB, dsn string) (*sql.DB, *steps) {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	config.InterpolateParams = true
	connector, err := mysql.NewConnector(config)
	require.NoError(t, err)
	s := &steps{Connector: connector}
	db := sql.OpenDB(s)
	t.Cleanup(func() { db.Close() })
	return db, s
}

func (s *steps) watch(before func(statement string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *steps) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := s.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &watched{conn.(everyAbility), s}, nil
}

// everyAbility is what a connection of the driver can do.
type everyAbility interface {
	sqldriver.Conn
	sqldriver.ConnPrepareContext
	sqldriver.ConnBeginTx
	sqldriver.ExecerContext
	sqldriver.QueryerContext
	sqldriver.Pinger
	sqldriver.SessionResetter
	sqldriver.Validator
	sqldriver.NamedValueChecker
}

type watched struct {
	everyAbility
	by *steps
}

func (c *watched) see(statement string) error {
	c.by.mu.Lock()
	defer c.by.mu.Unlock()
	if c.by.before == nil {
		return nil
	}
	return c.by.before(statement)
}

func (c *watched) ExecContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if err := c.see(query); err != nil {
		return nil, err
	}
	return c.everyAbility.ExecContext(ctx, query, args)
}

func (c *watched) QueryContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if err := c.see(query); err != nil {
		return nil, err
	}
	return c.everyAbility.QueryContext(ctx, query, args)
}

// rich has one object of each kind that an exchange handles in a way of its own.
const rich = moved + `
CREATE SEQUENCE numbers; CREATE TABLE counted (id INT DEFAULT NEXTVAL(numbers) PRIMARY KEY, v INT); INSERT INTO counted (v) VALUES (7), (8);
CREATE TABLE parent (id INT PRIMARY KEY); INSERT INTO parent VALUES (1); CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id)); INSERT INTO child VALUES (1, 1);
CREATE VIEW w AS SELECT v.id, f(v.id) AS d FROM v; CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO DELETE FROM counted WHERE v < 0;
CREATE TRIGGER ta AFTER DELETE ON counted FOR EACH ROW INSERT INTO t VALUES (1000 + OLD.id, 'gone');`

// richFunction is needed by a view of rich.
const richFunction = "CREATE FUNCTION f(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n;\n"

func loadRich(t testing.TB, server *testserver.MariaDBServer) {
	t.Helper()
	load(t, server, "shop", richFunction+rich)
	server.Exec(t, "CREATE USER app@'%'; GRANT EXECUTE ON FUNCTION shop.f TO app@'%'; GRANT SELECT ON shop.t TO app@'%'")
}
