//go:build engines

package backup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lexed reads a dump in pieces of a size, 0 for all at once.
func lexed(text string, size int) (mysqlDump, error) {
	l := newMySQLLexer()
	for rest := []byte(text); len(rest) > 0; {
		n := len(rest)
		if size > 0 {
			n = min(n, size)
		}
		l.Write(rest[:n])
		rest = rest[n:]
	}
	return l.finish()
}

// trapDump is what mariadb-dump 10.11 wrote of a database made of traps, with a view
// as older programs stand in for it.
func trapDump(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/traps.sql")
	require.NoError(t, err)
	return string(data)
}

func TestMySQLLexerOnTraps(t *testing.T) {
	text := trapDump(t)
	from := strings.Index(text, "CREATE TABLE `customers`")
	longest := strings.Index(text[from:], "\n/*!40101")
	for _, size := range []int{0, 1, 2, 3, 7, 64, 1000} {
		d, err := lexed(text, size)
		require.NoError(t, err, size)
		c := d.contents()
		assert.Equal(t, []Table{
			{"customers", 3}, {"empty_one", 0}, {"hist", 1}, {"isam", 1}, {"we`ird; name", 2},
		}, c.Tables)
		assert.EqualValues(t, []int64{2, 2, 5, 1}, []int64{c.Views, c.Triggers, c.Routines, c.Events})
		assert.Equal(t, map[string]struct{}{
			"view rich": {}, "view old": {}, "trigger stamp": {}, "trigger stamp2": {}, "function f": {}, "procedure pr": {},
			"procedure pr2": {}, "package pk": {}, "package-body pk": {}, "event ev": {}, "sequence sq": {},
		}, d.objects)
		assert.Equal(t, map[string]struct{}{"root@127.0.0.1": {}}, d.definers)
		assert.Equal(t, []string{"stamp2"}, d.bound)
		assert.Equal(t, "10.11.19-MariaDB-0+deb12u1", d.server)
		assert.Contains(t, d.client, "Distrib 10.11.19-MariaDB")
		assert.EqualValues(t, longest, d.longest)
	}
}

// Nothing but a whole dump passes, wherever it is cut.
func TestMySQLLexerNoticesEveryCut(t *testing.T) {
	text := trapDump(t)
	whole := strings.LastIndex(text, "-- Dump completed") + len("-- Dump completed")
	for n := 0; n < len(text); n++ {
		if n < len(text)-1500 {
			n += 30
		}
		if _, err := lexed(text[:n], 0); (err == nil) != (n >= whole) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(text), err)
		}
	}
	_, err := lexed(text+"DROP TABLE customers;\n", 0)
	assert.Error(t, err, "something follows the last line")
	_, err = lexed(text+text, 0)
	assert.NoError(t, err)
}

func TestMySQLLexerStatements(t *testing.T) {
	const end = "\n-- Dump completed\n"
	for _, c := range []struct {
		text string
		rows int64
		err  string
	}{
		{text: "INSERT INTO `t` VALUES (1),(2);", rows: 2},
		{text: "insert into t values(1),\n(2)\n;", rows: 2},
		{text: "INSERT INTO `t` (`a`, `values`) VALUES (1,2);", rows: 1},
		{text: "INSERT IGNORE INTO `db`.`t` VALUES (1,2);", rows: 1},
		{text: "REPLACE INTO `t` VALUES ('a'';),(','\"`--'),(_binary '\\'),(\\\\'),(-1,NULL,0xFF,1e-5);", rows: 3},
		{text: "INSERT INTO `t` (" + strings.Repeat("`column`, ", 2000) + "`last`) VALUES (1),(2),(3);", rows: 3},
		{text: "INSERT INTO t SELECT (1);"},
		{text: "SELECT 'INSERT INTO t VALUES (1)';"},
		{text: "-- INSERT INTO t VALUES (1);\n#INSERT INTO t VALUES (1);\n/* INSERT INTO t VALUES (1); */"},
		{text: "CREATE TABLE t (a int); INSERT INTO t VALUES (1,'\\\\');", rows: 1},
		{text: "DELIMITER ;;\nINSERT INTO t VALUES (1);;\nSELECT ';' ; SELECT 2;;\nDELIMITER ;\nINSERT INTO t VALUES (1);", rows: 2},
		{text: "INSERT INTO t VALUES (1));", err: "not opened"},
		{text: "INSERT INTO t VALUES (1;", err: "within a row"},
		{text: "INSERT INTO t VALUES (1", err: "within a statement"},
		{text: "INSERT INTO t VALUES ('1", err: "within a statement"},
		{text: "SELECT 1", err: "within a statement"},
		{text: "/* open", err: "within a statement"},
		{text: "/*!50001 SELECT 1;", err: "within a statement"},
		{text: "DELIMITER $x\n", err: "delimiter"},
		{text: "DELIMITER \n", err: "delimiter"},
		{text: "USE mysql;", err: "another database"},
		{text: "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `x`;", err: "creates a database"},
	} {
		d, err := lexed(c.text+end, 0)
		if c.err != "" {
			assert.ErrorContains(t, err, c.err, c.text)
			continue
		}
		require.NoError(t, err, c.text)
		assert.Equal(t, c.rows, d.contents().Rows(), "%.60s", c.text)
	}
}

// slowRows counts rows as the fast path does, a byte at a time.
func slowRows(values string) (rows int64) {
	depth, quote := 0, byte(0)
	for i := 0; i < len(values); i++ {
		c := values[i]
		switch {
		case quote != 0:
			switch c {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case c == '\'':
			quote = c
		case c == '(':
			if depth++; depth == 1 {
				rows++
			}
		case c == ')':
			depth--
		}
	}
	return rows
}

// Random values, in pieces of random size, against counting a byte at a time.
func TestMySQLLexerCountsRandomRows(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", `\\`, `\'`, `''`, "),(", ";", "\n", "-- ", "/*", "*/", `"`, "`", "é", `\n`, "--\n", "INSERT INTO `t` VALUES ("}
	for range 2000 {
		var b strings.Builder
		want := int64(0)
		for range 1 + random.IntN(5) {
			b.WriteString("INSERT INTO `t` VALUES ")
			values := ""
			for row := range 1 + random.IntN(5) {
				if row > 0 {
					values += ","
				}
				values += "(" + fmt.Sprint(random.IntN(100)-50) + ",'"
				for range random.IntN(6) {
					values += pieces[random.IntN(len(pieces))]
				}
				values += "',NULL)"
				want++
			}
			require.Equal(t, strings.Count(values, "',NULL)"), int(slowRows(values)))
			b.WriteString(values + ";\n")
		}
		d, err := lexed(b.String()+"-- Dump completed\n", 1+random.IntN(40))
		require.NoError(t, err, b.String())
		require.Equal(t, want, d.contents().Rows(), b.String())
	}
}

// A dump means the same whatever the pieces it arrives in, and no input stops the
// lexer or makes it keep more than it has seen.
func FuzzLexer(f *testing.F) {
	f.Add([]byte("INSERT INTO `t` VALUES (1,'a\\'),('),(2,0xFF);\n-- Dump completed\n"), 3)
	f.Add([]byte("DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER x ON db.t ;*/;;\nDELIMITER ;\n"), 1)
	f.Add([]byte("/*M!999999\\- sandbox */ SET sql_mode='NO_BACKSLASH_ESCAPES'; SELECT '\\';# x\n--\n-- Dump completed"), 2)
	if data, err := os.ReadFile("testdata/traps.sql"); err == nil {
		f.Add(data, 5)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		whole, wholeErr := lexed(string(data), 0)
		parts, partsErr := lexed(string(data), 1+abs(size)%50)
		if (wholeErr == nil) != (partsErr == nil) {
			t.Fatalf("at once %v, in pieces %v", wholeErr, partsErr)
		}
		if wholeErr == nil {
			assert.Equal(t, whole, parts)
			if rows := whole.contents().Rows(); rows > int64(bytes.Count(data, []byte("("))) {
				t.Fatalf("%d rows", rows)
			}
		}
		if whole.longest > int64(len(data)) {
			t.Fatalf("a statement of %d bytes", whole.longest)
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

func BenchmarkMySQLLexer(b *testing.B) {
	var row strings.Builder
	row.WriteString("INSERT INTO `sales` VALUES\n")
	for i := range 12000 {
		if i > 0 {
			row.WriteString(",\n")
		}
		fmt.Fprintf(&row, "(%d,'4f1c2a9e-0000-4000-8000-%012d',%d,'cashier %d',%d,'2026-01-%02d 10:00:00')", i, i, i*7%1000, i%9, i*25, 1+i%28)
	}
	row.WriteString(";\n")
	text := []byte(row.String())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	l := newMySQLLexer()
	for b.Loop() {
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 64<<10)
			l.Write(rest[:n])
			rest = rest[n:]
		}
	}
	if l.err != nil || l.dump.tables[0].Rows%12000 != 0 {
		b.Fatal(l.err, l.dump.tables)
	}
}
