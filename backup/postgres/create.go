package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// create creates the database for a restore. It returns false if the database exists and is
// empty.
func (p *Source) create(ctx context.Context, at anyServer, target string, o driver.RestoreOptions, withTablespace bool) (created bool, warnings []string, err error) {
	settings := o.Want.Settings
	var exists bool
	if err := at.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", target).Scan(&exists); err != nil {
		return false, nil, fmt.Errorf("backup: look for the database %q: %w", target, err)
	}
	if exists { // one transaction fills it, so that it is empty again after an interruption
		warnings, err := p.mustBeEmpty(ctx, target, settings)
		return false, warnings, err
	}
	if len(settings) == 0 { // an older backup without recorded settings
		if settings, err = settingsOf(ctx, at.db); err != nil {
			return false, nil, err
		}
		delete(settings, setNoPublic)
	}
	if err := o.Creating(ctx, target); err != nil {
		return false, nil, err
	}
	// template0 holds no local objects, and allows another encoding.
	statement := "CREATE DATABASE " + quotePostgres(target) + " TEMPLATE template0" + createOptions(settings, at.on.major, withTablespace)
	if err := alter(ctx, at.db, statement); err != nil {
		return false, nil, fmt.Errorf("backup: create the database %q (a role without CREATEDB can restore into an empty database that exists: name it as the target): %w", target, err)
	}
	if settings[setNoPublic] == "" {
		return true, nil, nil
	}
	db, err := p.open(target)
	if err == nil {
		err = errors.Join(alter(ctx, db, "DROP SCHEMA public"), db.Close())
	}
	if err != nil {
		return false, nil, errors.Join(fmt.Errorf("backup: drop the schema public, which the original does not have: %w", err), server.Left(p.drop(context.WithoutCancel(ctx), at.db, target)))
	}
	return true, nil, nil
}

// contents counts the objects of a database, except those of the server and of extensions.
const contents = `SELECT count(*) FROM (
	SELECT 'pg_class'::regclass AS class, oid, relnamespace AS namespace FROM pg_class
	UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
	UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
	UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
	UNION ALL SELECT 'pg_collation'::regclass, oid, collnamespace FROM pg_collation
	UNION ALL SELECT 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion
	UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config
	UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict
	UNION ALL SELECT 'pg_namespace'::regclass, oid, oid FROM pg_namespace WHERE nspname <> 'public'
	UNION ALL SELECT 'pg_largeobject'::regclass, oid, NULL FROM pg_largeobject_metadata
	UNION ALL SELECT 'pg_event_trigger'::regclass, oid, NULL FROM pg_event_trigger
	UNION ALL SELECT 'pg_publication'::regclass, oid, NULL FROM pg_publication
	UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, NULL FROM pg_foreign_data_wrapper
	UNION ALL SELECT 'pg_foreign_server'::regclass, oid, NULL FROM pg_foreign_server
	UNION ALL SELECT 'pg_cast'::regclass, oid, NULL FROM pg_cast WHERE oid >= 16384
) o LEFT JOIN pg_namespace n ON n.oid = o.namespace
WHERE coalesce(n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)', true)
	AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = o.class AND e.objid = o.oid AND e.deptype IN ('e', 'i'))`

// mustBeEmpty rejects a database that contains anything except extensions, that is a
// template, or that could not store the text of the dump. It warns about another sort order
// of text.
func (p *Source) mustBeEmpty(ctx context.Context, target string, settings map[string]string) (warnings []string, err error) {
	db, err := p.open(target)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var objects int
	if err := db.QueryRowContext(ctx, contents).Scan(&objects); err != nil {
		return nil, fmt.Errorf("backup: look into the database %q: %w", target, err)
	}
	var template bool
	if err := db.QueryRowContext(ctx, "SELECT datistemplate FROM pg_database WHERE datname = current_database()").Scan(&template); err != nil {
		return nil, fmt.Errorf("backup: look into the database %q: %w", target, err)
	}
	has, err := settingsOf(ctx, db)
	if err != nil {
		return nil, err
	}
	switch {
	case objects > 0:
		return nil, fmt.Errorf("backup: the database %q exists and holds %d objects: a restore goes into a new database or an empty one", target, objects)
	case template:
		return nil, fmt.Errorf("backup: the database %q is a template for new ones: restore into another", target)
	case settings[setEncoding] != "" && has[setEncoding] != settings[setEncoding]:
		return nil, fmt.Errorf("backup: the database %q has the encoding %s and the dump %s: create it with that encoding", target, has[setEncoding], settings[setEncoding])
	}
	for _, key := range slices.Sorted(slices.Values([]string{setCollate, setCtype, setProvider, setLocale, setRules})) {
		if settings[setEncoding] != "" && has[key] != settings[key] {
			warnings = append(warnings, fmt.Sprintf("the database %s has %s %q and the original %q: text may sort in another order", target, key, has[key], settings[key]))
		}
	}
	return warnings, nil
}
