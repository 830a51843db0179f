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
	on, err := m.server(ctx)
	if err != nil {
		return driver.Contents{}, err
	}
	roles, users, err := m.listAccounts(ctx, on)
	if err != nil {
		return driver.Contents{}, err
	}
	s, err := m.open(ctx, "")
	if err != nil {
		return driver.Contents{}, err
	}
	defer s.end()
	a := accounts{source: m, s: s, fold: on.fold, lines: []string{
		"-- Accounts and roles with rights on the database " + strings.ReplaceAll(m.database, "\n", " ") + ". To create them: mariadb < FILE",
		"-- Server version " + on.version,
	}}
	for _, role := range roles {
		if err := a.add(ctx, quote(strings.TrimSuffix(role, "@")), true); err != nil {
			return a.contents, err
		}
	}
	for _, user := range users {
		if err := a.add(ctx, quoteAccount(user), false); err != nil {
			return a.contents, err
		}
	}
	_, err = io.WriteString(w, strings.Join(append(a.lines, a.grants...), "\n")+"\n-- Dump completed\n")
	return a.contents, err
}

// listAccounts returns the sorted names of all roles and all other accounts.
func (m *Source) listAccounts(ctx context.Context, on serverInfo) (roles, users []string, err error) {
	isRole := "''"
	if on.mariadb() {
		isRole = "is_role"
	}
	err = m.each(ctx, "SELECT User, Host, "+isRole+" FROM mysql.user", func(r []string) {
		if account := r[0] + "@" + r[1]; r[2] == "Y" {
			roles = append(roles, account)
		} else {
			users = append(users, account)
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("backup: list the accounts (GRANT SELECT ON `mysql`.* to the account that backs up): %w", err)
	}
	slices.Sort(roles)
	slices.Sort(users)
	return roles, users, nil
}

// accounts collects the statements of the accounts.
type accounts struct {
	source   *Source
	s        session
	fold     bool
	contents driver.Contents
	lines    []string // create the accounts
	grants   []string // follow all of them, because a role may be granted to a role
}

// add adds an account or a role with its grants, if it has rights on the database.
func (a *accounts) add(ctx context.Context, name string, isRole bool) error {
	list, err := texts(ctx, a.s, "SHOW GRANTS FOR "+name)
	if errorCode(err) == 1141 { // an account by host name, which the server does not resolve
		a.contents.Warnings = append(a.contents.Warnings, "the server does not use the account "+name+", and it is left out")
		return nil
	}
	if err != nil {
		return fmt.Errorf("backup: read the grants of %s: %w", name, err)
	}
	own, relevant := a.ownGrants(list)
	switch {
	case !relevant:
		return nil
	case isRole && name == "`PUBLIC`": // exists on each server
	case isRole:
		a.lines = append(a.lines, "CREATE ROLE IF NOT EXISTS "+name+";")
	default:
		create, err := texts(ctx, a.s, "SHOW CREATE USER "+name)
		if err != nil || len(create) != 1 {
			return fmt.Errorf("backup: read the account %s: %w", name, err)
		}
		a.lines = append(a.lines, strings.Replace(create[0], "CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)+";")
	}
	a.grants = append(a.grants, own...)
	return nil
}

// ownGrants returns the grants that the backup holds, and whether any of them gives rights on
// the database.
func (a *accounts) ownGrants(list []string) (own []string, relevant bool) {
	database := a.source.database
	for _, line := range list {
		g, ok := parseGrant(line)
		routine := routineGrant.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "GRANT PROXY "):
			continue
		case routine != nil:
			if strings.ReplaceAll(routine[1], "``", "`") != database {
				continue
			}
			relevant = true
		case !ok || g.database == "*":
			relevant = relevant || !ok || !slices.Equal(g.privileges, []string{"USAGE"})
		case g.database == "mysql": // a backup reads its tables
		case g.database == database || likeMatches(g.database, database, a.fold):
			relevant = true
		default:
			continue
		}
		own = append(own, line+";")
	}
	return own, relevant
}
