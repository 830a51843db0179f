// Package atomicfile writes files that appear whole or not at all, also after a
// crash of the process or of the machine.
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

// TempPrefix begins the names of files that are being written. A file of that
// name which nobody writes any more is the leftover of a crash; whoever owns the
// folder may remove it.
const TempPrefix = ".tmp-"

// Write replaces the file at path with what write produces. The content goes to
// a new file in the same folder, which is synced, closed and renamed; then the
// folder is synced. Any error on the way, also one of write, leaves the old file
// as it was and removes the new one. A path that is a symbolic link is replaced by
// a file; what it points to is not touched.
//
// The file gets exactly perm, whatever the umask.
func Write(path string, perm os.FileMode, write func(io.Writer) error) error {
	return through(path, perm, write, Rename)
}

// Create is Write for a path where nothing is yet. Of several that create the same
// path at once, one succeeds; the others, and those that come later, get an error for
// which errors.Is(err, fs.ErrExist) holds.
func Create(path string, perm os.FileMode, write func(io.Writer) error) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("atomicfile: %w", &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist})
	}
	return through(path, perm, write, place)
}

// through writes a hidden file and has publish give it its name.
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
			file.Close() // closing twice only answers that it is closed
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
	// A failed sync is final: the kernel may have dropped the pages, and a second
	// sync of the same file would then succeed without them.
	if err := file.Sync(); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	return publish(temp, path)
}

// placing serialises this process's own creations on file systems without hard links.
var placing sync.Mutex

// place gives a file a name that must be free. A hard link does that in one step;
// where the file system has none, looking and renaming is the best there is.
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

// Rename moves a synced file within its folder and makes the move survive a
// crash of the machine.
func Rename(from, to string) error {
	if err := rename(from, to); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	if err := SyncFolder(filepath.Dir(to)); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	return nil
}
