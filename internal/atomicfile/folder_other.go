//go:build !unix

package atomicfile

import (
	"os"
	"time"
)

const noFollow = 0

// rename retries for a short time. Virus scanners and indexers open new files, and Windows does
// not rename an open file.
func rename(from, to string) (err error) {
	for pause := 10 * time.Millisecond; pause < 500*time.Millisecond; pause *= 2 {
		if err = os.Rename(from, to); err == nil {
			return nil
		}
		time.Sleep(pause)
	}
	return err
}

// SyncFolder has no effect on Windows. Windows has no such call, and its file systems journal
// their folders.
func SyncFolder(string) error { return nil }
