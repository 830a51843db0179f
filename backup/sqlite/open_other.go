//go:build !linux

package sqlite

// openIn returns no processes on this system. SQLite itself detects other processes in WAL
// mode.
func openIn(string) []string { return nil }
