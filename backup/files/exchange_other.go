//go:build !linux

package files

// exchange swaps the names of two folders.
func exchange(a, b string) error { return exchangeByTwo(a, b) }

// mountPoint reports whether a file system is mounted on a folder. Here it is unknown.
func mountPoint(string) bool { return false }
