package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
)

// Conn returns a connection of a pool that answers. A restart of the server has ended those that
// were idle, and not each driver notices that before a statement fails. Conn closes them.
func Conn(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	for idle := db.Stats().Idle; ; idle-- {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		if err = conn.PingContext(ctx); err == nil {
			return conn, nil
		}
		Discard(conn)
		if idle <= 0 || ctx.Err() != nil {
			return nil, err
		}
	}
}

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
