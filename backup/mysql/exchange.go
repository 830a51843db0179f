package mysql

import (
	"bytes"
	"context"
	"slices"
	"strings"
)

// dropDefinitions drops the objects of a list. It keeps those that an object of the other
// list will replace.
func (x *exchange) dropDefinitions(ctx context.Context, list, replacing []definition) error {
	for _, d := range list {
		kind, _, _ := strings.Cut(d.object, " ")
		if kind == "package-body" {
			continue // dropped with its package
		}
		if x.replaces(d) && slices.ContainsFunc(replacing, func(r definition) bool { return r.object == d.object }) {
			continue
		}
		if err := x.s.drop(ctx, kind, d.mark.Name); err != nil {
			return err
		}
	}
	return nil
}

// replaces reports whether CREATE OR REPLACE can create an object of this kind. CREATE OR
// REPLACE keeps the rights on a routine, even if the process is killed during the restore.
func (x *exchange) replaces(d definition) bool {
	kind, _, _ := strings.Cut(d.object, " ")
	return d.kind == kindView || x.mariadb && (kind == "function" || kind == "procedure")
}

// define creates definitions in the original. It sets the states of events, and grants the
// rights on routines again.
func (x *exchange) define(ctx context.Context, list []definition) error {
	r := &restoring{m: x.m, target: x.m.database, s: x.s, strict: true, events: make(map[string]string), lost: make(map[string]bool)}
	for _, d := range list {
		st := statement{d.kind, d.mark, d.text}
		const create, orReplace = "CREATE ", "OR REPLACE "
		if x.replaces(d) && bytes.HasPrefix(d.text, []byte(create)) {
			st.text = slices.Concat([]byte(create+orReplace), d.text[len(create):])
			if st.Clause[1] > 0 {
				st.Clause[0], st.Clause[1] = st.Clause[0]+len(orReplace), st.Clause[1]+len(orReplace)
			}
		}
		if d.kind == kindEvent {
			st.text = eventAs(d.text, d.mark.Status) // ALTER EVENT would change the settings under which the event was created
		}
		err := r.define(ctx, &st)
		if d.kind == kindView && (errorCode(err) == codeNoTable || errorCode(err) == codeViewInvalid) {
			r.views, err = append(r.views, st), nil
		}
		if err == nil && d.kind != kindView {
			err = r.waitingViews(ctx, true)
		}
		if err != nil {
			return err
		}
	}
	if err := r.waitingViews(ctx, true); err != nil {
		return err
	}
	x.warnings = append(x.warnings, r.pastWarning()...)
	for _, grant := range x.grants {
		if err := x.s.exec(ctx, grant); err != nil && errorCode(err) != 1305 { // of a routine that no longer exists
			x.warnings = append(x.warnings, "a right on a routine was not given again: "+grant)
		}
	}
	return nil
}

// definitionsOf reads the definitions of a database, except broken views.
func (m *Source) definitionsOf(ctx context.Context, on serverInfo, database string, broken map[string]string) ([]definition, error) {
	other := *m
	other.database = database
	s, err := m.open(ctx, database)
	if err != nil {
		return nil, err
	}
	defer s.end()
	d := &dumping{m: &other, s: s, server: on, skipped: make(map[string]bool)}
	for view := range broken {
		d.skipped["view "+view] = true
	}
	return d.definitions(ctx)
}

// routineGrants returns statements that grant the rights on single routines again. Dropping
// a routine removes these rights.
func (m *Source) routineGrants(ctx context.Context) []string {
	var grants []string
	_ = m.each(ctx, "SELECT User, Host, Routine_name, Routine_type, Proc_priv FROM mysql.procs_priv WHERE Db = ?", func(r []string) {
		var rights []string
		option := ""
		for _, right := range strings.Split(r[4], ",") {
			switch strings.ToUpper(right) {
			case "GRANT":
				option = " WITH GRANT OPTION"
			case "EXECUTE", "ALTER ROUTINE", "SHOW CREATE ROUTINE":
				rights = append(rights, right)
			}
		}
		if len(rights) == 0 {
			rights = []string{"USAGE"}
		}
		grants = append(grants, "GRANT "+strings.Join(rights, ", ")+" ON "+r[3]+" "+quote(m.database)+"."+quote(r[2])+" TO "+quoteAccount(r[0]+"@"+r[1])+option)
	}, m.database) // without the right to read the grants, the restore leaves them out; the safety backup has them
	return grants
}
