// Package dbreport reads the state of a database: the size of its tables, their indexes and
// foreign keys, and which indexes are missing or unnecessary.
package dbreport

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// Report is the state of one database.
type Report struct {
	Engine  string `json:"engine"`
	Version string `json:"version"`
	Bytes   int64  `json:"bytes"`
	// FreeBytes are unused bytes in the files. SQLite only.
	FreeBytes int64 `json:"free_bytes"`
	// ConnectMicros is the time of a new connection and its first response.
	ConnectMicros int64   `json:"connect_us"`
	Tables        []Table `json:"tables"`

	Unindexed []ForeignKey `json:"foreign_keys_without_index"`
	Doubled   []Doubled    `json:"doubled_indexes"`
	// Unused is null if the engine does not count the use of its indexes.
	Unused []IndexName `json:"unused_indexes"`
}

// Table is a table with its indexes. Report lists the largest table first.
type Table struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
	// Estimated means that Rows comes from the engine's statistics, because counting would take
	// long.
	Estimated bool    `json:"estimated,omitempty"`
	Bytes     int64   `json:"bytes"` // with its indexes
	Indexes   []Index `json:"indexes"`

	foreignKeys []ForeignKey
}

// Index is an index over the columns, in this order.
type Index struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Unique  bool     `json:"unique"`
	Primary bool     `json:"primary"`
	// Partial means that the index contains only some rows, so it cannot replace another index.
	Partial bool `json:"partial,omitempty"`
	// Scans is the number of uses since the engine began to count, or null if it does not count.
	Scans *int64 `json:"scans"`
}

// ForeignKey is a reference from a table to another.
type ForeignKey struct {
	Table      string   `json:"table"`
	Columns    []string `json:"columns"`
	References string   `json:"references"`

	name string
}

// IndexName names an index of a table.
type IndexName struct {
	Table string `json:"table"`
	Index string `json:"index"`
}

// Doubled is an index that another index makes unnecessary.
type Doubled struct {
	IndexName

	By string `json:"by"`
}

// countBelow is the largest number of rows that Read counts.
const countBelow = 2_000_000

// Read returns the report. It changes no data. It counts the rows of all tables except large
// ones.
func Read(ctx context.Context, db *sql.DB, engine settings.Engine) (*Report, error) {
	c := catalogues[engine]
	r := &Report{Engine: cmp.Or(string(engine), "sqlite"), Unindexed: []ForeignKey{}, Doubled: []Doubled{}}
	start := time.Now()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.QueryRowContext(ctx, c.version).Scan(&r.Version); err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	r.ConnectMicros = time.Since(start).Microseconds()
	if err := conn.QueryRowContext(ctx, c.size).Scan(&r.Bytes, &r.FreeBytes); err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	if r.Tables, err = c.read(ctx, conn); err != nil {
		return nil, err
	}
	for i := range r.Tables {
		r.judge(&r.Tables[i])
	}
	slices.SortStableFunc(r.Tables, func(a, b Table) int { return int(min(max(b.Bytes-a.Bytes, -1), 1)) })
	return r, nil
}

// judge finds missing and unnecessary indexes of a table.
func (r *Report) judge(t *Table) {
	for _, fk := range t.foreignKeys {
		if !slices.ContainsFunc(t.Indexes, fk.servedBy) {
			r.Unindexed = append(r.Unindexed, fk)
		}
	}
	for i, x := range t.Indexes {
		name := IndexName{Table: t.Name, Index: x.Name}
		if x.Scans != nil {
			if r.Unused == nil {
				r.Unused = []IndexName{}
			}
			// A unique index is useful even if no query reads it. So is an index that a deletion in
			// another table needs.
			needed := slices.ContainsFunc(t.foreignKeys, func(fk ForeignKey) bool { return fk.servedBy(x) })
			if *x.Scans == 0 && !x.Unique && !needed {
				r.Unused = append(r.Unused, name)
			}
		}
		for j, other := range t.Indexes {
			if i != j && other.covers(x) && (!x.covers(other) || i > j) {
				r.Doubled = append(r.Doubled, Doubled{IndexName: name, By: other.Name})
				break
			}
		}
	}
}

// servedBy reports whether an index begins with the columns of the foreign key, in any order.
func (fk ForeignKey) servedBy(x Index) bool {
	if x.Partial || len(x.Columns) < len(fk.Columns) {
		return false
	}
	for _, column := range x.Columns[:len(fk.Columns)] {
		if !slices.Contains(fk.Columns, column) {
			return false
		}
	}
	return true
}

// covers reports whether x serves each query that other serves.
func (x Index) covers(other Index) bool {
	if x.Partial || other.Partial || len(x.Columns) < len(other.Columns) || !slices.Equal(x.Columns[:len(other.Columns)], other.Columns) {
		return false
	}
	if !other.Unique {
		return true
	}
	return x.Unique && len(x.Columns) == len(other.Columns) && (x.Primary || !other.Primary)
}
