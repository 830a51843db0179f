package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// openIn returns the other processes that have the file open, as "process 17 (shop)". It
// finds processes that this process may inspect. SQLite itself detects other processes only
// in WAL mode.
func openIn(path string) (list []string) {
	file, err := os.Stat(path)
	if err != nil {
		return nil
	}
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	own := fmt.Sprintf("/proc/%d/", os.Getpid())
	last := ""
	for _, fd := range open {
		process := filepath.Dir(filepath.Dir(fd))
		if process == last || strings.HasPrefix(fd, own) {
			continue
		}
		// Stat can hang on an unreachable file system. Therefore only a link with the same
		// name is followed.
		if link, err := os.Readlink(fd); err != nil || filepath.Base(link) != filepath.Base(path) {
			continue
		}
		if info, err := os.Stat(fd); err != nil || !os.SameFile(info, file) {
			continue
		}
		last = process
		name, _ := os.ReadFile(process + "/comm") // may have ended
		list = append(list, fmt.Sprintf("process %s (%s)", filepath.Base(process), strings.TrimSpace(string(name))))
	}
	return list
}
