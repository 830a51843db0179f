package pagination_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/lib/pq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// columnType is a type with values in SQL. refused types are an error and never a short
// list.
type columnType struct {
	name    string // of the type, or of the case
	ddl     string // default: name
	values  []string
	expr    string // default: t.k
	refused bool
}

var sqliteTypes = []columnType{
	{name: "INTEGER", values: []string{"-5", "0", "9223372036854775807", "-9223372036854775808", "7"}},
	{name: "INT, mixed", ddl: "INT", values: []string{"1", "1.5", "'x'", "'y'", "x'00ff'", "2", "'1a'"}},
	{name: "REAL", values: []string{"0.1", "-0.0", "0", "1e300", "-1e300", "3", "9e999", "-9e999"}},
	{name: "TEXT", values: []string{"''", "'a'", "'B'", "'b'", "'é'", "'a '", "'10'", "'9'"}},
	{name: "TEXT COLLATE NOCASE", values: []string{"'a'", "'A'", "'b'", "'B'", "'c'"}},
	{name: "TEXT COLLATE RTRIM", values: []string{"'a'", "'a '", "'b'", "'b  '"}},
	{name: "BLOB", values: []string{"x''", "x'00'", "x'ff'", "x'00ff'", "1", "'t'"}},
	{name: "NUMERIC", values: []string{"1", "1.25", "'2.50'", "-3", "'abc'", "1e20"}},
	{name: "DECIMAL(12,2)", values: []string{"1.25", "10.5", "2", "100", "9.99"}},
	{name: "BOOLEAN", values: []string{"0", "1", "true", "false"}},
	{name: "DATE", values: []string{"'2026-01-01'", "'2026-02-03'", "'2025-12-31'"}},
	{name: "DATETIME", values: []string{"'2026-01-01 10:00:00'", "'2026-01-01T10:00:00Z'", "'2026-01-01 10:00:00.5'", "'2026-01-01 10:00:00+02:00'"}},
	{name: "TIMESTAMP by default", ddl: "TIMESTAMP", values: []string{"CURRENT_TIMESTAMP", "'2026-01-01 10:00:00'", "'2026-11-28 10:00:00'", "1700000000"}},
	{name: "upper-case UUID", ddl: "TEXT", values: []string{"'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'", "'6ba7b811-9dad-11d1-80b4-00c04fd430c8'", "'FFFFFFFF-0000-0000-0000-000000000000'"}},
	{name: "no type", ddl: "", values: []string{"1", "'1'", "2.5", "'b'", "x'01'"}},
	{name: "sum of decimals", ddl: "DECIMAL(12,2)", expr: "(SELECT SUM(u.k) FROM t u WHERE u.id % 13 = t.id % 13)", values: []string{"0.25", "1.5", "3", "7.75"}},
	{name: "expression of text", ddl: "TEXT", expr: "lower(t.k) || '!'", values: []string{"'A'", "'b'", "'C'"}},
	{name: "mixed storage in a date", ddl: "DATE", values: []string{"'2026-01-01'", "20260101", "2460676.5", "x'32'", "'2026-01-01T00:00:00.000Z'"}},
	{name: "mixed storage in a boolean", ddl: "BOOLEAN", values: []string{"true", "2", "'t'", "0.5"}},
	{name: "time of day", ddl: "TIME", values: []string{"'10:00'", "'09:59:59.999'", "1700000000"}},
	{name: "beyond int64", ddl: "NUMERIC", values: []string{"9223372036854775807", "9223372036854775808", "'9223372036854775808'", "-9223372036854775809", "9007199254740993", "9007199254740992.0"}},
	{name: "BIGINT and REAL", ddl: "BIGINT", values: []string{"9223372036854775807", "9223372036854775806", "9.3e18", "-9.3e18", "0.5"}},
	{name: "text with NUL", ddl: "TEXT", values: []string{"'a' || char(0) || 'b'", "'a'", "'a' || char(0) || 'c'", "char(65533)", "CAST(x'ff' AS TEXT)"}},
	{name: "numbers as text", ddl: "VARCHAR(10)", values: []string{"'10'", "'9'", "'1e1'", "10", "'-0'", "-0.0"}},
	{name: "VARCHAR(10) COLLATE NOCASE", values: []string{"'a'", "'A'", "'É'", "'é'", "'b'"}},
	{name: "DATETIME by strftime", ddl: "DATETIME", values: []string{"strftime('%s', '2026-01-01')", "datetime('2026-01-01')", "julianday('2026-01-02')", "'26.10.2025 02:30'"}},
	{name: "concatenated times", ddl: "TIMESTAMP", expr: "date(t.k) || ' ' || time(t.k)", values: []string{"'2026-01-01 10:00:00'", "'2026-01-01T10:00:00Z'", "'2025-10-26 02:30:00+01:00'"}},
	{name: "JSON", ddl: "TEXT", expr: "json_extract(t.k, '$.a')", values: []string{`'{"a":1}'`, `'{"a":"x"}'`, `'{"a":2.5}'`, `'{"b":1}'`}},
}

var postgresTypes = []columnType{
	{name: "smallint", values: []string{"-5", "0", "32767"}},
	{name: "integer", values: []string{"-5", "0", "2147483647"}},
	{name: "bigint", values: []string{"-9223372036854775808", "9223372036854775807", "5"}},
	{name: "numeric", values: []string{"'NaN'", "1.0", "1.00", "12345678901234567890.123456789", "-1", "'Infinity'"}},
	{name: "numeric(12,2)", values: []string{"1.5", "10.25", "9"}},
	{name: "real", values: []string{"0.1", "0.2", "1e-30", "'NaN'", "'-Infinity'", "16777217"}},
	{name: "double precision", values: []string{"0.1", "'NaN'", "'Infinity'", "-0.0", "0", "1e-300"}},
	{name: "money", values: []string{"1.50", "10", "-3"}},
	{name: "boolean", values: []string{"true", "false"}},
	{name: "text", values: []string{"''", "'a'", "'B'", "'b'", "'é'", "'a '", "'10'", "'9'"}},
	{name: "text C", ddl: `text COLLATE "C"`, values: []string{"'a'", "'B'", "'b'"}},
	{name: "varchar(20)", values: []string{"'a'", "'B'", "'b'"}},
	{name: "char(8)", values: []string{"'a'", "'B'", "'b '"}},
	{name: `"char"`, values: []string{"'a'", "'b'"}},
	{name: "name", values: []string{"'a'", "'b'"}},
	{name: "bytea", values: []string{`'\x00'`, `'\xff00'`, `'\x'`}},
	{name: "date", values: []string{"'2026-01-01'", "'infinity'", "'0044-03-15 BC'"}},
	{name: "timestamp", values: []string{"'2026-01-01 10:00:00.123456'", "'-infinity'", "'1000-01-01'"}},
	{name: "timestamptz", values: []string{"'2026-10-25 00:30:00+00'", "'2026-10-25 01:30:00+00'", "'1800-01-01'", "'infinity'"}},
	{name: "time", values: []string{"'10:00:00.5'", "'24:00:00'"}},
	{name: "timetz", values: []string{"'10:00:00+02'", "'09:00:00+01'", "'08:00:00+00'"}},
	{name: "interval", values: []string{"'1 month'", "'30 days'", "'-1 day'", "'720 hours'"}},
	{name: "uuid", values: []string{"'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'", "'ffffffff-0000-0000-0000-000000000000'"}},
	{name: "inet", values: []string{"'10.0.0.1'", "'10.0.0.0/8'", "'::1'"}},
	{name: "cidr", values: []string{"'10.0.0.0/8'", "'::/0'"}},
	{name: "macaddr", values: []string{"'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"}},
	{name: "bit(4)", values: []string{"B'0101'", "B'1000'"}},
	{name: "bit varying(8)", values: []string{"B'0101'", "B'1'", "B''"}},
	{name: "jsonb", values: []string{`'{"a":1}'`, `'1'`, `'"x"'`, `'null'`}},
	{name: "mood", values: []string{"'sad'", "'ok'", "'happy'"}},
	{name: "int[]", values: []string{"'{1,2}'", "'{}'", "'{1,2,3}'"}},
	{name: "text[]", values: []string{`'{a,"b c"}'`, "'{NULL}'"}},
	{name: "int4range", values: []string{"'[1,5)'", "'empty'", "'(,3)'"}},
	{name: "tsvector", values: []string{"'a b'", "'c'"}},
	{name: "pg_lsn", values: []string{"'0/1'", "'A/0'"}},
	{name: "oid", values: []string{"1", "4294967295"}},
	{name: "pair", values: []string{"(1,'a')", "(1,'b')", "(2,'a')"}},
	{name: "posint", values: []string{"1", "5"}},
	{name: "nocase", ddl: `text COLLATE nocase`, values: []string{"'a'", "'A'", "'b'"}},
	{name: "citext", values: []string{"'a'", "'A'", "'B'", "'ä'"}},
	{name: "hstore", values: []string{"'a=>1'", "'b=>2'", "''"}, refused: true},
	{name: "macaddr8", values: []string{"'08:00:2b:01:02:03:04:05'", "'08:00:2b:01:02:03:04:06'"}},
	{name: "numeric(30,-3)", ddl: "numeric", values: []string{"1e400", "-1e400", "1e-400", "'-Infinity'", "0.10", "0.1"}},
	{name: "timestamptz[]", values: []string{"'{2026-01-01 10:00+00}'", "'{infinity,-infinity}'", "'{}'"}},
	{name: "numeric[]", values: []string{"'{1,NaN}'", "'{1.0,2}'", "'{{1,2},{3,4}}'"}},
	{name: "bytea[]", values: []string{`'{"\\x00"}'`, `'{"\\xff"}'`}},
	{name: "mood[]", values: []string{"'{sad,happy}'", "'{ok}'"}},
	{name: "tstzrange", values: []string{"'[2026-01-01,2026-02-01)'", "'(,)'", "'[2026-01-01,infinity]'", "'empty'"}},
	{name: "numrange", values: []string{"'[1.5,2]'", "'(1.50,2]'"}},
	{name: "int4multirange", values: []string{"'{[1,3),[5,7)}'", "'{}'"}},
	{name: "nested", values: []string{"ROW(ROW(1,'a'),'2026-01-01')", "ROW(ROW(1,'b,\"'),NULL)"}},
	{name: "person", values: []string{"'A'", "'a'", "'B'"}},
	{name: "feeling", values: []string{"'ok'", "'sad'"}, refused: true},
	{name: "an enum of a domain", ddl: "feeling", expr: "t.k::mood", values: []string{"'ok'", "'sad'"}},
	{name: "rows of NULLs", ddl: "pair", values: []string{"ROW(NULL,NULL)", "ROW(1,NULL)", "ROW(NULL,'a')"}},
	{name: "a domain of rows", ddl: "couple", values: []string{"ROW(NULL,NULL)::pair", "ROW(1,NULL)::pair"}},
	{name: "moment", values: []string{"'2026-01-01 10:00'", "'2026-01-01 09:00'"}},
	{name: "char", ddl: `char(4) COLLATE "C"`, values: []string{"'a'", "'a  b'", "'B'", "''"}},
	{name: "bpchar", values: []string{"'a'", "'a '", "'b'"}},
	{name: "text in German", ddl: `text COLLATE german`, values: []string{"'Äpfel'", "'Apfel'", "'apfel'", "'Zug'", "'a-b'", "'ab'"}},
	{name: "accents", ddl: `text COLLATE noaccents`, values: []string{"'é'", "'e'", "'E'", "'f'"}},
	{name: "interval(3)", values: []string{"'178000000 years'", "'-178000000 years'", "'0.001 s'", "'1 mon -30 days'", "'P1Y2M'"}},
	{name: "xid8", values: []string{"'1'", "'18446744073709551615'"}},
	{name: "tsquery", values: []string{"'a & b'", "'c'"}},
	{name: "regtype", values: []string{"'int'", "'text'"}},
	{name: "date far", ddl: "date", values: []string{"'5874897-12-31'", "'4713-01-01 BC'", "'0001-01-01'"}},
	{name: "timestamp far", ddl: "timestamp", values: []string{"'294276-12-31 23:59:59.999999'", "'4713-01-01 BC'", "'0001-01-01 BC'", "'10000-01-01'"}},
	{name: "timestamptz far", ddl: "timestamptz", values: []string{"'294276-01-01'", "'0044-03-15 12:00 BC'", "'1883-11-18 12:00:00.000001'"}},
	{name: "time(6)", values: []string{"'23:59:59.999999'", "'00:00'"}},
	{name: "a sum", ddl: "real", expr: "(t.k * 3)::real", values: []string{"0.1", "0.2", "1e-38"}},
	{name: "a date of text", ddl: "text", expr: "t.k::date", values: []string{"'2026-01-01'", "'0044-03-15 BC'"}},
	{name: "xid", values: []string{"'1'"}, refused: true},
	{name: "row of two", ddl: "int", expr: "ROW(t.k, 1)", values: []string{"1", "2"}, refused: true},
	{name: "json", values: []string{"'1'"}, refused: true},
	{name: "point", values: []string{"'(1,2)'"}, refused: true},
	{name: "xml", values: []string{"'<a/>'"}, refused: true},
}

var mariadbTypes = []columnType{
	{name: "TINYINT", values: []string{"-5", "0", "127"}},
	{name: "BIGINT", values: []string{"-9223372036854775808", "9223372036854775807", "5"}},
	{name: "BIGINT UNSIGNED", values: []string{"0", "18446744073709551615", "9223372036854775808", "5"}},
	{name: "INT ZEROFILL", values: []string{"5", "10"}},
	{name: "DECIMAL(30,10)", values: []string{"12345678901234567890.0000000001", "12345678901234567890.0000000002", "-1.5", "0"}},
	{name: "DECIMAL(65,0)", values: []string{"12345678901234567890123456789012345678901234567890123456789012345", "12345678901234567890123456789012345678901234567890123456789012344", "1"}},
	{name: "FLOAT", values: []string{"0.1", "0.2", "1234567.8", "1234567.9", "1e-30", "16777217"}},
	{name: "DOUBLE", values: []string{"0.1", "0.30000000000000004", "1e300", "-0.0", "0"}},
	{name: "BIT(8)", values: []string{"b'101'", "b'11111111'", "b'0'"}},
	{name: "BIT(64)", values: []string{"b'1111111111111111111111111111111111111111111111111111111111111111'", "b'1'"}},
	{name: "BOOLEAN", values: []string{"0", "1"}},
	{name: "YEAR", values: []string{"2026", "1970", "0"}},
	{name: "DATE", values: []string{"'2026-01-01'", "'1000-01-01'", "'9999-12-31'"}},
	{name: "DATETIME", values: []string{"'2026-10-25 02:30:00'", "'2026-03-29 02:30:00'", "'1000-01-01'"}},
	{name: "DATETIME(6)", values: []string{"'2026-10-25 02:30:00.000001'", "'2026-10-25 02:30:00.000002'"}},
	{name: "zero dates", ddl: "DATETIME", values: []string{"'0000-00-00 00:00:00'", "'2026-00-00'", "'2026-01-01'"}},
	{name: "TIME(3)", values: []string{"'-838:59:59'", "'10:00:00.5'", "'-00:00:01'", "'838:59:59'"}},
	{name: "TIMESTAMP(6)", ddl: "TIMESTAMP(6) NULL", values: []string{"'2026-10-25 00:30:00.5'", "'2026-10-25 01:30:00'"}},
	{name: "CHAR(10)", values: []string{"'a'", "'A'", "'b'", "'é'", "'ä'", "''"}},
	{name: "VARCHAR bin", ddl: "VARCHAR(20) COLLATE utf8mb4_bin", values: []string{"'a'", "'A'", "'b '", "'b'"}},
	{name: "VARCHAR latin1", ddl: "VARCHAR(20) CHARACTER SET latin1", values: []string{"'a'", "'é'", "'z'"}},
	{name: "TEXT", values: []string{"'a'", "'b'", "''"}},
	{name: "BINARY(16)", values: []string{"UNHEX('ff00ff00ff00ff00ff00ff00ff00ff00')", "UNHEX('00112233445566778899aabbccddeeff')", "UNHEX('80')"}},
	{name: "VARBINARY(20)", values: []string{"x'00'", "x'ff'", "x'00ff'", "''", "'a'"}},
	{name: "BLOB", values: []string{"x'00'", "x'ff'", "x'c3'", "'A'", "'a'"}},
	{name: "ENUM", ddl: "ENUM('open','paid','cancelled')", values: []string{"'open'", "'paid'", "'cancelled'"}},
	{name: "SET", ddl: "SET('c','b','a')", values: []string{"'a'", "'b,c'", "''", "'c'"}},
	{name: "UUID", values: []string{"'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'", "'ffffffff-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-0000000000ff'"}},
	{name: "INET6", values: []string{"'::1'", "'10.0.0.1'", "'ffff::'"}},
	{name: "INET4", values: []string{"'10.0.0.1'", "'9.255.0.1'"}},
	{name: "JSON", values: []string{`'{"a":1}'`, `'1'`}},
	{name: "sum of decimals", ddl: "DECIMAL(12,2)", expr: "(SELECT SUM(u.k) FROM t u WHERE u.id % 13 = t.id % 13)", values: []string{"0.25", "1.5"}},
	{name: "TINYINT UNSIGNED", values: []string{"0", "255", "128"}},
	{name: "MEDIUMINT", values: []string{"-8388608", "8388607"}},
	{name: "DECIMAL(65,30)", values: []string{"12345678901234567890123456789012345.123456789012345678901234567890", "12345678901234567890123456789012345.123456789012345678901234567891", "-0.000000000000000000000000000001"}},
	{name: "DECIMAL(5,2) UNSIGNED ZEROFILL", values: []string{"1.5", "999.99", "10"}},
	{name: "FLOAT(7,3)", values: []string{"1234.567", "0.1", "-9999.999"}},
	{name: "DOUBLE(20,5)", values: []string{"0.1", "123456789012345.12345", "-1"}},
	{name: "DOUBLE UNSIGNED", values: []string{"0.1", "1e-300", "2.2250738585072014e-308"}},
	{name: "BIT(1)", values: []string{"b'0'", "b'1'"}},
	{name: "YEAR(4)", values: []string{"0", "1901", "2155"}},
	{name: "TIME(6)", values: []string{"'838:59:58.999999'", "'-00:00:00.000001'", "'24:00:00'"}},
	{name: "DATETIME(3)", values: []string{"'2026-03-29 02:30:00.001'", "'9999-12-31 23:59:59.999'", "'0001-01-01'"}},
	{name: "VARCHAR no pad", ddl: "VARCHAR(20) COLLATE utf8mb4_nopad_bin", values: []string{"'a'", "'a '", "'A'", "'a\t'"}},
	{name: "VARCHAR general", ddl: "VARCHAR(20) COLLATE utf8mb4_general_ci", values: []string{"'a'", "'A '", "'ä'", "'ß'", "'s'", "'ss'"}},
	{name: "VARCHAR unicode", ddl: "VARCHAR(20) COLLATE utf8mb4_unicode_nopad_ci", values: []string{"'ß'", "'ss'", "'a'", "'a '", "'Ä'"}},
	{name: "VARCHAR German", ddl: "VARCHAR(20) COLLATE utf8mb4_german2_ci", values: []string{"'ä'", "'ae'", "'a'", "'z'"}},
	{name: "VARCHAR sjis", ddl: "VARCHAR(20) CHARACTER SET sjis", values: []string{"'ア'", "'イ'", "'a'"}},
	{name: "VARCHAR ucs2", ddl: "VARCHAR(20) CHARACTER SET ucs2", values: []string{"'a'", "'é'", "'ア'"}},
	{name: "CHAR(4) binary", ddl: "CHAR(4) CHARACTER SET binary", values: []string{"'a'", "'b'", "x'00'"}},
	{name: "LONGTEXT", values: []string{"'a'", "'b'", "'A'"}},
	{name: "LONGBLOB", values: []string{"x'00'", "x'0000'", "x'ff'", "''"}},
	{name: "BINARY(3)", values: []string{"'a'", "x'6100'", "'b'", "x'ffffff'"}},
	{name: "ENUM of digits", ddl: "ENUM('3','1','2')", values: []string{"'1'", "'2'", "'3'"}},
	{name: "ENUM with an empty value", ddl: "ENUM('b','','a')", values: []string{"''", "'a'", "'b'"}},
	{name: "SET of many", ddl: "SET('" + manyNames + "')", values: []string{"'m1,m64'", "'m64'", "'m2'", "'m63,m1'"}},
	{name: "BOOLEAN of an expression", ddl: "INT", expr: "(t.k > 3)", values: []string{"1", "5"}},
	{name: "a case", ddl: "ENUM('b','a')", expr: "CASE WHEN t.k = 'a' THEN t.k ELSE 'z' END", values: []string{"'a'", "'b'"}},
	{name: "a sum of floats", ddl: "FLOAT", expr: "t.k * 3", values: []string{"0.1", "0.2", "16777217"}},
	{name: "an ENUM by number", ddl: "ENUM('b','a')", expr: "t.k + 0", values: []string{"'a'", "'b'"}},
	{name: "a date of a time", ddl: "DATETIME", expr: "DATE(t.k)", values: []string{"'2026-10-25 02:30:00'", "'2026-03-29 02:30:00'"}},
	{name: "POINT", values: []string{"POINT(1,2)", "POINT(2,1)"}, refused: true},
}

var manyNames = func() string {
	names := make([]string, 64)
	for i := range names {
		names[i] = fmt.Sprint("m", i+1)
	}
	return strings.Join(names, "','")
}()

type typeRow struct{ ID int64 }

// TestColumnTypes walks a list by a column of each type, both ways, with NULLs, ties and
// mixed directions, and compares with the order of the database.
func TestColumnTypes(t *testing.T) {
	t.Parallel()
	maria := func(params string) func(testing.TB) *sql.DB {
		return func(t testing.TB) *sql.DB {
			server := testserver.MariaDB(t)
			server.CreateDatabase(t, "types")
			return open(t, "mysql", server.DSN("types")+params)
		}
	}
	postgres := func(driver, params string) func(testing.TB) *sql.DB {
		return func(t testing.TB) *sql.DB {
			server := testserver.Postgres(t)
			server.CreateDatabase(t, "types")
			return open(t, driver, server.DSN("types")+params)
		}
	}
	setUp := map[keyset.Dialect][]string{
		keyset.Postgres: {
			"CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')", "CREATE TYPE pair AS (a int, b text)", "CREATE DOMAIN posint AS int CHECK (VALUE > 0)",
			"CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
			"CREATE COLLATION noaccents (provider = icu, locale = 'und-u-ks-level1-kc-true', deterministic = false)",
			"CREATE COLLATION german (provider = icu, locale = 'de-DE-u-co-phonebk')", "CREATE EXTENSION citext", "CREATE EXTENSION hstore",
			"CREATE TYPE nested AS (p pair, d date)", "CREATE DOMAIN person AS citext", "CREATE DOMAIN couple AS pair", "CREATE DOMAIN feeling AS mood", "CREATE DOMAIN moment AS timestamptz(0)",
		},
	}
	for _, e := range []struct {
		name    string
		dialect keyset.Dialect
		open    func(testing.TB) *sql.DB
		types   []columnType
	}{
		{"SQLite", keyset.SQLite, openSQLite, sqliteTypes},
		{"PostgreSQL, pgx", keyset.Postgres, postgres("pgx", ""), postgresTypes},
		{"PostgreSQL, pgx exec mode", keyset.Postgres, postgres("pgx", "&default_query_exec_mode=exec"), postgresTypes},
		{"PostgreSQL, pgx simple protocol", keyset.Postgres, postgres("pgx", "&default_query_exec_mode=simple_protocol"), postgresTypes},
		{"PostgreSQL, pq", keyset.Postgres, postgres("postgres", "&TimeZone=Europe/Berlin"), postgresTypes},
		{"MariaDB", keyset.MySQL, maria("&time_zone=%27%2B00:00%27&sql_mode=%27%27"), mariadbTypes},
		{"MariaDB, text protocol and times", keyset.MySQL, maria("&interpolateParams=true&parseTime=true&loc=Europe%2FBerlin&time_zone=%27%2B00:00%27&sql_mode=%27%27"), mariadbTypes},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && strings.Contains(e.name, ",") {
				t.Skip("another driver or protocol of an engine")
			}
			db := e.open(t)
			db.SetMaxOpenConns(1)
			for _, s := range setUp[e.dialect] {
				_, err := db.Exec(s)
				require.NoError(t, err, s)
			}
			for _, c := range e.types {
				t.Run(c.name, func(t *testing.T) { walkType(t, db, e.dialect, c) })
			}
		})
	}
}

// tables numbers the tables: a driver keeps plans of a table that has gone.
var tables atomic.Int64

func walkType(t *testing.T, db *sql.DB, dialect keyset.Dialect, c columnType) {
	ddl, expr := c.ddl, c.expr
	if ddl == "" && c.name != "no type" {
		ddl = c.name
	}
	if expr == "" {
		expr = "t.k"
	}
	table := fmt.Sprintf("t%d", tables.Add(1))
	expr = strings.ReplaceAll(expr, "FROM t ", "FROM "+table+" ")
	_, err := db.Exec("CREATE TABLE " + table + " (id BIGINT PRIMARY KEY, k " + ddl + ")")
	require.NoError(t, err)
	values := append(slices.Clone(c.values), "NULL")
	var rows []string
	for i := range 40 {
		rows = append(rows, fmt.Sprintf("(%d, %s)", i*7%40+1, values[i%len(values)]))
	}
	_, err = db.Exec("INSERT INTO " + table + " (id, k) VALUES " + strings.Join(rows, ", "))
	require.NoError(t, err)
	for _, nulls := range []keyset.Nulls{keyset.NullsNative, keyset.NullsFirst, keyset.NullsLast} {
		k, err := keyset.New("t", pagination.Preset{Size: 3, MaxSize: 100}, mustCursors(t), []keyset.Column[typeRow]{
			{Name: "k", Expr: expr, Nullable: true, Nulls: nulls},
			{Name: "id", Expr: "t.id", Unique: true},
		}, nil)
		require.NoError(t, err)
		source := keyset.SQLSource[typeRow]{
			DB: db, Dialect: dialect, Base: keyset.Base{Columns: []string{"t.id"}, From: table + " t"},
			Scan: func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID) },
		}
		if nulls != keyset.NullsLast && !c.refused { // the key is read from a column of the list
			source.Base.Columns = append(source.Base.Columns, expr+" AS value")
			source.Scan = func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID, new(any)) }
		}
		if c.refused {
			_, err := k.Verify(t.Context(), source, nil)
			require.Error(t, err)
			_, err = k.Paginate(httptest.NewRequest(http.MethodGet, "/?ordering=k", nil), source)
			require.Error(t, err)
			continue
		}
		orderings := []string{"k,-id", "-k"}
		if nulls == keyset.NullsNative {
			orderings = []string{"k", "-k,id"}
			_, err = k.Verify(t.Context(), source, nil)
			require.NoError(t, err)
		}
		for _, ordering := range orderings {
			order, err := k.Order(ordering)
			require.NoError(t, err)
			want := referenceTypes(t, db, dialect, table, order)
			size := 3 + rand.IntN(9)
			there, back := walkLinks(t, k, source, fmt.Sprintf("/?ordering=%s&page_size=%d", ordering, size), len(want))
			require.Equal(t, want, there, "%s nulls=%d size=%d", ordering, nulls, size)
			require.Equal(t, want, back, "%s nulls=%d size=%d, backwards", ordering, nulls, size)
		}
	}
}

// walkLinks follows the next links, and the previous links from the end.
func walkLinks(t testing.TB, k *keyset.Keyset[typeRow], source keyset.Seeker[typeRow], url string, most int) (there, back []int64) {
	t.Helper()
	read := func(url string) *keyset.Page[typeRow] {
		page, err := k.Paginate(httptest.NewRequest(http.MethodGet, url, nil), source)
		require.NoError(t, err, url)
		return page
	}
	page := read(url)
	for {
		for _, r := range page.Results {
			there = append(there, r.ID)
		}
		require.LessOrEqual(t, len(there), most, "a walk that does not end")
		if page.Next == "" {
			break
		}
		page = read(string(page.Next))
	}
	for {
		for _, r := range slices.Backward(page.Results) {
			back = append(back, r.ID)
		}
		require.LessOrEqual(t, len(back), most)
		if page.Previous == "" {
			break
		}
		page = read(string(page.Previous))
	}
	slices.Reverse(back)
	return there, back
}

func referenceTypes(t testing.TB, db *sql.DB, dialect keyset.Dialect, table string, order keyset.Order) (ids []int64) {
	t.Helper()
	var by []string
	for _, k := range order.Keys() {
		direction := ""
		if k.Desc {
			direction = " DESC"
		}
		if k.Nullable {
			last := k.Nulls == keyset.NullsLast || k.Nulls == keyset.NullsNative && k.Desc != (dialect == keyset.Postgres)
			null := k.Expr + " IS NULL"
			if dialect == keyset.Postgres { // a row with a NULL in it is a value
				null = "num_nonnulls(" + k.Expr + ") = 0"
			}
			by = append(by, "CASE WHEN "+null+" THEN "+map[bool]string{true: "1 ELSE 0", false: "0 ELSE 1"}[last]+" END")
		}
		by = append(by, k.Expr+direction)
	}
	rows, err := db.Query("SELECT t.id FROM " + table + " t ORDER BY " + strings.Join(by, ", "))
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

// A TIMESTAMP in a zone whose clocks go back has one text for two instants.
func TestTimestampZone(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	server.CreateDatabase(t, "zone")
	for zone, ok := range map[string]bool{"%2B02:00": true, "SYSTEM": true} {
		db := open(t, "mysql", server.DSN("zone")+"&time_zone=%27"+zone+"%27")
		_, err := db.Exec("CREATE TABLE IF NOT EXISTS t (id BIGINT PRIMARY KEY, k TIMESTAMP NULL)")
		require.NoError(t, err)
		k, err := keyset.New("t", pagination.Preset{Size: 3}, mustCursors(t), []keyset.Column[typeRow]{
			{Name: "k", Expr: "t.k", Nullable: true}, {Name: "id", Expr: "t.id", Unique: true},
		}, nil)
		require.NoError(t, err)
		var system string
		require.NoError(t, db.QueryRow("SELECT @@system_time_zone").Scan(&system))
		_, err = k.Verify(t.Context(), keyset.SQLSource[typeRow]{
			DB: db, Dialect: keyset.MySQL, Base: keyset.Base{Columns: []string{"t.id"}, From: "t"},
			Scan: func(r keyset.Scanner) (x typeRow, err error) { return x, r.Scan(&x.ID) },
		}, nil)
		if ok = ok && (zone != "SYSTEM" || system == "UTC"); ok {
			require.NoError(t, err, zone)
			continue
		}
		var broken *keyset.WalkError
		require.True(t, errors.As(err, &broken), zone)
		assert.Equal(t, "k", broken.Column)
	}
}
