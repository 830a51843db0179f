package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// The keys of driver.Contents.Settings: what CREATE DATABASE needs, and what a restore on
// another server must have.
const (
	setEncoding   = "encoding"
	setCollate    = "lc_collate"
	setCtype      = "lc_ctype"
	setProvider   = "locale_provider" // "c" is libc, "i" ICU, "b" built in
	setLocale     = "locale"          // of ICU or the built-in provider
	setRules      = "icu_rules"
	setTablespace = "tablespace" // where it is not pg_default
	setNoPublic   = "without_schema_public"
	setExtensions = "extensions" // with their versions, for people
)

// settingsOf reads the settings of the database that q is connected to.
func settingsOf(ctx context.Context, q postgresQuerier) (map[string]string, error) {
	var row, encoding, tablespace, extensions string
	var public bool
	err := q.QueryRowContext(ctx, `SELECT to_jsonb(d)::text, pg_encoding_to_char(d.encoding), t.spcname,
			EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'public'),
			(SELECT coalesce(string_agg(extname || ' ' || extversion, ', ' ORDER BY extname), '') FROM pg_extension)
		FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()`).
		Scan(&row, &encoding, &tablespace, &public, &extensions)
	if err != nil {
		return nil, fmt.Errorf("backup: read the settings of the database: %w", err)
	}
	var columns map[string]any // which differ between versions
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
		setLocale: column("datlocale", "daticulocale"), setRules: column("daticurules"), setExtensions: extensions,
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

// createOptions are the options of CREATE DATABASE for a database like that of settings.
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

// cluster is what a restore must know of the server that it restores on.
type cluster struct {
	superuser   bool
	user        string
	roles       map[string]bool // whether the restoring role may act for it
	tablespaces []string
}

func clusterOf(ctx context.Context, q postgresQuerier) (c cluster, err error) {
	c.roles = map[string]bool{}
	if err := q.QueryRowContext(ctx, "SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&c.user, &c.superuser); err != nil {
		return c, fmt.Errorf("backup: read the PostgreSQL role: %w", err)
	}
	rows, err := q.QueryContext(ctx, "SELECT rolname, pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles")
	if err != nil {
		return c, fmt.Errorf("backup: list the PostgreSQL roles: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var member bool
		if err := rows.Scan(&name, &member); err != nil {
			return c, fmt.Errorf("backup: list the PostgreSQL roles: %w", err)
		}
		c.roles[name] = member
	}
	if err := rows.Err(); err != nil {
		return c, fmt.Errorf("backup: list the PostgreSQL roles: %w", err)
	}
	if c.tablespaces, err = queryStrings(ctx, q, "SELECT spcname FROM pg_tablespace"); err != nil {
		return c, fmt.Errorf("backup: list the tablespaces: %w", err)
	}
	return c, nil
}

func (c cluster) exists(role string) bool {
	_, ok := c.roles[role]
	return ok
}

// environment is what a dump says about the database itself, for its new name.
type environment struct {
	statements []string
	missing    map[string]bool // roles that do not exist here
	left       []string        // what was left out, for people
}

func (e *environment) leave(format string, args ...any) {
	e.left = append(e.left, fmt.Sprintf(format, args...))
}

// without returns whether a statement names a role that the server does not have.
func (e *environment) without(c cluster, roles []string) bool {
	found := false
	for _, role := range roles {
		if !c.exists(role) {
			e.missing[role] = true
			found = true
		}
	}
	return found
}

// adapt makes a table of contents fit for a server: owners, privileges, policies and
// tablespaces that it does not have are taken out and listed. A revocation from PUBLIC
// always stays. What concerns the database itself becomes statements for its new name.
func (t *toc) adapt(c cluster, name string) *environment {
	e := &environment{missing: map[string]bool{}}
	t.keep(func(entry *tocEntry) bool {
		owner := entry.owner.s
		switch {
		case owner == "":
		case !c.exists(owner):
			e.missing[owner] = true
			entry.owner = some("")
		case !c.superuser && !c.roles[owner]:
			e.leave("the owner %s of the %s: the role %s is no member of it", owner, entry, c.user)
			entry.owner = some("")
		}
		if space := entry.tablespace.s; space != "" && !slices.Contains(c.tablespaces, space) {
			e.leave("the tablespace %s of the %s", space, entry)
			entry.tablespace = some("")
		}
		aboutDatabase := strings.HasPrefix(entry.tag.s, "DATABASE ")
		switch entry.kind.s {
		case "DATABASE":
			if owner := entry.owner.s; owner != "" {
				e.statements = append(e.statements, "ALTER DATABASE "+quotePostgres(name)+" OWNER TO "+quotePostgres(owner))
			}
			return false
		case "DATABASE PROPERTIES":
			for _, s := range statements(entry.definition.s) {
				if role := tokens(s); len(role) > 2 && role[0] == "ALTER" && role[1] == "ROLE" && e.without(c, []string{unquote(role[2])}) {
					e.leave("%s", s)
					continue
				}
				if !strings.Contains(s, "IS_TEMPLATE") {
					e.statements = append(e.statements, renamed(s, name))
				}
			}
			return false
		case "ACL", "DEFAULT ACL":
			var kept []string
			skip := false // the statements of a session that cannot be taken on
			for _, s := range statements(entry.definition.s) {
				roles := rolesOf(s)
				first := tokens(s)[0]
				if first == "SET" {
					skip = !c.superuser
				}
				switch {
				case e.without(c, roles):
					e.leave("%s", s)
					skip = skip || first == "SET"
				case skip && first != "RESET":
					if first != "SET" {
						e.leave("%s", s)
					}
				case skip:
				case first == "ALTER" && len(roles) > 0 && !c.superuser && !c.roles[roles[0]]:
					e.leave("%s", s)
				default:
					kept = append(kept, s)
				}
				if first == "RESET" {
					skip = false
				}
			}
			if aboutDatabase {
				for _, s := range kept {
					e.statements = append(e.statements, renamed(s, name))
				}
				return false
			}
			entry.definition = some(strings.Join(kept, ";\n") + ";\n")
			return len(kept) > 0
		case "COMMENT", "SECURITY LABEL":
			if aboutDatabase {
				for _, s := range statements(entry.definition.s) {
					e.statements = append(e.statements, renamed(s, name))
				}
				return false
			}
			return c.superuser || !strings.HasPrefix(entry.tag.s, "EXTENSION ")
		case "POLICY":
			from, to, roles := policyRoles(entry.definition.s)
			var here []string
			for _, role := range roles {
				if !e.without(c, []string{role}) {
					here = append(here, quoteRole(role))
				}
			}
			switch {
			case len(roles) == len(here):
			case len(here) == 0:
				e.leave("the %s, which is for %s alone", entry, strings.Join(roles, ", "))
				return false
			default:
				d := entry.definition.s
				entry.definition = some(d[:from] + "TO " + strings.Join(here, ", ") + d[to:])
			}
		case "USER MAPPING":
			if role := tokens(entry.definition.s); len(role) > 4 && !strings.EqualFold(role[4], public) && e.without(c, []string{unquote(role[4])}) {
				e.leave("the %s", entry)
				return false
			}
		}
		return true
	})
	return e
}

func quoteRole(role string) string {
	if role == "CURRENT_USER" || role == "SESSION_USER" || role == "CURRENT_ROLE" {
		return role
	}
	return quotePostgres(role)
}

// warnings tells what a restore left out.
func (e *environment) warnings() []string {
	var list []string
	if len(e.missing) > 0 {
		var names, create []string
		for role := range e.missing {
			names = append(names, role)
		}
		slices.Sort(names)
		for _, name := range names {
			create = append(create, "CREATE ROLE "+quotePostgres(name)+";")
		}
		list = append(list, fmt.Sprintf("this server has no role %s; what they own belongs to the role that restores. Create them before a restore (the backup's accounts file has them with their rights): %s",
			strings.Join(names, ", "), strings.Join(create, " ")))
	}
	if len(e.left) > 0 {
		list = append(list, "left out: "+server.ShortList(e.left))
	}
	return list
}

// apply gives a database what belongs to it. Statements that fail are returned: a setting
// that only a superuser may give, an owner that this role may not name.
func (e *environment) apply(ctx context.Context, db *sql.DB) (failed []string) {
	for _, s := range e.statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			failed = append(failed, fmt.Sprintf("%s (%v)", s, err))
		}
	}
	return failed
}

// only reduces the table of contents to some tables, and what they need to exist. Foreign
// keys to other tables and triggers are left out.
func (t *toc) only(tables []string) error {
	byID := map[string]*tocEntry{}
	for _, e := range t.entries {
		byID[fmt.Sprint(e.id)] = e
	}
	in := map[*tocEntry]bool{}
	var take func(e *tocEntry)
	take = func(e *tocEntry) {
		if in[e] {
			return
		}
		in[e] = true
		for _, need := range e.needs {
			if n := byID[need.s]; n != nil {
				take(n)
			}
		}
	}
	wanted := map[string]bool{}
	for _, name := range tables {
		wanted[name] = true
	}
	found := map[string]bool{}
	for _, e := range t.entries {
		if name := postgresName(e.schema.s, e.tag.s); e.kind.s == "TABLE" && wanted[name] {
			found[name] = true
			take(e)
		}
	}
	for _, name := range tables {
		if !found[name] {
			return fmt.Errorf("backup: the dump holds no table %s", name)
		}
	}
	for more := true; more; {
		more = false
		for _, e := range t.entries {
			if in[e] || !dependent[e.kind.s] || len(e.needs) == 0 {
				continue
			}
			if e.kind.s == "TABLE DATA" && !wanted[postgresName(e.schema.s, e.tag.s)] {
				continue
			}
			all, any := true, false
			for _, need := range e.needs {
				n := byID[need.s]
				switch {
				case n == nil:
				case in[n]:
					any = true
				case relation[n.kind.s]:
					all = false
				}
			}
			if all && any {
				take(e)
				more = true
			}
		}
	}
	t.keep(func(e *tocEntry) bool {
		return in[e] || e.kind.s == "ENCODING" || e.kind.s == "STDSTRINGS" || e.kind.s == "SEARCHPATH"
	})
	return nil
}

// dependent are the kinds of entries that belong to a table or to its sequences.
var dependent = map[string]bool{
	"TABLE DATA": true, "DEFAULT": true, "CONSTRAINT": true, "FK CONSTRAINT": true, "CHECK CONSTRAINT": true, "INDEX": true, "INDEX ATTACH": true,
	"TABLE ATTACH": true, "SEQUENCE OWNED BY": true, "SEQUENCE SET": true, "STATISTICS": true, "COMMENT": true, "ACL": true, "ROW SECURITY": true,
	"POLICY": true, "STATISTICS DATA": true,
}

// relation are the kinds that are not restored for the sake of something that belongs to
// another table.
var relation = map[string]bool{"TABLE": true, "VIEW": true, "MATERIALIZED VIEW": true, "FOREIGN TABLE": true, "INDEX": true, "CONSTRAINT": true}

// present gives the objects that a database has now their present owners and privileges,
// and the database its present settings: what was closed stays closed.
func (t *toc) present(now *toc) {
	objects := func(t *toc) (byKey map[string]*tocEntry, byID map[string]*tocEntry) {
		byKey, byID = map[string]*tocEntry{}, map[string]*tocEntry{}
		for _, e := range t.entries {
			byID[fmt.Sprint(e.id)] = e
			if e.kind.s != "ACL" && e.kind.s != "DEFAULT ACL" {
				byKey[e.key()] = e
			}
		}
		return byKey, byID
	}
	theirs, theirIDs := objects(now)
	ours, ourIDs := objects(t)
	about := func(acl *tocEntry, ids map[string]*tocEntry) *tocEntry {
		for _, need := range acl.needs {
			if e := ids[need.s]; e != nil && e.kind.s != "ACL" {
				return e
			}
		}
		return nil // an object of the server or of an extension
	}
	ofDatabase := func(e *tocEntry) bool {
		return e.kind.s == "DATABASE" || e.kind.s == "DATABASE PROPERTIES" || strings.HasPrefix(e.tag.s, "DATABASE ")
	}
	last := 0
	for _, e := range t.entries {
		last = max(last, e.id)
	}
	t.keep(func(e *tocEntry) bool {
		switch {
		case ofDatabase(e), e.kind.s == "DEFAULT ACL":
			return false
		case e.kind.s == "ACL":
			object := about(e, ourIDs)
			if object == nil {
				return false
			}
			_, exists := theirs[object.key()]
			return !exists
		}
		if same := theirs[e.key()]; same != nil {
			e.owner = same.owner
		}
		return true
	})
	for _, e := range now.entries {
		switch {
		case ofDatabase(e), e.kind.s == "DEFAULT ACL":
		case e.kind.s != "ACL":
			continue
		default:
			object := about(e, theirIDs)
			if object != nil && ours[object.key()] == nil {
				continue // the backup does not have it
			}
			if object != nil {
				e.needs = []text{some(fmt.Sprint(ours[object.key()].id))}
			} else {
				e.needs = nil
			}
		}
		if e.kind.s == "DEFAULT ACL" || ofDatabase(e) {
			e.needs = nil
		}
		last++
		e.id = last
		t.entries = append(t.entries, e)
	}
}

// access lists every owner and every privilege in a database, one line for each object.
const access = `
	WITH acl AS (
		SELECT 'pg_class'::regclass AS c, oid, 0 AS sub, relowner AS owner, relacl AS acl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, relowner) AS initial
			FROM pg_class WHERE relkind IN ('r','p','v','m','S','f') AND relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
		UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, relowner, attacl, NULL FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE attacl IS NOT NULL AND NOT attisdropped
		UNION ALL SELECT 'pg_proc'::regclass, oid, 0, proowner, proacl, acldefault('f', proowner) FROM pg_proc
		UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspowner, nspacl, acldefault('n', nspowner) FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
		UNION ALL SELECT 'pg_type'::regclass, oid, 0, typowner, typacl, acldefault('T', typowner) FROM pg_type
			WHERE typelem = 0 AND (typrelid = 0 OR EXISTS (SELECT 1 FROM pg_class k WHERE k.oid = typrelid AND k.relkind = 'c')) AND typnamespace::regnamespace::text !~ '^pg_(toast|temp)'
		UNION ALL SELECT 'pg_language'::regclass, oid, 0, lanowner, lanacl, acldefault('l', lanowner) FROM pg_language
		UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl, acldefault('F', fdwowner) FROM pg_foreign_data_wrapper
		UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl, acldefault('S', srvowner) FROM pg_foreign_server
		UNION ALL SELECT 'pg_largeobject'::regclass, oid, 0, lomowner, lomacl, acldefault('L', lomowner) FROM pg_largeobject_metadata
		UNION ALL SELECT 'pg_publication'::regclass, oid, 0, pubowner, NULL, NULL FROM pg_publication
		UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 0, evtowner, NULL, NULL FROM pg_event_trigger
	)
	SELECT i.type || ' ' || i.identity, pg_get_userbyid(acl.owner) || ': ' || coalesce((
		SELECT string_agg(pg_get_userbyid(x.grantor) || '/' || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END || '/' || x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ' '
			ORDER BY pg_get_userbyid(x.grantor), CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type)
		FROM aclexplode(coalesce(acl.acl, acl.initial)) x), '')
	FROM acl, pg_identify_object(acl.c, acl.oid, acl.sub) i WHERE i.identity IS NOT NULL
	UNION ALL
	SELECT 'default privileges of ' || pg_get_userbyid(defaclrole) || ' in ' || CASE defaclnamespace WHEN 0 THEN '-' ELSE defaclnamespace::regnamespace::text END || ' for ' || defaclobjtype::text,
		(SELECT string_agg(CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END || '/' || x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ' '
			ORDER BY CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type) FROM aclexplode(defaclacl) x)
	FROM pg_default_acl`

// ofDatabase lists what belongs to a database itself.
const ofDatabase = `
	SELECT 'database ' || key, value FROM pg_database d, jsonb_each_text(to_jsonb(d) - ARRAY['oid', 'datname', 'datacl', 'datfrozenxid', 'datminmxid', 'datlastsysoid', 'dathasloginevt', 'datallowconn']) WHERE datname = $1 AND value IS NOT NULL
	UNION ALL SELECT 'database privileges', (SELECT string_agg(CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END || '/' || x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ' '
			ORDER BY CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type) FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) x)
		FROM pg_database WHERE datname = $1
	UNION ALL SELECT 'database comment', shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1
	UNION ALL SELECT 'database settings of ' || CASE setrole WHEN 0 THEN 'all' ELSE pg_get_userbyid(setrole) END, (SELECT string_agg(s, ', ' ORDER BY s) FROM unnest(setconfig) s)
		FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = $1`

// rightsOf reads access or ofDatabase.
func rightsOf(ctx context.Context, q postgresQuerier, query string, args ...any) (map[string]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("backup: list the owners and privileges: %w", err)
	}
	defer rows.Close()
	list := map[string]string{}
	for rows.Next() {
		var object string
		var rights sql.NullString
		if err := rows.Scan(&object, &rights); err != nil {
			return nil, fmt.Errorf("backup: list the owners and privileges: %w", err)
		}
		list[object] = rights.String
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("backup: list the owners and privileges: %w", err)
	}
	return list, nil
}

// errRights means that an overwriting restore would have changed who may do what.
var errRights = errors.New("owners, privileges or settings would not be what they are now")

// compareRights compares the objects that both have.
func compareRights(before, after map[string]string) error {
	var changed []string
	for object, was := range before {
		if is, exists := after[object]; exists && is != was {
			changed = append(changed, fmt.Sprintf("%s: %q instead of %q", object, is, was))
		}
		if _, exists := after[object]; !exists && (strings.HasPrefix(object, "database ") || strings.HasPrefix(object, "default privileges")) {
			changed = append(changed, fmt.Sprintf("%s: nothing instead of %q", object, was))
		}
	}
	for object, is := range after {
		if _, exists := before[object]; !exists && (strings.HasPrefix(object, "database settings") || strings.HasPrefix(object, "default privileges")) {
			changed = append(changed, fmt.Sprintf("%s: %q instead of nothing", object, is))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	slices.Sort(changed)
	return fmt.Errorf("backup: %w: %s", errRights, server.ShortList(changed))
}

func quoteText(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

var _ driver.Source = (*Source)(nil)
