package mysql

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUnqualify: references to the database lose its name; columns, literals, comments and
// other databases keep theirs.
func TestUnqualify(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"CREATE TRIGGER `shop`.`tr` BEFORE INSERT ON `shop`.`t` FOR EACH ROW SET NEW.n = 1":                  "CREATE TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW SET NEW.n = 1",
		"CREATE TRIGGER tr AFTER INSERT ON shop . t FOR EACH ROW INSERT INTO shop.log VALUES (1)":            "CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (1)",
		"`id` int DEFAULT nextval(`shop`.`s`)":                                                               "`id` int DEFAULT nextval(`s`)",
		"`id` int DEFAULT (NEXT VALUE FOR `shop`.`s`)":                                                       "`id` int DEFAULT (NEXT VALUE FOR `s`)",
		"select shop.id, shop.v from shop.shop where shop.id > 0":                                            "select shop.id, shop.v from shop where shop.id > 0",
		"select `shop`.`twice`(`t`.`id`) from (`t` join `o` on(`shop`.`x` = 1))":                             "select `twice`(`t`.`id`) from (`t` join `o` on(`shop`.`x` = 1))",
		"SELECT * FROM shop.a, shop.b c, (SELECT 1) d WHERE f(1, shop.c) = 2":                                "SELECT * FROM a, b c, (SELECT 1) d WHERE f(1, shop.c) = 2",
		"SELECT shop.t.c FROM shop.t":                                                                        "SELECT t.c FROM t",
		"SELECT 'FROM shop.t', \"FROM shop.t\" -- FROM shop.t\n/* FROM shop.t */ # FROM shop.t\nFROM shop.t": "SELECT 'FROM shop.t', \"FROM shop.t\" -- FROM shop.t\n/* FROM shop.t */ # FROM shop.t\nFROM t",
		"SELECT 'it''s \\' FROM shop.t' FROM shop.t":                                                         "SELECT 'it''s \\' FROM shop.t' FROM t",
		"/*!50001 CREATE VIEW `shop`.`v` AS select 1 */":                                                     "/*!50001 CREATE VIEW `v` AS select 1 */",
		"SELECT * FROM shop2.t JOIN other.shop JOIN `shop 2`.t":                                              "SELECT * FROM shop2.t JOIN other.shop JOIN `shop 2`.t",
		"INSERT INTO shop.t (a, b) VALUES (shop.a, 1)":                                                       "INSERT INTO t (a, b) VALUES (shop.a, 1)",
		"UPDATE shop.t, shop.u SET shop.t.a = shop.a WHERE 1":                                                "UPDATE t, u SET t.a = shop.a WHERE 1",
		"CALL shop.pr(shop.x)": "CALL pr(shop.x)",
		"DECLARE r ROW TYPE OF shop.t; CREATE TEMPORARY TABLE IF NOT EXISTS shop.tmp (a INT)":                 "DECLARE r ROW TYPE OF t; CREATE TEMPORARY TABLE IF NOT EXISTS tmp (a INT)",
		"DELETE FROM a, b USING shop.a, shop.b WHERE a.id = b.id AND shop.c IS NULL":                          "DELETE FROM a, b USING a, b WHERE a.id = b.id AND shop.c IS NULL",
		"RENAME TABLE shop.a TO shop.b; CREATE TABLE c LIKE shop.d; SELECT 1 FROM x shop WHERE y LIKE shop.z": "RENAME TABLE a TO b; CREATE TABLE c LIKE d; SELECT 1 FROM x shop WHERE y LIKE shop.z",
		// What MySQL 8 prints.
		"CREATE TABLE `t` (`my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */, `a` varchar(9) COLLATE utf8mb4_0900_ai_ci DEFAULT (_utf8mb4'shop.t'), PRIMARY KEY (`my_row_id`), KEY `f` ((lower(`a`))), CONSTRAINT `c` CHECK ((`a` <> _utf8mb4'\\'')))": "CREATE TABLE `t` (`my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */, `a` varchar(9) COLLATE utf8mb4_0900_ai_ci DEFAULT (_utf8mb4'shop.t'), PRIMARY KEY (`my_row_id`), KEY `f` ((lower(`a`))), CONSTRAINT `c` CHECK ((`a` <> _utf8mb4'\\'')))",
		"SELECT shop.t.*, shop.* FROM shop.t, u shop": "SELECT t.*, shop.* FROM t, u shop",
		"select extract(year from `shop`.`at`), trim(both 'x' from shop.n), substr(shop.a from shop.b for shop.c) from `shop`.`t` `shop`":              "select extract(year from `shop`.`at`), trim(both 'x' from shop.n), substr(shop.a from shop.b for shop.c) from `t` `shop`",
		"CREATE UNIQUE INDEX IF NOT EXISTS i ON shop.t (a); DROP INDEX IF EXISTS i ON shop.t; SELECT 1 FROM a USE INDEX (x) JOIN b shop ON shop.a = 1": "CREATE UNIQUE INDEX IF NOT EXISTS i ON t (a); DROP INDEX IF EXISTS i ON t; SELECT 1 FROM a USE INDEX (x) JOIN b shop ON shop.a = 1",
		"GRANT SELECT (a), UPDATE ON shop.t TO x; REVOKE EXECUTE ON FUNCTION shop.f FROM x; LOAD INDEX INTO CACHE shop.t":                              "GRANT SELECT (a), UPDATE ON t TO x; REVOKE EXECUTE ON FUNCTION f FROM x; LOAD INDEX INTO CACHE t",
		"SET @shop.x = 1, @@shop.x = 2": "SET @shop.x = 1, @@shop.x = 2",
		"SHOW TABLES FROM shop; SHOW FULL TABLES IN `shop` LIKE 't%'; SHOW TABLE STATUS FROM shop WHERE 1; SHOW OPEN TABLES FROM shop": "SHOW TABLES ; SHOW FULL TABLES  LIKE 't%'; SHOW TABLE STATUS  WHERE 1; SHOW OPEN TABLES ",
		"SHOW COLUMNS FROM t FROM shop; SHOW INDEX IN `t` IN shop; SHOW FULL FIELDS FROM shop; SHOW KEYS FROM shop.t FROM `shop`":      "SHOW COLUMNS FROM t ; SHOW INDEX IN `t` ; SHOW FULL FIELDS FROM shop; SHOW KEYS FROM t ",
		"SHOW TRIGGERS FROM shop; SHOW EVENTS IN shop; SHOW TABLES; SELECT 1 FROM shop WHERE a IN (shop)":                              "SHOW TRIGGERS ; SHOW EVENTS ; SHOW TABLES; SELECT 1 FROM shop WHERE a IN (shop)",
		"DESCRIBE shop.t; EXPLAIN shop.t; CALL shop.p; CACHE INDEX shop.t IN hot; ALTER TABLE shop.t RENAME shop.u":                    "DESCRIBE t; EXPLAIN t; CALL p; CACHE INDEX t IN hot; ALTER TABLE t RENAME u",
		"r shop.t%ROWTYPE; v shop.t.id%TYPE; SELECT shop.id % 2 FROM t shop":                                                           "r t%ROWTYPE; v t.id%TYPE; SELECT shop.id % 2 FROM t shop",
	} {
		got, _ := unqualify([]byte(text), "shop", false, "")
		assert.Equal(t, want, string(got))
	}
	got, _ := unqualify([]byte(`SELECT '\', 'x' FROM shop.t`), "shop", false, "NO_BACKSLASH_ESCAPES")
	assert.Equal(t, `SELECT '\', 'x' FROM t`, string(got))
	got, _ = unqualify([]byte("SELECT [a] FROM [shop].[t] WHERE [shop].[t].[a] > 0"), "shop", false, "MSSQL")
	assert.Equal(t, "SELECT [a] FROM [t] WHERE [t].[a] > 0", string(got))
	for text, want := range map[string]bool{
		"PREPARE s FROM 'SELECT * FROM shop.t'": true, "PREPARE s FROM 'SELECT * FROM `shop` . t'": true, "EXECUTE IMMEDIATE 'USE shop'": true,
		"PREPARE s FROM 'show tables in shop'": true, "SET @q = CONCAT('SELECT * FROM ', 'shop', '.t')": true, "SELECT 1 FROM x WHERE TABLE_SCHEMA = 'shop'": true,
		"DROP DATABASE IF EXISTS shop": true, "ALTER SCHEMA `shop` COMMENT 'x'": true, "SHOW CREATE DATABASE shop": true, "GRANT SELECT ON shop.* TO x": true,
		"SELECT 'a shop', 'shopping', 'the workshop.', 'shop floor' FROM t": false, "SELECT shop.* FROM a shop JOIN b ON shop.x = 1": false,
		"SELECT DATABASE(), shop FROM t": false, "SHOW COLUMNS FROM shop": false,
	} {
		_, hidden := unqualify([]byte(text), "shop", false, "")
		assert.Equal(t, want, hidden, text)
	}
	got, _ = unqualify([]byte("SELECT 1 FROM SHOP.t"), "shop", true, "")
	assert.Equal(t, "SELECT 1 FROM t", string(got))
	got, _ = unqualify([]byte(`SELECT "a" FROM "shop"."t"`), "shop", false, "ANSI_QUOTES")
	assert.Equal(t, `SELECT "a" FROM "t"`, string(got))
	got, _ = unqualify([]byte("SELECT 1 FROM `a``b-c`.`t`"), "a`b-c", false, "")
	assert.Equal(t, "SELECT 1 FROM `t`", string(got))
}

func TestOwnFolder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		") ENGINE=MyISAM DATA DIRECTORY='/a/''b/' INDEX DIRECTORY='/c/' COMMENT='DATA DIRECTORY=\\'x\\''": ") ENGINE=MyISAM   COMMENT='DATA DIRECTORY=\\'x\\''",
		"(PARTITION `p` VALUES LESS THAN (1) DATA DIRECTORY = '/a' INDEX DIRECTORY = '/b' ENGINE = X)":    "(PARTITION `p` VALUES LESS THAN (1)   ENGINE = X)",
		"`data` INT, `directory` INT, INDEX (`data`), `DATA DIRECTORY` INT":                               "`data` INT, `directory` INT, INDEX (`data`), `DATA DIRECTORY` INT",
	} {
		got, moved := ownFolder([]byte(text))
		assert.Equal(t, want, string(got))
		assert.Equal(t, text != want, moved)
	}
}

func TestDefinerOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"CREATE DEFINER=`root`@`%` TRIGGER t":                                                      "root@%",
		"CREATE ALGORITHM=UNDEFINED DEFINER=`a``b`@`10.%` SQL SECURITY DEFINER VIEW v AS select 1": "a`b@10.%",
		"CREATE DEFINER='o'@'h' PROCEDURE p()":                                                     "o@h",
		"CREATE PROCEDURE p() SELECT 1":                                                            "",
		"CREATE SQL SECURITY DEFINER VIEW v AS select 1":                                           "",
		"CREATE DEFINER = admin_role EVENT e ON SCHEDULE AT":                                       "admin_role@",
	} {
		definer, clause := definerOf([]byte(text), "")
		assert.Equal(t, want, definer, text)
		st := statement{text: []byte(text), mark: mark{Clause: clause}}
		assert.NotContains(t, st.by(""), "DEFINER=`")
	}
}

// FuzzUnqualify: whatever the text is, nothing but qualifiers goes, and a second pass over
// text without the name changes nothing.
func FuzzUnqualify(f *testing.F) {
	for _, text := range []string{"FROM `shop`.`t`", "'a\\", "/*! shop.t", "shop.shop.shop", "`", "-- ", "a.b.c.d.e", "((,shop.t", "\"shop\"."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, mode := range []string{"", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"} {
			out, _ := unqualify([]byte(text), "shop", false, mode)
			require.LessOrEqual(t, len(out), len(text))
			if !strings.Contains(text, "shop") {
				require.Equal(t, text, string(out))
			}
			definer, clause := definerOf([]byte(text), mode)
			require.True(t, clause[0] <= clause[1] && clause[1] <= len(text), definer)
			_ = eventAs([]byte(text), "ENABLED")
		}
	})
}

// FuzzDumpReader: no input makes the reader panic or go on for ever.
func FuzzDumpReader(f *testing.F) {
	f.Add("-- @ table 3 {\"name\":\"t\"}\nabc\n;\n-- @ end 5 {}\n/* */\n-- Dump completed\n")
	f.Add("-- @ rows 99999999999999999999 {}\n")
	f.Add("-- @ rows -1 {}\n-- @ x 0 {\"clause\":[3,1]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := newDumpReader(strings.NewReader(text))
		for range len(text) + 2 {
			st, err := r.next(func(string, *mark) bool { return false })
			if err != nil {
				return
			}
			_ = st.by("x@y")
		}
		t.Fatal("it does not end")
	})
}
