package postgres

import (
	"context"
	"fmt"
)

// cluster describes the roles and tablespaces of the server that is restored to.
type cluster struct {
	superuser   bool
	user        string
	roles       map[string]bool // whether the restoring role may act as this role
	tablespaces []string
}

func clusterOf(ctx context.Context, q postgresQuerier) (c cluster, err error) {
	c.roles = map[string]bool{}
	if err := q.QueryRowContext(ctx, "SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&c.user, &c.superuser); err != nil {
		return c, fmt.Errorf("backup: read the PostgreSQL role: %w", err)
	}
	rows, err := q.QueryContext(ctx, "SELECT rolname, pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles")
	if err != nil {
		return c, fmt.Errorf("backup: list the PostgreSQL roles: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var member bool
		if err := rows.Scan(&name, &member); err != nil {
			return c, fmt.Errorf("backup: list the PostgreSQL roles: %w", err)
		}
		c.roles[name] = member
	}
	if err := rows.Err(); err != nil {
		return c, fmt.Errorf("backup: list the PostgreSQL roles: %w", err)
	}
	if c.tablespaces, err = queryStrings(ctx, q, "SELECT spcname FROM pg_tablespace"); err != nil {
		return c, fmt.Errorf("backup: list the tablespaces: %w", err)
	}
	return c, nil
}

func (c cluster) exists(role string) bool {
	_, ok := c.roles[role]
	return ok
}
