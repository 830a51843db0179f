package driver

import (
	"fmt"
	"slices"
	"strings"
)

// Contents lists the tables and other objects of a dump or of a database.
type Contents struct {
	ServerVersion string `json:"server_version,omitempty"` // of the database server or of SQLite; "" for a folder, a command or a bundle
	ClientVersion string `json:"client_version,omitempty"` // of the program that made the dump, such as pg_dump; "" without one
	// Consistency says how the dump is consistent: "vacuum-into", "single-transaction",
	// "snapshot:…".
	Consistency string `json:"consistency,omitempty"`
	// Position is the position of the server's log at that time; nil if it is unknown.
	Position *Position `json:"position,omitempty"`
	// Settings are the settings of the database that a restore gives to the new one: its
	// character set, collation, encoding, locale. Each source has its own keys.
	Settings map[string]string `json:"settings,omitempty"`
	Tables   []Table           `json:"tables"`   // with their rows; a folder has "files", "folders" and "links"
	Views    int64             `json:"views"`    // number of views, materialized ones too
	Triggers int64             `json:"triggers"` // number of triggers
	Routines int64             `json:"routines"` // number of functions, procedures, aggregates and packages
	Events   int64             `json:"events"`   // number of scheduled events, in MariaDB and MySQL only
	// Skipped lists objects of the database that are missing in the dump. A backup with
	// skipped objects is suspect.
	Skipped []Skipped `json:"skipped,omitempty"`
	// Warnings are texts for the operator. They do not make the dump or the restore fail.
	Warnings []string `json:"warnings,omitempty"`
	// Parts are the parts of a backup of several sources, in the order of the dump. Their
	// tables, skipped objects and warnings are in the fields above, with the name of the
	// part as a prefix.
	Parts []Part `json:"parts,omitempty"`
}

// Part lists the contents of one source of several.
type Part struct {
	Name string `json:"name"` // the prefix of its tables in the whole backup, without the slash
	Contents
}

// Table is a table of a dump.
type Table struct {
	Name string `json:"name"` // "sales", or "public.sales" in PostgreSQL; a bundle puts "part/" in front
	Rows int64  `json:"rows"` // exact
	// Bytes is the length of the rows in the format of the dump; 0 if it is unknown.
	Bytes int64 `json:"bytes,omitempty"`
	// Packed is the compressed length of the rows in bytes, estimated from a sample; 0 if
	// it is unknown. Text that was replaced by random bytes compresses badly.
	Packed int64 `json:"packed,omitempty"`
	// Digest is equal for equal rows in any order ([Meter]); "" if it is unknown.
	Digest string `json:"digest,omitempty"`
	// Columns are measured in a sample of the rows; nil if they are unknown.
	Columns []Column `json:"columns,omitempty"`
}

// Column describes a column in a sample of the rows of a table.
type Column struct {
	Name     string `json:"name"`     // without the name of the table
	Rows     int64  `json:"rows"`     // in the sample
	Empty    int64  `json:"empty"`    // NULL or an empty text
	Bytes    int64  `json:"bytes"`    // length of the values
	Packed   int64  `json:"packed"`   // their compressed length
	Distinct int64  `json:"distinct"` // values, estimated
}

// Position is the position of a server's log at the time of a dump. A recovery to a later
// time starts there.
type Position struct {
	Log    string `json:"log,omitempty"`    // the file of the binary log
	Offset uint64 `json:"offset,omitempty"` // in that file
	GTID   string `json:"gtid,omitempty"`   // MariaDB, MySQL
	LSN    string `json:"lsn,omitempty"`    // PostgreSQL
}

// Skipped is an object that is missing in a dump.
type Skipped struct {
	Object string `json:"object"` // "view sales_by_day"
	Reason string `json:"reason"` // why it is missing, for the operator
}

// Rows returns the number of rows in all tables.
func (c Contents) Rows() int64 {
	var n int64
	for _, t := range c.Tables {
		n += t.Rows
	}
	return n
}

// Only returns the contents of the given tables, without views, triggers, routines and
// events. The name "part/" means all tables of a part. A table that does
// not exist is an error.
func (c Contents) Only(tables []string) (Contents, error) {
	c.Views, c.Triggers, c.Routines, c.Events = 0, 0, 0, 0
	var kept []Table
	for _, name := range tables {
		if part, is := strings.CutSuffix(name, "/"); is && slices.ContainsFunc(c.Parts, func(p Part) bool { return p.Name == part }) {
			for _, t := range c.Tables {
				if strings.HasPrefix(t.Name, name) {
					kept = append(kept, t)
				}
			}
			continue
		}
		i := slices.IndexFunc(c.Tables, func(t Table) bool { return t.Name == name })
		if i < 0 {
			return c, fmt.Errorf("backup: the backup holds no table %q", name)
		}
		kept = append(kept, c.Tables[i])
	}
	c.Tables = kept
	return c, nil
}

// Compare returns nil if got has the same tables with the same rows, and the same digests
// where both are known. Otherwise it returns an error that wraps [ErrDiffers] and names the
// first different table.
func (c Contents) Compare(got Contents) error {
	found := make(map[string]Table, len(got.Tables))
	for _, t := range got.Tables {
		found[t.Name] = t
	}
	for _, want := range c.Tables {
		t, ok := found[want.Name]
		switch {
		case !ok:
			return fmt.Errorf("%w: the table %s is missing", ErrDiffers, want.Name)
		case t.Rows != want.Rows:
			return fmt.Errorf("%w: the table %s has %d rows instead of %d", ErrDiffers, want.Name, t.Rows, want.Rows)
		case t.Digest != "" && want.Digest != "" && t.Digest != want.Digest:
			return fmt.Errorf("%w: the table %s has as many rows, but other values in them", ErrDiffers, want.Name)
		}
	}
	if len(got.Tables) != len(c.Tables) {
		return fmt.Errorf("%w: it has %d tables instead of %d", ErrDiffers, len(got.Tables), len(c.Tables))
	}
	return nil
}
