package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// The keys of driver.Contents.Settings. They are the options of CREATE DATABASE.
const (
	setEncoding   = "encoding"
	setCollate    = "lc_collate"
	setCtype      = "lc_ctype"
	setProvider   = "locale_provider" // "c" is libc, "i" ICU, "b" built in
	setLocale     = "locale"          // of ICU or the built-in provider
	setRules      = "icu_rules"
	setTablespace = "tablespace" // unless it is pg_default
	setNoPublic   = "without_schema_public"
	setExtensions = "extensions"  // with their versions, for display
	setMonetary   = "lc_monetary" // of the text in the archive, not of the database
	setAccess     = "access"      // statements for objects of the server, which pg_dump leaves out
)

// serverAccess writes the statements for access lists of built-in languages and of
// information_schema that are closed to PUBLIC, or open to another role.
const serverAccess = `
	WITH o AS (
		SELECT 'LANGUAGE ' || quote_ident(lanname) AS name, lanowner AS owner, lanacl AS acl FROM pg_language WHERE oid < 16384 AND NOT lanispl
		UNION ALL SELECT 'SCHEMA ' || quote_ident(nspname), nspowner, nspacl FROM pg_namespace WHERE nspname = 'information_schema'
		UNION ALL SELECT 'TABLE information_schema.' || quote_ident(relname), relowner, relacl FROM pg_class WHERE relnamespace = 'information_schema'::regnamespace AND relkind IN ('r', 'v')),
	changed AS (SELECT * FROM o WHERE acl IS NOT NULL AND (SELECT NOT coalesce(bool_or(x.grantee = 0), false) OR bool_or(x.grantee NOT IN (0, owner)) FROM aclexplode(acl) x)),
	statements AS (
		SELECT 0 AS step, name, format('REVOKE ALL ON %s FROM PUBLIC', name) AS s FROM changed
		UNION ALL SELECT 1, name, format('GRANT %s ON %s TO %s', x.privilege_type, name, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END) ||
			CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END FROM changed, aclexplode(acl) x WHERE x.grantee <> owner)
	SELECT coalesce(string_agg(s, E';\n' ORDER BY name, step, s), '') FROM statements`

// settingsOf reads the settings of the database that q is connected to.
func settingsOf(ctx context.Context, q postgresQuerier) (map[string]string, error) {
	var row, encoding, tablespace, extensions, access string
	var public bool
	err := q.QueryRowContext(ctx, `SELECT to_jsonb(d)::text, pg_encoding_to_char(d.encoding), t.spcname,
			EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'public'),
			(SELECT coalesce(string_agg(extname || ' ' || extversion, ', ' ORDER BY extname), '') FROM pg_extension)
		FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()`).
		Scan(&row, &encoding, &tablespace, &public, &extensions)
	if err != nil {
		return nil, fmt.Errorf("backup: read the settings of the database: %w", err)
	}
	if err := q.QueryRowContext(ctx, serverAccess).Scan(&access); err != nil {
		return nil, fmt.Errorf("backup: read the privileges on objects of the server: %w", err)
	}
	var columns map[string]any // the columns differ between versions
	if err := json.Unmarshal([]byte(row), &columns); err != nil {
		return nil, fmt.Errorf("backup: read the settings of the database: %w", err)
	}
	column := func(names ...string) string {
		for _, name := range names {
			if s, ok := columns[name].(string); ok {
				return s
			}
		}
		return ""
	}
	settings := map[string]string{
		setEncoding: encoding, setCollate: column("datcollate"), setCtype: column("datctype"), setProvider: column("datlocprovider"),
		setLocale: column("datlocale", "daticulocale"), setRules: column("daticurules"), setExtensions: extensions, setAccess: access,
	}
	if tablespace != "pg_default" {
		settings[setTablespace] = tablespace
	}
	if !public {
		settings[setNoPublic] = "true"
	}
	for key, value := range settings {
		if value == "" {
			delete(settings, key)
		}
	}
	return settings, nil
}

// createOptions returns the options of CREATE DATABASE for a database with these settings.
func createOptions(settings map[string]string, major int, withTablespace bool) string {
	var b strings.Builder
	option := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, " %s %s", name, quoteText(value))
		}
	}
	option("ENCODING", settings[setEncoding])
	option("LC_COLLATE", settings[setCollate])
	option("LC_CTYPE", settings[setCtype])
	switch provider := settings[setProvider]; {
	case provider == "i" && major >= 15:
		b.WriteString(" LOCALE_PROVIDER icu")
		option("ICU_LOCALE", settings[setLocale])
		option("ICU_RULES", settings[setRules])
	case provider == "b" && major >= 17:
		b.WriteString(" LOCALE_PROVIDER builtin")
		option("BUILTIN_LOCALE", settings[setLocale])
	case provider == "c" && major >= 15:
		b.WriteString(" LOCALE_PROVIDER libc")
	}
	if name := settings[setTablespace]; name != "" && withTablespace {
		b.WriteString(" TABLESPACE " + quotePostgres(name))
	}
	return b.String()
}

func quoteText(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
