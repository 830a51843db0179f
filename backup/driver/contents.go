package driver

import (
	"fmt"
	"slices"
	"strings"
)

// Contents lists the tables and other objects of a dump or of a database.
type Contents struct {
	ServerVersion string `json:"server_version,omitempty"`
	ClientVersion string `json:"client_version,omitempty"`
	// Consistency is how the dump is one moment of the database: "vacuum-into",
	// "single-transaction", "snapshot:…".
	Consistency string `json:"consistency,omitempty"`
	// Position is where the server's log stood at that moment; nil if that is not known.
	Position *Position `json:"position,omitempty"`
	// Settings are those of the database itself that a restore gives to the new one: its
	// character set, collation, encoding, locale. The keys are the source's own.
	Settings map[string]string `json:"settings,omitempty"`
	Tables   []Table           `json:"tables"`
	Views    int64             `json:"views"`
	Triggers int64             `json:"triggers"`
	Routines int64             `json:"routines"`
	Events   int64             `json:"events"`
	// Skipped lists objects of the database that the dump lacks. It makes a backup suspect.
	Skipped  []Skipped `json:"skipped,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
	// Parts are those of a backup of several sources, in the order of the dump. Tables, Skipped
	// and Warnings are not repeated in them: their names begin with that of the part.
	Parts []Part `json:"parts,omitempty"`
}

// Part lists the contents of one source of several.
type Part struct {
	Name string `json:"name"`
	Contents
}

// Table is a table of a dump.
type Table struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"` // exact
	// Bytes is the length of its rows as the dump writes them; 0 if that is not known.
	Bytes int64 `json:"bytes,omitempty"`
	// Packed estimates, from a sample, how many bytes a compressor makes of them; 0 if
	// that is not known. Text that was replaced by noise packs badly.
	Packed int64 `json:"packed,omitempty"`
	// Digest is the same for the same rows in any order ([Meter]); "" if it is not known.
	Digest string `json:"digest,omitempty"`
	// Columns are measured in a sample of the rows; nil if that is not known.
	Columns []Column `json:"columns,omitempty"`
}

// Column is a column in a sample of the rows of a table.
type Column struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`  // in the sample
	Empty    int64  `json:"empty"` // NULL or an empty text
	Bytes    int64  `json:"bytes"`
	Packed   int64  `json:"packed"`   // their compressed length
	Distinct int64  `json:"distinct"` // values, estimated
}

// Position is where the log of a server stood when a dump was taken: the place from which
// a recovery to a later moment goes on.
type Position struct {
	Log    string `json:"log,omitempty"`    // the file of the binary log
	Offset uint64 `json:"offset,omitempty"` // in that file
	GTID   string `json:"gtid,omitempty"`   // MariaDB, MySQL
	LSN    string `json:"lsn,omitempty"`    // PostgreSQL
}

// Skipped is an object that a dump does not hold.
type Skipped struct {
	Object string `json:"object"` // "view sales_by_day"
	Reason string `json:"reason"`
}

// Rows is the number of rows in all tables.
func (c Contents) Rows() int64 {
	var n int64
	for _, t := range c.Tables {
		n += t.Rows
	}
	return n
}

// Only returns the contents reduced to the given tables, without views, triggers, routines
// and events. The name "part/" stands for all tables of a part. Only fails if one of them is
// not there.
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
// where both are known. Otherwise it returns an error that wraps [ErrDiffers] and names
// the first table that is not the same.
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
