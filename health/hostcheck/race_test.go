//go:build race

package hostcheck

func init() { shorter = true }
