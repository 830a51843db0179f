package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

const (
	connectTimeout = 5 * time.Second
	callTimeout    = 10 * time.Second // no customer waits longer for one statement
	sideSize       = 4                // of the --db-connections; a backup needs three
)

// openServer opens a MariaDB, MySQL or PostgreSQL database.
func openServer(ctx context.Context, set *settings.Settings, create bool) (*Store, error) {
	d, size := set.Database, max(1, set.DBConnections-sideSize)
	db, dialect, err := dial(d, size)
	if err != nil {
		return nil, err
	}
	side, err := dialSide(d, false)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	st := &Store{engine: d.Engine, dialect: dialect, read: db, write: db, side: side, size: size}
	dialCtx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	if err := st.connected(dialCtx, db, func() error { return db.PingContext(dialCtx) }); err != nil {
		_ = st.Close()
		return nil, settings.Errorf("--database: %s at %s does not let us in: %s", d.Engine, d.URL.Host, serverReason(err))
	}
	names, err := st.tables(ctx)
	made := isShop(names)
	switch {
	case err != nil:
	case create && foreign(names):
		_ = st.Close()
		return nil, settings.Errorf("--database: %s at %s holds the tables of something else (%s); name an empty database", d.Name(), d.URL.Host, names[0])
	case !made && !create:
		_ = st.Close()
		return nil, settings.Errorf("--database: there is no shop in %s at %s: start the server first", d.Engine, d.URL.Host)
	case create:
		err = st.migrate(ctx, !made)
	}
	if err != nil {
		_ = st.Close()
		return nil, settings.Errorf("--database: cannot create the tables on %s at %s: %s", d.Engine, d.URL.Host, serverReason(err))
	}
	return st, nil
}

// dial returns a pool. It does not connect.
func dial(d settings.Database, size int) (db *sql.DB, dialect keyset.Dialect, err error) {
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
		if !d.URL.Query().Has("default_query_exec_mode") {
			// One round trip for each statement, and no prepared statements, because PgBouncer may give
			// each transaction another connection.
			cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
		}
		db, dialect = sql.OpenDB(querycount.Wrap(stdlib.GetConnector(*cfg))), keyset.Postgres
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute)
	return db, dialect, nil
}

// dialSide returns a small pool for long work, such as counting for a backup or making an
// index. That work does not wait for the customers' statements either. With missingOK the pool
// also works on a server without the database.
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
		if db, _, err = dial(d, sideSize); err != nil {
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
	cfg.ClientFoundRows = true // an UPDATE with unchanged values still counts its row
	// One round trip for each statement instead of three. The driver quotes by the rules of the
	// connection.
	cfg.InterpolateParams = true
	cfg.MultiStatements = true      // see batch; no statement contains text from a client
	cfg.Logger = &mysql.NopLogger{} // errors are returned, and callers log them
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

// tables returns the names of the tables in the database, without those of extensions.
func (s *Store) tables(ctx context.Context) (names []string, err error) {
	query := "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name"
	if s.engine == settings.Postgres {
		query = `SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
			AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e') ORDER BY relname`
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, query)
	return names, err
}
