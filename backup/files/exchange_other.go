//go:build !linux

package files

// exchange swaps the names of two folders.
func exchange(a, b string) error { return exchangeByTwo(a, b) }
