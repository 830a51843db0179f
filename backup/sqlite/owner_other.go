//go:build !unix

package sqlite

import "io/fs"

// keepOwner does nothing: on this system the folder decides who may write to a file.
func keepOwner(string, fs.FileInfo) error { return nil }
