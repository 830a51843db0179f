package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

const (
	connectTimeout = 5 * time.Second
	callTimeout    = 10 * time.Second // no customer waits longer for one statement
	poolSize       = 20
	sideSize       = 4
)

// openServer opens a MariaDB, MySQL or PostgreSQL database.
func openServer(ctx context.Context, d settings.Database) (*Store, error) {
	db, dialect, err := dial(d)
	if err != nil {
		return nil, err
	}
	side, err := dialSide(d, false)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	st := &Store{engine: d.Engine, dialect: dialect, read: db, write: db, side: side}
	dialCtx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	if err := db.PingContext(dialCtx); err != nil {
		_ = st.Close()
		return nil, settings.Errorf("--database: %s at %s does not let us in: %s", d.Engine, d.URL.Host, serverReason(err))
	}
	if err := st.migrate(ctx); err != nil {
		_ = st.Close()
		return nil, settings.Errorf("--database: cannot create the tables on %s at %s: %s", d.Engine, d.URL.Host, serverReason(err))
	}
	return st, nil
}

// dial returns a pool, without connecting.
func dial(d settings.Database) (db *sql.DB, dialect keyset.Dialect, err error) {
	if d.Engine == settings.MySQL {
		cfg, err := mysqlConfig(d)
		if err != nil {
			return nil, 0, err
		}
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			return nil, 0, settings.Errorf("--database: %s", reason(err))
		}
		db, dialect = sql.OpenDB(querycount.Wrap(connector)), keyset.MySQL
	} else {
		cfg, err := pgx.ParseConfig(d.URL.String())
		if err != nil {
			return nil, 0, settings.Errorf("--database: want postgres://user:pw@host/db?sslmode=…")
		}
		cfg.ConnectTimeout = connectTimeout
		db, dialect = sql.OpenDB(querycount.Wrap(stdlib.GetConnector(*cfg))), keyset.Postgres
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute)
	return db, dialect, nil
}

// dialSide returns a small pool for what may take longer than a customer waits, and must
// not wait for customers either: counting for a backup, making an index. With missingOK it
// is also for a server whose database is gone.
func dialSide(d settings.Database, missingOK bool) (*sql.DB, error) {
	var db *sql.DB
	if d.Engine == settings.MySQL {
		cfg, err := mysqlConfig(d)
		if err != nil {
			return nil, err
		}
		cfg.ReadTimeout, cfg.WriteTimeout = 0, 0
		if missingOK {
			cfg.DBName = ""
		}
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			return nil, settings.Errorf("--database: %s", reason(err))
		}
		db = sql.OpenDB(connector)
	} else {
		var err error
		if db, _, err = dial(d); err != nil {
			return nil, err
		}
	}
	db.SetMaxOpenConns(sideSize)
	db.SetMaxIdleConns(1)
	return db, nil
}

func mysqlConfig(d settings.Database) (*mysql.Config, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(d.URL.Hostname(), d.Port())
	cfg.User, cfg.Passwd, cfg.DBName = d.URL.User.Username(), d.Password(), d.Name()
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = connectTimeout, callTimeout, callTimeout
	cfg.ClientFoundRows = true // an UPDATE that changes nothing has found its row all the same
	// One round trip a statement instead of three; the driver quotes by the
	// connection's own rules.
	cfg.InterpolateParams = true
	cfg.Logger = &mysql.NopLogger{} // what fails is returned, and logged by who asked
	switch d.TLS() {
	case settings.TLSUnverified:
		cfg.TLSConfig = settings.TLSUnverified
	case settings.TLSVerified:
		roots, err := d.TLSRoots()
		if err != nil {
			return nil, settings.Errorf("--database: %s", reason(err))
		}
		cfg.TLS = &tls.Config{RootCAs: roots, ServerName: d.URL.Hostname(), MinVersion: tls.VersionTLS12}
	}
	return cfg, nil
}

// serverReason is one line that names the cause and no password.
func serverReason(err error) string {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var op *net.OpError
	switch {
	case errors.As(err, &pg):
		return pg.Message
	case errors.As(err, &my):
		return my.Message
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// Away reports that the database could not be reached or broke off. Whether a change was
// made then is not known.
func Away(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "57P") // connection, shutdown
	}
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(*pgconn.ConnectError)) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.ErrUnexpectedEOF)
}

// transient reports that the database gave up a transaction to resolve a deadlock or a
// conflict, and that trying again is the remedy.
func transient(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg):
		return pg.Code == "40001" || pg.Code == "40P01"
	case errors.As(err, &my):
		return my.Number == 1213 || my.Number == 1205 || my.Number == 1020
	}
	return sqliteBusy(err)
}
