//go:build !linux

package backup

import (
	"testing"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// checkFullDisk needs a file system that can be filled.
func checkFullDisk(*testing.T, driver.Source) {}
