//go:build !unix

package backup

import "io/fs"

func private(string, fs.FileInfo) error { return nil }

func freeBytes(string) int64 { return -1 }
