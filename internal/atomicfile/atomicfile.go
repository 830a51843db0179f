// Package atomicfile writes files that are either complete or absent, also after a crash of the
// process or of the machine.
package atomicfile

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// TempPrefix begins the names of files that are being written. A crash leaves such a file
// behind. The owner of the folder may remove it when no process writes it any more.
const TempPrefix = ".tmp-"

// Write replaces the file at path with the output of write. It writes a new file in the same
// folder, syncs, closes and renames it, and then syncs the folder. After any error, also from
// write, the old file is unchanged and the new one is removed. If path is a symbolic link, a
// file replaces the link, and the target of the link is unchanged.
//
// The file gets exactly perm, independent of the umask.
func Write(path string, perm os.FileMode, write func(io.Writer) error) error {
	return through(path, perm, write, Rename)
}

// Create is Write for a path that does not exist yet. When several callers create the same
// path, one succeeds. All other callers, also later ones, get an error for which errors.Is(err,
// fs.ErrExist) holds.
func Create(path string, perm os.FileMode, write func(io.Writer) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("atomicfile: %w", &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist})
	}
	return through(path, perm, write, place)
}

// through writes a hidden file and calls publish to rename it.
func through(path string, perm os.FileMode, write func(io.Writer) error, publish func(from, to string) error) (err error) {
	folder, name := filepath.Split(path)
	if folder == "" {
		folder = "."
	}
	temp := filepath.Join(folder, TempPrefix+name+"-"+rand.Text())
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close() // a second close only returns an error
			os.Remove(temp)
		}
	}()
	buffer := bufio.NewWriterSize(file, 64<<10)
	if err := write(buffer); err != nil {
		return err
	}
	if err := errors.Join(buffer.Flush(), file.Chmod(perm)); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	// A failed sync is final. The kernel may have dropped the pages, and a second sync of the same
	// file would then succeed without them.
	if err := file.Sync(); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	return publish(temp, path)
}

// placing serialises the creations of this process on file systems without hard links.
var placing sync.Mutex

// place renames a file to a name that must be free. A hard link does this in one step. On a
// file system without hard links, place checks the name and then renames, which is not atomic.
func place(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		if err := errors.Join(os.Remove(from), SyncFolder(filepath.Dir(to))); err != nil {
			return fmt.Errorf("atomicfile: %w", err)
		}
		return nil
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("atomicfile: %w", err)
	}
	placing.Lock()
	defer placing.Unlock()
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("atomicfile: %w", &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist})
	}
	return Rename(from, to)
}

// Rename moves a synced file within its folder. The move survives a crash of the machine.
func Rename(from, to string) error {
	if err := rename(from, to); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	if err := SyncFolder(filepath.Dir(to)); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	return nil
}
