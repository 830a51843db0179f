package backup

import (
	"context"
	"io"
)

// Source is what a [Job] backs up. One Dump runs at a time.
type Source interface {
	// Describe says what it is. It asks nobody.
	Describe() Description
	// Dump writes a consistent copy, uncompressed, and returns what is in it. It may
	// return nil only if the copy is complete. Errors carry no secret.
	Dump(ctx context.Context, w io.Writer) (Contents, error)
}

// Description is what a [Source] says of itself.
type Description struct {
	Engine    string // "sqlite", "mariadb", "postgresql"
	Extension string // of the dump's file: ".db", ".sql", ".dump"
	Database  string // for people; may be empty
}

// Contents is what a dump holds.
type Contents struct {
	ServerVersion string   `json:"server_version,omitempty"`
	ClientVersion string   `json:"client_version,omitempty"`
	Consistency   string   `json:"consistency,omitempty"` // "vacuum-into", "single-transaction", "snapshot:…"
	Tables        []Table  `json:"tables"`
	Views         int64    `json:"views"`
	Triggers      int64    `json:"triggers"`
	Routines      int64    `json:"routines"`
	Events        int64    `json:"events"`
	Warnings      []string `json:"warnings,omitempty"`
}

// Table is a table with its exact number of rows in the dump.
type Table struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// Rows is the number of rows in all tables.
func (c Contents) Rows() int64 {
	var n int64
	for _, t := range c.Tables {
		n += t.Rows
	}
	return n
}

// Preflighter is a [Source] that can tell before a run that it would fail.
type Preflighter interface {
	Preflight(ctx context.Context) (warnings []string, err error)
}

// Restorer is a [Source] that can read its dumps back.
type Restorer interface {
	// Restore reads a dump into a new database and returns its name and what is in it.
	// target "" is a name that it chooses. It refuses a target that exists, and leaves
	// nothing behind when it fails.
	Restore(ctx context.Context, r io.Reader, target string) (restored string, got Contents, err error)
}
