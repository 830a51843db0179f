package postgres

import (
	"context"
	"database/sql"
	"fmt"
)

// cluster describes the roles and tablespaces of the server that is restored to.
type cluster struct {
	superuser   bool
	user        string
	roles       map[string]bool // whether the restoring role may act as this role
	tablespaces []string
	labels      map[string]bool // whether the server has this provider of security labels
}

// labelled asks for the providers of the security labels in a dump. Without its provider a
// label cannot be restored, and has no effect.
func (c *cluster) labelled(ctx context.Context, db *sql.DB, list *toc) error {
	c.labels = map[string]bool{}
	for _, e := range list.entries {
		if e.kind.s != "SECURITY LABEL" {
			continue
		}
		for _, s := range statements(e.definition.s) {
			provider := labelProvider(s)
			if _, known := c.labels[provider]; known {
				continue
			}
			// The server looks for the provider before it looks for the object.
			err := alter(ctx, db, "DO "+quoteText("BEGIN SECURITY LABEL FOR "+provider+` ON SCHEMA "mainstay; no schema" IS NULL; EXCEPTION WHEN invalid_schema_name THEN NULL; END`))
			if ctx.Err() != nil {
				return err
			}
			c.labels[provider] = err == nil
		}
	}
	return nil
}

// labelProvider returns the quoted provider of a statement SECURITY LABEL FOR … ON ….
func labelProvider(statement string) string {
	if t := tokens(statement); len(t) > 3 && t[0] == "SECURITY" && t[1] == "LABEL" && t[2] == "FOR" {
		return t[3]
	}
	return ""
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
