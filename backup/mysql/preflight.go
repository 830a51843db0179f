package mysql

import (
	"context"
	"fmt"
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Preflight tells, without reading a row, whether [Source.Dump] would fail or leave
// something out: for missing grants, views that do not work, a client program that is
// not there. It warns of tables that a transaction does not protect.
func (m *Source) Preflight(ctx context.Context) ([]string, error) {
	on, err := m.server(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := m.dumper(ctx, on); err != nil {
		return nil, err
	}
	inv, err := m.complete(ctx, on)
	if err != nil {
		return nil, err
	}
	if err := m.brokenViews(ctx, inv.views); err != nil {
		return nil, err
	}
	var warnings []string
	if len(inv.unsafe) > 0 && !m.opts.LockTables {
		warnings = append(warnings, fmt.Sprintf("what is written to %s while the dump runs is in it by chance: ALTER TABLE … ENGINE=InnoDB, or set LockTables", server.ShortList(inv.unsafe)))
	}
	if len(inv.history) > 0 {
		warnings = append(warnings, fmt.Sprintf("the past rows of the system-versioned %s are not in the backup", server.ShortList(inv.history)))
	}
	if _, err := m.restorer(ctx, on); err != nil {
		warnings = append(warnings, "this host could not restore: "+strings.TrimPrefix(err.Error(), "backup: "))
	}
	return warnings, nil
}

// complete lists what must be in a dump, and fails if the account may not see or read
// all of it.
func (m *Source) complete(ctx context.Context, on mysqlServer) (mysqlInventory, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*m.opts.QueryTimeout)
	defer cancel()
	lines, err := queryStrings(ctx, m.db, "SHOW GRANTS")
	if err != nil {
		return mysqlInventory{}, fmt.Errorf("backup: read the grants of the account: %w", err)
	}
	grants := parseMySQLGrants(lines, m.target.database, on.fold)
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
	whole := " ON " + quoteMySQL(escapeLike(m.target.database)) + ".*"
	if len(missing) > 0 {
		list := strings.Join(missing, ", ")
		return mysqlInventory{}, fmt.Errorf("backup: the account lacks %s, and its dumps would lack what that hides: GRANT %s%s%s;", list, list, whole, to)
	}
	inv, err := inventMySQL(ctx, m.db, m.target.database, m.opts.QueryTimeout)
	if err != nil {
		return inv, err
	}
	readRoutines := "GRANT SELECT ON `mysql`.`proc`" + to
	if !on.mariadb() {
		readRoutines = "GRANT SHOW_ROUTINE ON *.*" + to
	}
	switch {
	case len(inv.broken) > 0:
		return inv, fmt.Errorf("backup: the server cannot open %s: repair or drop it", server.ShortList(inv.broken))
	case grants.routines && len(inv.hidden) == 0:
	case len(inv.hidden) > 0:
		return inv, fmt.Errorf("backup: the account may not read %s: %s;", server.ShortList(inv.hidden), readRoutines)
	case !grants.may("EXECUTE") && !grants.may("ALTER ROUTINE") && !grants.may("CREATE ROUTINE"):
		return inv, fmt.Errorf("backup: the account may not see procedures and functions, and its dumps would lack them: GRANT EXECUTE%s%s; or better %s;", whole, to, readRoutines)
	}
	return inv, nil
}

// brokenViews names the views at which the dump program would stop.
func (m *Source) brokenViews(ctx context.Context, views []string) error {
	var broken []string
	for _, view := range views {
		if err := m.openView(ctx, view); err != nil {
			if ctx.Err() != nil {
				return err
			}
			broken = append(broken, fmt.Sprintf("%s (%v)", view, err))
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("backup: views that do not work cannot be dumped: DROP VIEW, or repair, %s", server.ShortList(broken))
	}
	return nil
}

func (m *Source) openView(ctx context.Context, view string) error {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	rows, err := m.db.QueryContext(ctx, "SHOW COLUMNS FROM "+quoteMySQL(m.target.database)+"."+quoteMySQL(view))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() { // only whether it can be read matters
	}
	return rows.Err()
}

// quoteAccount writes user@host as GRANT takes it.
func quoteAccount(account string) string {
	at := max(strings.LastIndexByte(account, '@'), 0)
	user, host := account[:at], strings.TrimPrefix(account[at:], "@")
	return quoteMySQL(user) + "@" + quoteMySQL(host)
}
