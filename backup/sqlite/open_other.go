//go:build !linux

package sqlite

// openIn finds no other process: SQLite itself notices those of a database in WAL mode.
func openIn(string) []string { return nil }
