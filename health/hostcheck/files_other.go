//go:build !linux && !darwin

package hostcheck

import "errors"

func openFiles() (FilesUsage, error) { return FilesUsage{}, errors.ErrUnsupported }
