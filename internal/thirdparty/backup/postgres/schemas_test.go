package postgres_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// sampled are the schemas of the plain run: quoted names, and owners with
// privileges and policies.
var sampled = []string{"names", "security"}

// schemas are those of testdata, and those of a folder that the environment names. Without
// MAINSTAY_LONG, testdata gives those of sampled.
func schemas(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/schemas/*.sql")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(paths), 10)
	if !testserver.Long() {
		paths = nil
		for _, name := range sampled {
			paths = append(paths, filepath.Join("testdata", "schemas", name+".sql"))
		}
	}
	if folder := os.Getenv("MAINSTAY_POSTGRES_SCHEMAS"); folder != "" {
		more, err := filepath.Glob(filepath.Join(folder, "*.sql"))
		require.NoError(t, err)
		paths = append(paths, more...)
	}
	return paths
}

// TestSchemas takes each schema through a dump, a restore beside the original, one on a
// second server that has none of the roles, and an overwriting restore of a damaged
// original. pg_dump and the catalogs compare the databases.
func TestSchemas(t *testing.T) {
	t.Parallel()
	server, other := testserver.Postgres(t), testserver.Postgres(t)
	for _, path := range schemas(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".sql")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema, err := os.ReadFile(path)
			require.NoError(t, err)
			database := "x" + strings.ReplaceAll(name, "-", "_")
			server.CreateDatabase(t, database)
			server.Exec(t, database, strings.ReplaceAll(string(schema), "{db}", database))
			if !strings.HasPrefix(path, "testdata") { // pg_dump writes some CHECKs of a person in another form
				written := script(t, server.DSN(database), "--create", "--clean")
				server.Exec(t, "postgres", written)
			}
			p := source(t, server.DSN(database), nil)
			archive, want := dumped(t, p)
			original, about, rights := script(t, server.DSN(database)), aboutDatabase(t, server, database), grants(t, server, database)

			got := restored(t, p, archive, driver.RestoreOptions{Target: database + " beside", Want: want})
			assert.Empty(t, got.Warnings)
			equal(t, original, script(t, server.DSN(database+" beside")))
			equal(t, about, aboutDatabase(t, server, database+" beside"))
			equal(t, rights, grants(t, server, database+" beside"))

			there := source(t, other.DSN(database), nil)
			got = restored(t, there, archive, driver.RestoreOptions{Target: database + " é", Want: want})
			assert.Equal(t, strings.Contains(string(schema), "CREATE ROLE"), len(got.Warnings) > 0)
			equal(t, plain(original), plain(script(t, other.DSN(database+" é"))))

			// Over the original, after somebody has damaged it.
			server.Exec(t, database, "SET rt.allow = 'yes'; CREATE TABLE later (id int); CREATE FUNCTION later_on() RETURNS int LANGUAGE sql AS 'SELECT 1'; "+
				"CREATE SCHEMA later; CREATE TABLE later.t (i int); ALTER DEFAULT PRIVILEGES IN SCHEMA later GRANT SELECT ON TABLES TO PUBLIC; CREATE EXTENSION IF NOT EXISTS isn SCHEMA later; GRANT ALL ON FUNCTION later.is_valid(later.ean13) TO pg_monitor")
			got, err = p.Overwrite(t.Context(), bytes.NewReader(archive), driver.RestoreOptions{Want: want})
			require.NoError(t, err)
			assert.Empty(t, got.Warnings)
			equal(t, original, script(t, server.DSN(database)))
			equal(t, about, aboutDatabase(t, server, database))
			equal(t, rights, grants(t, server, database))
		})
	}
}

// grants lists the access lists and owners of all objects.
func grants(t testing.TB, server *testserver.PostgresServer, database string) string {
	t.Helper()
	var queries []string
	for catalog, about := range map[string][2]string{
		"pg_class": {"rel", "CASE relkind WHEN 'S' THEN 's' ELSE 'r' END"}, "pg_proc": {"pro", "'f'"}, "pg_type": {"typ", "'T'"}, "pg_namespace": {"nsp", "'n'"}, "pg_language": {"lan", "'l'"},
		"pg_largeobject_metadata": {"lom", "'L'"}, "pg_foreign_server": {"srv", "'S'"}, "pg_foreign_data_wrapper": {"fdw", "'F'"},
	} {
		columns := about[0]
		queries = append(queries, "SELECT '"+catalog+"', identity, pg_get_userbyid("+columns+"owner), (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(coalesce("+columns+"acl, acldefault(("+about[1]+")::\"char\", "+columns+"owner))) x) FROM "+catalog+
			" c, pg_identify_object('"+strings.TrimSuffix(catalog, "_metadata")+"'::regclass, c.oid, 0) WHERE identity !~ '^pg_(toast|temp)' ORDER BY 2")
	}
	queries = append(queries,
		"SELECT attrelid::regclass, attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL ORDER BY 1::text, 2",
		"SELECT pg_get_userbyid(defaclrole), defaclnamespace::regnamespace, defaclobjtype, (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(defaclacl) x) FROM pg_default_acl ORDER BY 1, 2::text, 3")
	slices.Sort(queries)
	return server.Exec(t, database, strings.Join(queries, ";\n"))
}

// equal shows the first line that differs.
func equal(t *testing.T, want, got string) {
	t.Helper()
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			found := "(nothing)"
			if i < len(b) {
				found = b[i]
			}
			t.Fatalf("line %d:\n%.600s\nbecame\n%.600s", i+1, a[i], found)
		}
	}
	require.Len(t, b, len(a))
}

var ofRoles = regexp.MustCompile(`(?m)^(ALTER .* OWNER TO .*|(GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|SET SESSION AUTHORIZATION|RESET SESSION AUTHORIZATION) .*|RESET SESSION AUTHORIZATION;|CREATE USER MAPPING (.*\n)*?\);|CREATE USER MAPPING .*;|COMMENT ON POLICY .*;|--.*|SET default_tablespace.*)$`)

// plain takes out of a script what a server without the roles cannot have.
func plain(script string) string {
	script = ofRoles.ReplaceAllString(script, "")
	script = regexp.MustCompile(`(?ms)^CREATE POLICY .*?;$`).ReplaceAllString(script, "")
	return regexp.MustCompile(`\n{2,}`).ReplaceAllString(script, "\n")
}
