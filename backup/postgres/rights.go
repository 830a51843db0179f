package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// access lists every owner and every privilege in a database, one line for each object. The
// third column is the object that a line depends on.
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
		UNION ALL SELECT 'pg_operator'::regclass, oid, 0, oprowner, NULL, NULL FROM pg_operator WHERE oid >= 16384
		UNION ALL SELECT 'pg_opclass'::regclass, oid, 0, opcowner, NULL, NULL FROM pg_opclass WHERE oid >= 16384
		UNION ALL SELECT 'pg_opfamily'::regclass, oid, 0, opfowner, NULL, NULL FROM pg_opfamily WHERE oid >= 16384
		UNION ALL SELECT 'pg_collation'::regclass, oid, 0, collowner, NULL, NULL FROM pg_collation WHERE oid >= 16384
		UNION ALL SELECT 'pg_conversion'::regclass, oid, 0, conowner, NULL, NULL FROM pg_conversion WHERE oid >= 16384
		UNION ALL SELECT 'pg_ts_config'::regclass, oid, 0, cfgowner, NULL, NULL FROM pg_ts_config WHERE oid >= 16384
		UNION ALL SELECT 'pg_ts_dict'::regclass, oid, 0, dictowner, NULL, NULL FROM pg_ts_dict WHERE oid >= 16384
		UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, 0, stxowner, NULL, NULL FROM pg_statistic_ext
		UNION ALL SELECT 'pg_publication'::regclass, oid, 0, pubowner, NULL, NULL FROM pg_publication
		UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 0, evtowner, NULL, NULL FROM pg_event_trigger
	)
	SELECT i.type || ' ' || i.identity, pg_get_userbyid(acl.owner) || ': ' || coalesce((
		SELECT string_agg(pg_get_userbyid(x.grantor) || '/' || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END || '/' || x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ' '
			ORDER BY pg_get_userbyid(x.grantor), CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type)
		FROM aclexplode(coalesce(acl.acl, acl.initial)) x), ''), ''
	FROM acl, pg_identify_object(acl.c, acl.oid, acl.sub) i WHERE i.identity IS NOT NULL
	UNION ALL
	SELECT 'default privileges of ' || pg_get_userbyid(defaclrole) || ' in ' || CASE defaclnamespace WHEN 0 THEN '-' ELSE defaclnamespace::regnamespace::text END || ' for ' || defaclobjtype::text,
		(SELECT string_agg(CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END || '/' || x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ' '
			ORDER BY CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type) FROM aclexplode(defaclacl) x),
		CASE defaclnamespace WHEN 0 THEN '' ELSE 'schema ' || defaclnamespace::regnamespace::text END
	FROM pg_default_acl`

// aboutDatabase lists the owner, privileges, settings and comment of a database.
const aboutDatabase = `
	SELECT 'database ' || key, value, '' FROM pg_database d, jsonb_each_text(to_jsonb(d) - ARRAY['oid', 'datname', 'datacl', 'datfrozenxid', 'datminmxid', 'datlastsysoid', 'dathasloginevt', 'datallowconn']) WHERE datname = $1 AND value IS NOT NULL
	UNION ALL SELECT 'database privileges', (SELECT string_agg(CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END || '/' || x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ' '
			ORDER BY CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type) FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) x), ''
		FROM pg_database WHERE datname = $1
	UNION ALL SELECT 'database comment', shobj_description(oid, 'pg_database'), '' FROM pg_database WHERE datname = $1
	UNION ALL SELECT 'database settings of ' || CASE setrole WHEN 0 THEN 'all' ELSE pg_get_userbyid(setrole) END, (SELECT string_agg(s, ', ' ORDER BY s) FROM unnest(setconfig) s), ''
		FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = $1`

// right is an owner with privileges, or a setting.
type right struct{ is, needs string }

// rightsOf reads access or aboutDatabase.
func rightsOf(ctx context.Context, q postgresQuerier, query string, args ...any) (map[string]right, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("backup: list the owners and privileges: %w", err)
	}
	defer rows.Close()
	list := map[string]right{}
	for rows.Next() {
		var object string
		var is, needs sql.NullString
		if err := rows.Scan(&object, &is, &needs); err != nil {
			return nil, fmt.Errorf("backup: list the owners and privileges: %w", err)
		}
		list[object] = right{is.String, needs.String}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("backup: list the owners and privileges: %w", err)
	}
	return list, nil
}

// errRights means that an overwriting restore would have changed privileges.
var errRights = errors.New("owners, privileges or settings would not be what they are now")

// compareRights compares the objects that both databases have. Settings of the database and
// default privileges must be in both, unless their schema is missing in one.
func compareRights(before, after map[string]right) error {
	var changed []string
	for object, was := range before {
		is, exists := after[object]
		if exists && is.is != was.is {
			changed = append(changed, fmt.Sprintf("%s: %q instead of %q", object, is.is, was.is))
		}
		if _, possible := after[was.needs]; was.needs != "" && !possible {
			continue
		}
		if !exists && (strings.HasPrefix(object, "database ") || strings.HasPrefix(object, "default privileges")) {
			changed = append(changed, fmt.Sprintf("%s: nothing instead of %q", object, was.is))
		}
	}
	for object, is := range after {
		if _, exists := before[object]; !exists && (strings.HasPrefix(object, "database settings") || strings.HasPrefix(object, "default privileges")) {
			changed = append(changed, fmt.Sprintf("%s: %q instead of nothing", object, is.is))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	slices.Sort(changed)
	return fmt.Errorf("backup: %w: %s", errRights, server.ShortList(changed))
}

// sameRights compares owners, privileges and settings of the original with those of the
// database that will replace it.
func (p *Source) sameRights(ctx context.Context, original, second string) error {
	db, err := p.open(second)
	if err != nil {
		return err
	}
	defer db.Close()
	before, err := rightsOf(ctx, p.db, access)
	if err != nil {
		return err
	}
	after, err := rightsOf(ctx, db, access)
	if err != nil {
		return err
	}
	if err := compareRights(before, after); err != nil {
		return err
	}
	if before, err = rightsOf(ctx, p.db, aboutDatabase, original); err != nil {
		return err
	}
	if after, err = rightsOf(ctx, p.db, aboutDatabase, second); err != nil {
		return err
	}
	return compareRights(before, after)
}
