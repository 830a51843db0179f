package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// session is a connection with special settings. It does not return to its pool.
type session struct{ *sql.Conn }

// open returns a session in a database, "" for no database. Its settings do not depend on
// those of the server or of the pool.
func (m *Source) open(ctx context.Context, database string) (session, error) {
	asking, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	conn, err := m.db.Conn(asking)
	if err != nil {
		return session{}, fmt.Errorf("backup: connect to the server: %w", err)
	}
	s := session{conn}
	must := []string{
		"SET NAMES utf8mb4",
		fmt.Sprintf("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES', time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0, "+
			"sql_quote_show_create = 1, sql_select_limit = 18446744073709551615, sql_big_selects = 1, sql_safe_updates = 0, sql_auto_is_null = 0, completion_type = 'NO_CHAIN', autocommit = 1, net_write_timeout = 3600, net_read_timeout = 3600, wait_timeout = 604800, lock_wait_timeout = %d", max(1, int(m.opts.LockWait.Seconds()))),
	}
	if database != "" {
		must = append(must, "USE "+quote(database))
	}
	for _, statement := range must {
		if _, err := conn.ExecContext(asking, statement); err != nil {
			s.end()
			return session{}, fmt.Errorf("backup: prepare a session: %w", err)
		}
	}
	for _, statement := range []string{
		"SET SESSION max_statement_time = 0", "SET SESSION max_execution_time = 0", // for MariaDB and for MySQL
		"SET SESSION idle_transaction_timeout = 0", "SET SESSION idle_readonly_transaction_timeout = 0",
		"SET SESSION system_versioning_insert_history = 1", "SET SESSION check_constraint_checks = 0",
		"SET SESSION innodb_strict_mode = 0", // a table with options of other settings of the server
		"SET SESSION system_versioning_asof = DEFAULT", "SET SESSION transaction_read_only = 0", "SET SESSION tx_read_only = 0",
		// What a server or pool may add to the definition of a table.
		"SET SESSION explicit_defaults_for_timestamp = 1",
		"SET SESSION sql_generate_invisible_primary_key = 0", "SET SESSION enforce_storage_engine = NULL",
	} {
		_, _ = conn.ExecContext(asking, statement) // some servers lack some of these settings
	}
	return s, nil
}

// each passes the rows of a query to do. It asks in a session of its own, so that no setting of
// the pool or of the server cuts or changes the answer.
func (m *Source) each(ctx context.Context, query string, do func([]string), args ...any) error {
	s, err := m.open(ctx, "")
	if err != nil {
		return err
	}
	defer s.end()
	return eachRow(ctx, s, query, do, args...)
}

// texts returns the first column of a query.
func texts(ctx context.Context, q querier, query string) (all []string, err error) {
	err = eachRow(ctx, q, query, func(r []string) { all = append(all, r[0]) })
	return all, err
}

// texts is texts in a session of its own.
func (m *Source) texts(ctx context.Context, query string) (all []string, err error) {
	err = m.each(ctx, query, func(r []string) { all = append(all, r[0]) })
	return all, err
}

// exec runs a statement in a session of its own.
func (m *Source) exec(ctx context.Context, statement string) error {
	s, err := m.open(ctx, "")
	if err != nil {
		return err
	}
	defer s.end()
	return s.exec(ctx, statement)
}

// inventory lists the objects of a database.
func (m *Source) inventory(ctx context.Context, database string) (inventory, error) {
	s, err := m.open(ctx, "")
	if err != nil {
		return inventory{}, err
	}
	defer s.end()
	return takeInventory(ctx, s, database, m.opts.QueryTimeout)
}

// end closes the connection instead of returning it to the pool, because its settings
// differ.
func (s session) end() {
	_ = s.Raw(func(any) error { return sqldriver.ErrBadConn })
	_ = s.Close() // it is closed already
}

func (s session) exec(ctx context.Context, statement string) error {
	_, err := s.ExecContext(ctx, statement)
	return err
}

// drop drops an object of the current database.
func (s session) drop(ctx context.Context, kind, name string) error {
	mode := "NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES"
	if kind == "package" { // a keyword only in this mode
		mode = "ORACLE"
	}
	err := s.exec(ctx, "SET SESSION sql_mode = '"+mode+"'")
	if err == nil {
		err = s.exec(ctx, "DROP "+strings.ToUpper(kind)+" IF EXISTS "+quote(name))
	}
	if err != nil {
		return fmt.Errorf("backup: drop the %s %s: %w", kind, name, err)
	}
	return nil
}

// Error codes with special handling.
const (
	codeNoDatabase  = 1049
	codeExists      = 1007
	codeNoTable     = 1146
	codeLockWait    = 1205
	codeNeedsSuper  = 1227
	codeViewInvalid = 1356
	codeTableDef    = 1412
)

var codeInText = regexp.MustCompile(`^Error (\d{4})\b`)

// errorCode returns the error number of the server for any driver, 0 if there is no number.
func errorCode(err error) int {
	if err == nil {
		return 0
	}
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() == reflect.Struct {
		for _, name := range []string{"Number", "Code"} {
			if f := v.FieldByName(name); f.IsValid() && f.CanUint() {
				return int(f.Uint())
			}
		}
	}
	if found := codeInText.FindStringSubmatch(err.Error()); found != nil {
		n, _ := strconv.Atoi(found[1])
		return n
	}
	switch e := err.(type) { //nolint:errorlint // walks the whole tree
	case interface{ Unwrap() error }:
		return errorCode(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if n := errorCode(one); n != 0 {
				return n
			}
		}
	}
	return 0
}

// connectionLost reports whether the connection to the server ended.
func connectionLost(err error) bool {
	return errors.Is(err, sqldriver.ErrBadConn) || errors.As(err, new(*net.OpError)) || strings.Contains(err.Error(), "invalid connection")
}

// transient marks errors that may not occur in a second attempt.
func transient(err error) error {
	switch errorCode(err) {
	case 1053, 1146, 1412, 1927, 2002, 2003, 2006, 2013:
		return driver.Transient(err)
	}
	if connectionLost(err) {
		return driver.Transient(err)
	}
	return err
}

// eachRow calls do with each row of a query. A NULL becomes an empty text.
func eachRow(ctx context.Context, q querier, query string, do func([]string), args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = v.String
		}
		do(row)
	}
	return rows.Err()
}

// querier is implemented by *sql.DB and *sql.Conn.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
