package postgres

import (
	"slices"
	"strings"
)

// functionsSeePath is SQL that lets functions without a search_path of their own run under
// that of the database. pg_restore runs with an empty one, under which an index, a CHECK,
// a generated column or a materialized view fails if its function names a table or a type
// without its schema. The functions get the setting before the first row is loaded.
const functionsSeePath = `DO $mainstay$
DECLARE f record; changed text := '';
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		WHERE p.oid >= 16384 AND p.prokind = 'f' AND l.lanname NOT IN ('c', 'internal') AND pg_catalog.to_jsonb(p)->>'prosqlbody' IS NULL
		AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
		AND NOT EXISTS (SELECT 1 FROM pg_catalog.unnest(p.proconfig) s WHERE s LIKE 'search\_path=%')
		AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
	LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION %s SET search_path = ', f.oid::pg_catalog.regprocedure) || PATH;
		changed := changed || ',' || f.oid;
	END LOOP;
	PERFORM pg_catalog.set_config('mainstay.functions', changed, false);
END $mainstay$;
`

// functionsAsBefore takes the setting away again.
const functionsAsBefore = `DO $mainstay$
DECLARE f pg_catalog.oid;
BEGIN
	FOR f IN SELECT pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.substr(pg_catalog.current_setting('mainstay.functions', true), 2), ','))::pg_catalog.oid
	LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION %s RESET search_path', f::pg_catalog.regprocedure);
	END LOOP;
END $mainstay$;
`

// The sections of an archive.
const (
	sectionPreData  = 2
	sectionData     = 3
	sectionPostData = 4
)

// functions adds the two statements above, each as an entry at its place. Event triggers
// move behind the second one: they do not fire during a restore.
func (t *toc) functions(searchPath string) {
	if !slices.ContainsFunc(t.entries, func(e *tocEntry) bool { return e.kind.s == "FUNCTION" || e.kind.s == "EXTENSION" }) {
		return
	}
	last := 0
	for _, e := range t.entries {
		last = max(last, e.id)
	}
	entry := func(id int, kind, definition string, section int) *tocEntry {
		return &tocEntry{
			id: id, tableOID: some("0"), oid: some("0"), tag: some("search_path of functions"), kind: some(kind), section: section,
			definition: some(definition), drop: some(""), owner: some(""), withOIDs: some("false"),
		}
	}
	before := entry(last+1, "SEARCH PATH", strings.ReplaceAll(functionsSeePath, "PATH", quoteText(searchPath)), sectionPreData)
	// pg_restore executes entries of this kind last, after it refreshed materialized views.
	after := entry(last+2, "EVENT TRIGGER", functionsAsBefore, sectionPostData)
	var entries, triggers []*tocEntry
	for _, e := range t.entries {
		if before != nil && (e.section == sectionData || e.section == sectionPostData) {
			entries, before = append(entries, before), nil
		}
		if e.kind.s == "EVENT TRIGGER" || e.isNote() && strings.HasPrefix(e.tag.s, "EVENT TRIGGER ") {
			triggers = append(triggers, e)
			continue
		}
		entries = append(entries, e)
	}
	if before != nil {
		entries = append(entries, before)
	}
	t.entries = slices.Concat(entries, []*tocEntry{after}, triggers)
}
