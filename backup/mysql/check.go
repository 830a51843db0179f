package mysql

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// checking reads restored tables back while the next tables are restored.
type checking struct {
	m        *Source
	s        session
	database string
	names    chan string
	done     chan struct{}
	tables   []driver.Table
	err      error // read after done
	failed   chan struct{}
}

func (m *Source) check(ctx context.Context, database string) (*checking, error) {
	s, err := m.open(ctx, database)
	if err != nil {
		return nil, err
	}
	c := &checking{m: m, s: s, database: database, names: make(chan string, 16), done: make(chan struct{}), failed: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer s.end()
		for name := range c.names {
			if c.err != nil {
				continue
			}
			t, err := m.measure(ctx, s, database, name)
			if err != nil {
				c.err = fmt.Errorf("backup: read the restored table %s back: %w", name, err)
				close(c.failed)
				continue
			}
			c.tables = append(c.tables, t)
		}
	}()
	return c, nil
}

// table starts to read a table back.
func (c *checking) table(ctx context.Context, name string) error {
	select {
	case c.names <- name:
		return nil
	case <-c.failed:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end returns the measured tables by name.
func (c *checking) end() ([]driver.Table, error) {
	close(c.names)
	<-c.done
	slices.SortFunc(c.tables, func(a, b driver.Table) int { return cmp.Compare(a.Name, b.Name) })
	return c.tables, c.err
}

// measure reads a table in the format of a dump.
func (m *Source) measure(ctx context.Context, s session, database, table string) (driver.Table, error) {
	engine := ""
	fold, err := foldsNames(ctx, s)
	if err != nil {
		return driver.Table{}, err
	}
	err = eachRow(ctx, s, "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
		ofSchema(database, fold, ofSchema(table, fold, func(r []string) { engine = r[0] })), database, table)
	if err != nil {
		return driver.Table{}, err
	}
	if rowless[engine] {
		return driver.Table{Name: table}, nil
	}
	t, err := m.readable(ctx, s, database, table)
	if err != nil {
		return driver.Table{}, err
	}
	var meter driver.Meter
	err = readRows(ctx, s, t.query, t.columns, func(row []byte, _ []int) error {
		meter.Row(row)
		return nil
	})
	return meter.Table(table), err
}
