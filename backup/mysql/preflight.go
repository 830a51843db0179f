package mysql

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Preflight checks, without reading a row, whether [Source.Dump] would fail or leave out an
// object. Causes are missing grants and views that do not work. It warns about tables
// without transactions.
func (m *Source) Preflight(ctx context.Context) ([]string, error) {
	on, err := m.server(ctx)
	if err != nil {
		return nil, err
	}
	inv, err := m.complete(ctx, on)
	if err != nil {
		return nil, err
	}
	var warnings []string
	broken, err := m.brokenViews(ctx, inv.views)
	if err != nil {
		return nil, err
	}
	for _, view := range slices.Sorted(maps.Keys(broken)) {
		warnings = append(warnings, fmt.Sprintf("the view %s does not work and will not be in the backup, which makes it suspect: DROP VIEW, or repair it (%s)", view, broken[view]))
	}
	for _, table := range slices.Sorted(maps.Keys(inv.broken)) {
		warnings = append(warnings, fmt.Sprintf("the server cannot open the table %s, which will not be in the backup: repair or drop it (%s)", table, inv.broken[table]))
	}
	if len(inv.unsafe) > 0 && !m.opts.LockTables {
		var tables []string
		for _, name := range inv.unsafe {
			tables = append(tables, fmt.Sprintf("%s (%s)", name, inv.engines[name]))
		}
		warnings = append(warnings, fmt.Sprintf("what is written to %s while the dump runs is in it by chance: ALTER TABLE … ENGINE=InnoDB, or set LockTables", server.ShortList(tables)))
	}
	return warnings, nil
}

// complete lists the objects that must be in a dump. It fails if the account cannot see or
// read all of them.
func (m *Source) complete(ctx context.Context, on serverInfo) (inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*m.opts.QueryTimeout)
	defer cancel()
	lines, err := m.texts(ctx, "SHOW GRANTS")
	if err != nil {
		return inventory{}, fmt.Errorf("backup: read the grants of the account: %w", err)
	}
	grants := parseGrants(lines, m.database, on.fold)
	needed := []string{"SELECT", "SHOW VIEW", "TRIGGER", "EVENT"}
	if m.opts.LockTables {
		needed = append(needed, "LOCK TABLES")
	}
	var missing []string
	for _, privilege := range needed {
		if !grants.may(privilege) {
			missing = append(missing, privilege)
		}
	}
	to := " TO " + quoteAccount(on.account)
	whole := " ON " + quote(escapeLike(m.database)) + ".*"
	if len(missing) > 0 {
		list := strings.Join(missing, ", ")
		return inventory{}, fmt.Errorf("backup: the account lacks %s, and its dumps would lack what that hides: GRANT %s%s%s;", list, list, whole, to)
	}
	inv, err := m.inventory(ctx, m.database)
	if err != nil {
		return inv, err
	}
	readRoutines := "GRANT SELECT ON `mysql`.`proc`" + to
	if !on.mariadb() {
		readRoutines = "GRANT SHOW_ROUTINE ON *.*" + to
	}
	switch {
	case grants.routines && len(inv.hidden) == 0:
	case len(inv.hidden) > 0:
		return inv, fmt.Errorf("backup: the account may not read %s: %s;", server.ShortList(inv.hidden), readRoutines)
	case !grants.may("EXECUTE") && !grants.may("ALTER ROUTINE") && !grants.may("CREATE ROUTINE"):
		return inv, fmt.Errorf("backup: the account may not see procedures and functions, and its dumps would lack them: GRANT EXECUTE%s%s; or better %s;", whole, to, readRoutines)
	}
	return inv, nil
}

// brokenViews returns the views that do not work, with the reasons.
func (m *Source) brokenViews(ctx context.Context, views []string) (map[string]string, error) {
	broken := make(map[string]string)
	s, err := m.open(ctx, "")
	if err != nil {
		return nil, err
	}
	defer s.end()
	for _, view := range views {
		if err := m.openView(ctx, s, view); err != nil {
			if ctx.Err() != nil || errorCode(err) == 0 {
				return nil, fmt.Errorf("backup: ask for the columns of the view %s: %w", view, err)
			}
			broken[view] = err.Error()
		}
	}
	return broken, nil
}

func (m *Source) openView(ctx context.Context, s session, view string) error {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	return eachRow(ctx, s, "SHOW COLUMNS FROM "+quote(m.database)+"."+quote(view), func([]string) {})
}
