//go:build !linux && !darwin

package hostcheck

// isReadOnly returns false, because these systems do not report it.
func isReadOnly(string) (bool, error) { return false, nil }
