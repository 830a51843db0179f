//go:build !linux && !darwin

package hostcheck

// isReadOnly is not told by these systems.
func isReadOnly(string) (bool, error) { return false, nil }
