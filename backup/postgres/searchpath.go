package postgres

import (
	"fmt"
	"slices"
	"strings"
)

// extensionSeesPath sets the search_path of the database for the functions of an extension.
// It stores the list of functions in a setting of the session.
const extensionSeesPath = `DO $mainstay$
DECLARE f record;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
		AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = NAME) AND p.prokind = 'f' AND l.lanname NOT IN ('c', 'internal')
		AND NOT EXISTS (SELECT 1 FROM pg_catalog.unnest(p.proconfig) s WHERE s LIKE 'search\_path=%') AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
	LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION %s SET search_path = ', f.oid::pg_catalog.regprocedure) || PATH;
		PERFORM pg_catalog.set_config('mainstay.functions', pg_catalog.concat(pg_catalog.current_setting('mainstay.functions', true), ',', f.oid), false);
	END LOOP;
END $mainstay$;
`

// extensionsAsBefore removes the settings of extensionSeesPath.
const extensionsAsBefore = `DO $mainstay$
DECLARE f pg_catalog.oid;
BEGIN
	FOR f IN SELECT pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.substr(pg_catalog.current_setting('mainstay.functions', true), 2), ','))::pg_catalog.oid
	LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION %s RESET search_path', f::pg_catalog.regprocedure);
	END LOOP;
END $mainstay$;
`

// functions lets functions without a search_path run with the search_path of the database
// until the restore has ended. pg_restore sets an empty search_path. With that, an index, a
// CHECK, a generated column or a materialized view fails if its function names a table or a
// type without its schema. Event triggers come last, so that they do not fire during the
// restore.
func (t *toc) functions(searchPath string) {
	last := 0
	var entries, triggers []*tocEntry
	var reset strings.Builder
	extensions := false
	for _, e := range t.entries {
		last = max(last, e.id)
		if e.kind.s == "EVENT TRIGGER" || e.isNote() && strings.HasPrefix(e.tag.s, "EVENT TRIGGER ") {
			triggers = append(triggers, e)
			continue
		}
		entries = append(entries, e)
		switch signature, isFunction := strings.CutPrefix(e.drop.s, "DROP FUNCTION "); {
		case e.kind.s == "EXTENSION":
			extensions = true
			e.definition.s += strings.NewReplacer("NAME", quoteText(e.tag.s), "PATH", quoteText(searchPath)).Replace(extensionSeesPath)
		case e.kind.s == "FUNCTION" && isFunction && needsPath(e.definition.s):
			signature = strings.TrimSuffix(strings.TrimSpace(signature), ";")
			e.definition.s += fmt.Sprintf("ALTER FUNCTION %s SET search_path TO %s;\n", signature, searchPath)
			fmt.Fprintf(&reset, "ALTER FUNCTION %s RESET search_path;\n", signature)
		}
	}
	if extensions {
		reset.WriteString(extensionsAsBefore)
	}
	if reset.Len() == 0 {
		t.entries = append(entries, triggers...)
		return
	}
	t.entries = slices.Concat(entries, []*tocEntry{atTheEnd(last+1, "search_path of functions", reset.String())}, triggers)
}

// needsPath reports whether the language of a function looks up names at run time, and the
// function has no search_path. Functions of triggers do not run during a restore.
func needsPath(definition string) bool {
	var before string
	language, own := "", false
	scan(definition, func(from, to int) bool {
		token := definition[from:to]
		switch {
		case before == "LANGUAGE":
			language = unquote(token)
		case before == "SET" && token == "search_path":
			own = true
		case before == "RETURNS" && (token == "trigger" || token == "event_trigger"):
			own = true
		}
		before = token
		return token != "AS" && !own
	})
	return !own && language != "" && language != "c" && language != "internal"
}

// softly lets a restore continue if a materialized view cannot be filled, for example
// because its owner has lost the right to read a table. The restore lists the view at the
// end. A view that needs another one through a function is filled in a later round.
func (t *toc) softly() (filled []string) {
	var tries strings.Builder
	last, at := 0, len(t.entries)
	for i, e := range t.entries {
		last = max(last, e.id)
		switch {
		case e.kind.s == "EVENT TRIGGER" && at > i:
			at = i
		case e.kind.s == "MATERIALIZED VIEW DATA":
			filled = append(filled, postgresName(e.schema.s, e.tag.s))
			once := "BEGIN " + e.definition.s + " EXCEPTION WHEN OTHERS THEN NULL; END"
			fmt.Fprintf(&tries, "IF NOT (SELECT relispopulated FROM pg_catalog.pg_class WHERE oid = %s::pg_catalog.regclass) THEN %s; END IF;\n",
				quoteText(quotePostgres(e.schema.s)+"."+quotePostgres(e.tag.s)), strings.Replace(once, " EXCEPTION", " filled := true; EXCEPTION", 1))
			e.definition = some("DO " + quoteText(once) + ";\n")
		}
	}
	if len(filled) > 1 {
		t.entries = slices.Insert(t.entries, at, atTheEnd(last+1, "materialized views",
			"DO "+quoteText("DECLARE filled bool := true; BEGIN WHILE filled LOOP filled := false;\n"+tries.String()+"END LOOP; END")+";\n"))
	}
	return filled
}

// session lets pg_restore write, also if transactions are read-only by default, and read the
// text of MONEY in the locale in which it was written, unless that is unknown. A materialized
// view is filled later, and in the locale of the database.
func (t *toc) session(monetary string) {
	for _, e := range t.entries {
		switch {
		case e.kind.s == "SEARCHPATH": // executed before all other entries; its query ends the choice of the mode
			e.definition.s = "SET default_transaction_read_only = off;\nSET transaction_read_only = off;\n" + e.definition.s
			if monetary != "" {
				e.definition.s += "SET lc_monetary = " + quoteText(monetary) + ";\n"
			}
		case e.kind.s == "MATERIALIZED VIEW DATA" && monetary != "":
			e.definition.s = "RESET lc_monetary;\n" + e.definition.s
		}
	}
}

// atTheEnd is an entry that pg_restore executes after it has refreshed materialized views.
func atTheEnd(id int, tag, definition string) *tocEntry {
	const postData = 4
	return &tocEntry{
		id: id, tableOID: some("0"), oid: some("0"), tag: some(tag), kind: some("EVENT TRIGGER"), section: postData,
		definition: some(definition), drop: some(""), owner: some(""), withOIDs: some("false"),
	}
}
