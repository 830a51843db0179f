package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Original implements [driver.Abilities].
func (m *Source) Original(context.Context) (string, error) { return m.target.database, nil }

// Overwrite implements [driver.Abilities]: see [Job.RestoreOver].
func (m *Source) Overwrite(ctx context.Context, r io.Reader, o driver.RestoreOptions) (got driver.Contents, err error) {
	return got, errors.New("backup: overwriting is being rebuilt")
}

// createAnew drops the database and creates it, on one connection: no other can be made
// in between.
func (m *Source) createAnew(ctx context.Context) error {
	like := m.likeOriginal(ctx)
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer conn.Close()
	for _, statement := range []string{"DROP DATABASE ", "CREATE DATABASE "} {
		statement += quoteMySQL(m.target.database)
		if strings.HasPrefix(statement, "CREATE") {
			statement += like
		}
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("backup: %s: %w", statement, err)
		}
	}
	return nil
}
