package mysql

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// definition is a view, trigger, routine or event in the format of a dump.
type definition struct {
	kind string
	mark mark
	text []byte
	// object is its readable name: "view rich".
	object string
}

// definitions reads every definition except broken views, in an order in which they can be
// created: routines, views after the views that they read, triggers, events.
func (d *dumping) definitions(ctx context.Context) ([]definition, error) {
	var all []definition
	for _, list := range []struct {
		what, query string
		of          func(r []string) (kind, show string, m mark)
		column      string
	}{
		{"routines", `SELECT ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION
			FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ? ORDER BY ROUTINE_TYPE <> 'PACKAGE', ROUTINE_TYPE, ROUTINE_NAME`, func(r []string) (string, string, mark) {
			return kindRoutine, r[0] + " " + quote(r[1]), mark{Name: r[1], Settings: &creation{Mode: r[2], Client: r[3], Collation: r[4], Database: r[5]}}
		}, "Create "},
		{"views", `SELECT TABLE_SCHEMA, 'VIEW', TABLE_NAME, '', CHARACTER_SET_CLIENT, COLLATION_CONNECTION, ''
			FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME`, func(r []string) (string, string, mark) {
			return kindView, "VIEW " + quote(r[1]), mark{Name: r[1], Settings: &creation{Mode: r[2], Client: r[3], Collation: r[4], Database: r[5]}}
		}, "Create View"},
		{"triggers", `SELECT TRIGGER_SCHEMA, 'TRIGGER', TRIGGER_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION, EVENT_OBJECT_TABLE
			FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ? ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER`, func(r []string) (string, string, mark) {
			return kindTrigger, "TRIGGER " + quote(r[1]), mark{Name: r[1], Table: r[6], Settings: &creation{Mode: r[2], Client: r[3], Collation: r[4], Database: r[5]}}
		}, "SQL Original Statement"},
		{"events", `SELECT EVENT_SCHEMA, 'EVENT', EVENT_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION, STATUS, TIME_ZONE
			FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? ORDER BY EVENT_NAME`, func(r []string) (string, string, mark) {
			return kindEvent, "EVENT " + quote(r[1]), mark{Name: r[1], Status: r[6], Settings: &creation{Mode: r[2], Client: r[3], Collation: r[4], Database: r[5], Zone: r[7]}}
		}, "Create Event"},
	} {
		var rows [][]string
		if err := eachRow(ctx, d.s, list.query, ofSchema(d.m.database, d.server.fold, func(r []string) { rows = append(rows, r) }), d.m.database); err != nil {
			return nil, fmt.Errorf("backup: list the %s: %w", list.what, err)
		}
		first := len(all)
		for _, r := range rows {
			kind, show, m := list.of(r)
			object := strings.ToLower(strings.ReplaceAll(r[0], " ", "-")) + " " + m.Name
			if d.skipped[object] {
				continue
			}
			text, err := d.show(ctx, show, list.column, m.Settings.Client)
			if err != nil {
				if errorCode(err) == codeNoTable || kind != kindView && strings.Contains(err.Error(), "does not exist") {
					d.warn(object + " was dropped while the dump ran")
					continue
				}
				return nil, fmt.Errorf("backup: read the %s: %w", object, err)
			}
			if len(text) == 0 {
				return nil, fmt.Errorf("backup: the account may not read the %s", object)
			}
			all = append(all, d.prepare(kind, object, m, text))
		}
		if list.what == "views" {
			sortViews(all[first:])
		}
	}
	return all, nil
}

// show runs SHOW CREATE in the character set of the definition, so that it returns the
// original text.
func (d *dumping) show(ctx context.Context, what, column, charset string) ([]byte, error) {
	if !charsetName.MatchString(charset) {
		charset = "utf8mb4"
	}
	if err := d.s.exec(ctx, "SET character_set_results = "+charset); err != nil {
		return nil, err
	}
	rows, err := d.s.QueryContext(ctx, "SHOW CREATE "+what)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var text []byte
	to := make([]any, len(columns))
	for i, name := range columns {
		to[i] = new(any)
		if strings.HasPrefix(name, column) && text == nil {
			to[i] = &text
		}
	}
	if rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
	}
	return text, rows.Err()
}

var charsetName = regexp.MustCompile(`^[a-z0-9_]+$`)

// prepare removes the qualifiers from a definition, and disables an event.
func (d *dumping) prepare(kind, object string, m mark, text []byte) definition {
	text, hidden := unqualify(text, d.m.database, d.server.fold, m.Settings.Mode)
	if hidden {
		d.warn(fmt.Sprintf("the %s names the database in a literal or in a statement about the database, which a restore under another name does not change", object))
	}
	if kind == kindEvent {
		text = eventAs(text, "DISABLED")
	}
	m.Definer, m.Clause = definerOf(text, m.Settings.Mode)
	return definition{kind, m, text, object}
}

var eventState = regexp.MustCompile(`(?is)^(.*?\sON COMPLETION (?:NOT )?PRESERVE)\s+(ENABLE|DISABLE ON SLAVE|DISABLE ON REPLICA|DISABLE)\b`)

// eventAs changes the state in the text of SHOW CREATE EVENT. The clauses before the state
// come from the server.
func eventAs(text []byte, status string) []byte {
	state := map[string]string{"ENABLED": "ENABLE", "SLAVESIDE_DISABLED": "DISABLE ON SLAVE"}[status]
	return eventState.ReplaceAll(text, []byte("${1} "+cmp.Or(state, "DISABLE")))
}

// sortViews sorts views after the views whose names they contain.
func sortViews(views []definition) {
	names := make(map[string]int, len(views))
	for i := range views {
		names[views[i].mark.Name] = i
	}
	uses := make([][]int, len(views))
	for i := range views {
		eachName(views[i].text, func(name string) {
			if j, is := names[name]; is && j != i {
				uses[i] = append(uses[i], j)
			}
		})
	}
	var sorted []definition
	state := make([]int, len(views))
	var visit func(i int)
	visit = func(i int) {
		if state[i] > 0 {
			return
		}
		state[i] = 1
		for _, j := range uses[i] {
			visit(j)
		}
		sorted = append(sorted, views[i])
	}
	for i := range views {
		visit(i)
	}
	copy(views, slices.Clone(sorted))
}

// withoutSkipped leaves out the views that read a table or view that is not in the dump. A
// view follows the views that it reads.
func (d *dumping) withoutSkipped(all []definition) []definition {
	return slices.DeleteFunc(all, func(v definition) bool {
		missing := ""
		if v.kind != kindView || len(d.skipped) == 0 {
			return false
		}
		eachName(v.text, func(name string) {
			for _, kind := range []string{"table ", "view "} {
				if d.skipped[kind+name] && kind+name != v.object {
					missing = kind + name
				}
			}
		})
		if missing != "" {
			d.skip(v.object, "it reads the "+missing+", which is not in the backup")
		}
		return missing != ""
	})
}

// eachName calls do with each name and keyword of a definition, outside of literals.
func eachName(text []byte, do func(name string)) {
	r := newRewriter(text, "")
	for at := 0; at < len(text); {
		if next := r.blank(at); next > at {
			at = next
			continue
		}
		if text[at] == '\'' || text[at] == '"' {
			at = r.literal(at)
			continue
		}
		name, end, _ := r.word(at)
		if end > at {
			do(name)
		}
		at = max(end, at+1)
	}
}
