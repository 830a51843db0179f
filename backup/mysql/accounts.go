package mysql

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

var routineGrant = regexp.MustCompile("^GRANT .* ON (?:PROCEDURE|FUNCTION|PACKAGE|PACKAGE BODY) `((?:[^`]|``)*)`\\.")

// Accounts writes the accounts and roles with rights on the database, or on all databases,
// with these rights and those on the database mysql, as statements for the client program
// mariadb. They hold hashes of
// passwords. The account must be allowed to read the tables of the database mysql.
func (m *Source) Accounts(ctx context.Context, w io.Writer) (driver.Contents, error) {
	var c driver.Contents
	on, err := m.server(ctx)
	if err != nil {
		return c, err
	}
	accounts := make(map[string]bool) // true: a role
	role := "''"
	if on.mariadb() {
		role = "is_role"
	}
	for _, query := range []string{
		"SELECT User, Host, " + role + ", '' FROM mysql.user",
	} {
		if err := eachRow(ctx, m.db, query, func(r []string) { accounts[r[0]+"@"+r[1]] = r[2] == "Y" }); err != nil {
			return c, fmt.Errorf("backup: list the accounts (GRANT SELECT ON `mysql`.* to the account that backs up): %w", err)
		}
	}
	lines := []string{
		"-- Accounts and roles with rights on the database " + strings.ReplaceAll(m.database, "\n", " ") + ". To create them: mariadb < FILE",
		"-- Server version " + on.version,
	}
	var roles, users []string
	for account, isRole := range accounts {
		if isRole {
			roles = append(roles, account)
		} else {
			users = append(users, account)
		}
	}
	slices.Sort(roles)
	slices.Sort(users)
	var grants []string
	add := func(account string, isRole bool) error {
		name := quoteAccount(account)
		if isRole {
			name = quote(strings.TrimSuffix(account, "@"))
		}
		lists, err := queryStrings(ctx, m.db, "SHOW GRANTS FOR "+name)
		if errorCode(err) == 1141 { // an account by host name, which the server does not resolve
			c.Warnings = append(c.Warnings, "the server does not use the account "+name+", and it is left out")
			return nil
		}
		if err != nil {
			return fmt.Errorf("backup: read the grants of %s: %w", name, err)
		}
		relevant := false
		var own []string
		for _, line := range lists {
			g, ok := parseGrant(line)
			routine := routineGrant.FindStringSubmatch(line)
			switch {
			case strings.HasPrefix(line, "GRANT PROXY "):
			case routine != nil:
				if strings.ReplaceAll(routine[1], "``", "`") == m.database {
					relevant = true
					own = append(own, line+";")
				}
			case !ok || g.database == "*":
				relevant = relevant || ok && !slices.Equal(g.privileges, []string{"USAGE"}) || !ok
				own = append(own, line+";")
			case g.database == "mysql": // a backup reads its tables
				own = append(own, line+";")
			case likeMatches(g.database, m.database, on.fold) || g.database == m.database:
				relevant = true
				own = append(own, line+";")
			}
		}
		if !relevant {
			return nil
		}
		if isRole && name == "`PUBLIC`" { // exists on each server
			grants = append(grants, own...)
			return nil
		}
		if isRole {
			lines = append(lines, "CREATE ROLE IF NOT EXISTS "+name+";")
		} else {
			create, err := queryStrings(ctx, m.db, "SHOW CREATE USER "+name)
			if err != nil || len(create) != 1 {
				return fmt.Errorf("backup: read the account %s: %w", name, err)
			}
			lines = append(lines, strings.Replace(create[0], "CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)+";")
		}
		grants = append(grants, own...)
		return nil
	}
	for _, account := range roles {
		if err := add(account, true); err != nil {
			return c, err
		}
	}
	for _, account := range users {
		if err := add(account, false); err != nil {
			return c, err
		}
	}
	_, err = io.WriteString(w, strings.Join(append(lines, grants...), "\n")+"\n-- Dump completed\n")
	return c, err
}
