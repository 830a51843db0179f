package postgres

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{`COMMENT ON DATABASE x IS 'a;''b'`, `GRANT SELECT ON t TO "a;""b"`}, statements("COMMENT ON DATABASE x IS 'a;''b';\n GRANT SELECT ON t TO \"a;\"\"b\";;"))
	assert.Equal(t, []string{`SELECT E'a\';b'`, "x"}, statements(`SELECT E'a\';b'; x`))
	assert.Equal(t, `ALTER DATABASE "a""b;" SET x TO 'DATABASE y'`, renamed(`ALTER DATABASE "old;"" name" SET x TO 'DATABASE y'`, `a"b;`))
	assert.Equal(t, []string{"web; x"}, rolesOf(`GRANT SELECT("TO"),INSERT("FROM") ON TABLE public."TO x" TO "web; x" WITH GRANT OPTION`))
	assert.Equal(t, []string{"mig", "web"}, rolesOf(`ALTER DEFAULT PRIVILEGES FOR ROLE mig IN SCHEMA "TO" GRANT SELECT ON TABLES  TO web`))
	assert.Empty(t, rolesOf(`REVOKE ALL ON FUNCTION f() FROM PUBLIC`))
	assert.Equal(t, "CREATE SUBSCRIPTION s CONNECTION 'slot_name = x' PUBLICATION p WITH (connect = false, slot_name = NONE, binary = true)",
		withoutSlot("CREATE SUBSCRIPTION s CONNECTION 'slot_name = x' PUBLICATION p WITH (connect = false, slot_name = 'sl''ot', binary = true)"))
	assert.Equal(t, `DO  E'BEGIN EXECUTE  E''GRANT "a\\\\b" TO ''''x''''''; EXCEPTION WHEN undefined_object OR undefined_table OR undefined_function OR undefined_column OR invalid_schema_name THEN NULL; END'`, ifItExists(`GRANT "a\b" TO 'x'`))
}

func TestNeedsPath(t *testing.T) {
	t.Parallel()
	for definition, needs := range map[string]bool{
		"CREATE FUNCTION f(a text DEFAULT 'LANGUAGE c AS x') RETURNS int\n LANGUAGE plpgsql\n AS $$ BEGIN SET search_path = x; END $$": true,
		"CREATE FUNCTION f() RETURNS int\n LANGUAGE sql IMMUTABLE\n SET search_path TO 'a', 'b'\n AS $$ SELECT 1 $$":                   false,
		"CREATE FUNCTION f() RETURNS int\n LANGUAGE c\n AS '$libdir/x', 'y'":                                                           false,
		"CREATE FUNCTION f() RETURNS trigger\n LANGUAGE plpgsql\n AS $$ $$":                                                            false,
		"CREATE FUNCTION f() RETURNS int\n LANGUAGE \"plr\"\n SET work_mem TO '1MB'\n AS $$ $$":                                        true,
		"CREATE FUNCTION f() RETURNS int\n LANGUAGE sql\n BEGIN ATOMIC\n SELECT 1;\nEND":                                               true,
		"CREATE FUNCTION f(\"SET\" int, \"search_path\" int) RETURNS \"trigger\"\n LANGUAGE sql\n AS $_$ SELECT 1 $_$":                 true,
		strings.Repeat("x ", 10): false,
	} {
		assert.Equal(t, needs, needsPath(definition), definition)
	}
}
