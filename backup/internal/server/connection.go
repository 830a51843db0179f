package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
)

// DropIdle closes the idle connections of a pool, which are of no use once their
// database is another, and leaves it with the number that database/sql begins with.
func DropIdle(db *sql.DB) {
	db.SetMaxIdleConns(0)
	db.SetMaxIdleConns(2)
}

// Connector connects a driver that has no connectors of its own.
type Connector struct {
	DSN string
	By  driver.Driver
}

// Connect implements driver.Connector.
func (c Connector) Connect(context.Context) (driver.Conn, error) { return c.By.Open(c.DSN) }

// Driver implements driver.Connector.
func (c Connector) Driver() driver.Driver { return c.By }

// ContextWriter fails once its context has ended.
type ContextWriter struct {
	Ctx context.Context
	To  io.Writer
}

func (w ContextWriter) Write(p []byte) (int, error) {
	if err := w.Ctx.Err(); err != nil {
		return 0, err
	}
	return w.To.Write(p)
}
