package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Accounts writes the roles that the database needs on another server, as statements. These
// are the roles that own an object or have a privilege in it, with their settings, members
// and groups. If this role may read the password hashes, they are included. That requires a
// superuser.
func (p *Source) Accounts(ctx context.Context, w io.Writer) (driver.Contents, error) {
	if _, err := p.server(ctx, p.db); err != nil {
		return driver.Contents{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.QueryTimeout)
	defer cancel()
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return driver.Contents{}, fmt.Errorf("backup: begin a PostgreSQL transaction: %w", err)
	}
	defer tx.Rollback() // a read-only transaction
	var withPasswords bool
	if err := tx.QueryRowContext(ctx, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')").Scan(&withPasswords); err != nil {
		return driver.Contents{}, fmt.Errorf("backup: read the PostgreSQL roles: %w", err)
	}
	catalog := "(SELECT oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, NULL::text AS rolpassword FROM pg_roles)"
	var c driver.Contents
	if withPasswords {
		catalog = "pg_authid"
	} else {
		c.Warnings = append(c.Warnings, "the passwords of the roles are not in the accounts file: only a superuser may read them")
	}
	const needed = `WITH RECURSIVE needed AS (
		SELECT refobjid AS oid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
			AND (dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) OR dbid = 0 AND classid = 'pg_database'::regclass AND objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
		UNION SELECT setrole FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND setrole <> 0
		UNION SELECT CASE n.oid WHEN m.member THEN m.roleid ELSE m.member END FROM needed n JOIN pg_auth_members m ON n.oid IN (m.member, m.roleid)
	), own AS (SELECT DISTINCT r.* FROM needed n JOIN ` + "%s" + ` r ON r.oid = n.oid WHERE r.rolname !~ '^pg_' AND r.oid <> 10) `
	count := 0
	for _, query := range []string{
		`SELECT format('CREATE ROLE %%I WITH %%s %%s %%s %%s %%s %%s %%s CONNECTION LIMIT %%s%%s%%s;', rolname,
			CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
			CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END, CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
			CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, rolconnlimit, coalesce(' VALID UNTIL ' || quote_literal(rolvaliduntil), ''), coalesce(' PASSWORD ' || quote_literal(rolpassword), ''))
			FROM own ORDER BY rolname`,
		`SELECT format('ALTER ROLE %%I SET %%I TO %%s;', rolname, split_part(s, '=', 1), CASE WHEN split_part(s, '=', 1) IN ('search_path', 'DateStyle', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')
				THEN (SELECT string_agg(quote_literal(btrim(x, ' "')), ', ') FROM unnest(string_to_array(substr(s, strpos(s, '=') + 1), ',')) x) ELSE quote_literal(substr(s, strpos(s, '=') + 1)) END)
			FROM own JOIN pg_db_role_setting d ON d.setrole = own.oid AND d.setdatabase = 0, unnest(d.setconfig) s ORDER BY rolname, s`,
		`SELECT DISTINCT format('GRANT %%I TO %%I%%s;', g.rolname, own.rolname, CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END)
			FROM own JOIN pg_auth_members m ON m.member = own.oid JOIN pg_roles g ON g.oid = m.roleid ORDER BY 1`,
	} {
		list, err := queryStrings(ctx, tx, fmt.Sprintf(needed+query, catalog))
		if err != nil {
			return c, fmt.Errorf("backup: read the PostgreSQL roles: %w", err)
		}
		for _, statement := range list {
			if _, err := io.WriteString(w, strings.ReplaceAll(statement, "\x00", "")+"\n"); err != nil {
				return c, err
			}
			if strings.HasPrefix(statement, "CREATE ROLE") {
				count++
			}
		}
	}
	c.Tables = []driver.Table{{Name: "roles", Rows: int64(count)}}
	return c, nil
}
