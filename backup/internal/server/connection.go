package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
)

// DropIdle closes the idle connections of a pool, because they belong to a replaced
// database. It resets the number of idle connections to the default of database/sql.
func DropIdle(db *sql.DB) {
	db.SetMaxIdleConns(0)
	db.SetMaxIdleConns(2)
}

// Connector connects a driver that has no connectors.
type Connector struct {
	DSN string
	By  driver.Driver
}

// Connect implements driver.Connector.
func (c Connector) Connect(context.Context) (driver.Conn, error) { return c.By.Open(c.DSN) }

// Driver implements driver.Connector.
func (c Connector) Driver() driver.Driver { return c.By }

// ContextWriter fails after its context has ended.
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
