package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestAway classifies the errors of the engines. A temporary error is a refusal, and a wrong
// statement or value is not.
func TestAway(t *testing.T) {
	my := func(number uint16, state string) error {
		e := &mysql.MySQLError{Number: number}
		copy(e.SQLState[:], state)
		return e
	}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"MySQL too many connections": {my(1040, "08004"), true},
		"MySQL connections of user":  {my(1203, "42000"), true},
		"MySQL resources of user":    {my(1226, "42000"), true},
		"MySQL access denied":        {my(1045, "28000"), true},
		"MySQL lost right":           {my(1142, "42000"), true},
		"MySQL database is gone":     {my(1049, "42000"), true},
		"MySQL shutdown":             {my(1053, "08S01"), true},
		"MySQL killed":               {my(1927, "70100"), true},
		"MySQL disk full":            {my(1021, "HY000"), true},
		"MySQL table full":           {my(1114, "HY000"), true},
		"MySQL lock wait":            {my(1205, "HY000"), true},
		"MySQL deadlock":             {my(1213, "40001"), true},
		"MySQL read-only option":     {my(1290, "HY000"), true},
		"MySQL read-only server":     {my(1836, "HY000"), true},
		"MySQL read-only change":     {my(1792, "25006"), true},
		"MySQL statement time":       {my(1969, "70100"), true},
		"MySQL Galera":               {my(1047, "08S01"), true},
		"MySQL server has gone":      {my(2006, "HY000"), true},
		"MySQL syntax":               {my(1064, "42000"), false},
		"MySQL no column":            {my(1054, "42S22"), false},
		"MySQL foreign key":          {my(1452, "23000"), false},
		"MySQL too long":             {my(1406, "22001"), false},

		"read-only standby":       {&pgconn.PgError{Code: "25006"}, true},
		"idle in transaction":     {&pgconn.PgError{Code: "25P03"}, true},
		"transaction timeout":     {&pgconn.PgError{Code: "25P04"}, true},
		"too many connections":    {&pgconn.PgError{Code: "53300"}, true},
		"disk full":               {&pgconn.PgError{Code: "53100"}, true},
		"out of memory":           {&pgconn.PgError{Code: "53200"}, true},
		"admin shutdown":          {&pgconn.PgError{Code: "57P01"}, true},
		"crash shutdown":          {&pgconn.PgError{Code: "57P02"}, true},
		"starting up":             {&pgconn.PgError{Code: "57P03"}, true},
		"database dropped":        {&pgconn.PgError{Code: "57P04"}, true},
		"statement timeout":       {&pgconn.PgError{Code: "57014"}, true},
		"lock timeout":            {&pgconn.PgError{Code: "55P03"}, true},
		"connection failure":      {&pgconn.PgError{Code: "08006"}, true},
		"protocol violation":      {&pgconn.PgError{Code: "08P01"}, true},
		"serialization":           {&pgconn.PgError{Code: "40001"}, true},
		"deadlock":                {&pgconn.PgError{Code: "40P01"}, true},
		"io error":                {&pgconn.PgError{Code: "58030"}, true},
		"prepared statement gone": {&pgconn.PgError{Code: "26000"}, true},
		"no database":             {&pgconn.PgError{Code: "3D000"}, true},
		"password":                {&pgconn.PgError{Code: "28P01"}, true},
		"right":                   {&pgconn.PgError{Code: "42501"}, true},
		"no table":                {&pgconn.PgError{Code: "42P01"}, false},
		"overflow":                {&pgconn.PgError{Code: "22003"}, false},
		"check":                   {&pgconn.PgError{Code: "23514"}, false},

		"bad connection":   {driver.ErrBadConn, true},
		"invalid":          {mysql.ErrInvalidConn, true},
		"connection done":  {sql.ErrConnDone, true},
		"transaction done": {sql.ErrTxDone, true},
		"refused":          {&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		"cut":              {io.ErrUnexpectedEOF, true},
		"no time left":     {context.DeadlineExceeded, true},
		"our own":          {errors.New("a bug"), false},
		"conflict":         {Conflict{Detail: "stock"}, false},
	} {
		if got := Away(fmt.Errorf("wrapped: %w", test.err)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
