package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// Folder is a [Storage] in a folder of this machine, or in a mounted folder with atomic
// renames. Only the owner can read the files. It is safe for concurrent use, also by
// several processes.
type Folder struct{ path string }

// lockName is the file that a run locks. It stays in the folder, empty.
const lockName = ".lock"

// NewFolder returns the storage in a folder. The first write creates the folder. All methods
// reject a folder that other users can write to, because they could replace a backup with
// commands that a restore would run. They reject a symbolic link as well. Symbolic links in
// parent folders are followed.
func NewFolder(path string) (*Folder, error) {
	if path == "" {
		return nil, errors.New("backup: NewFolder needs a path")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return &Folder{absolute}, nil
}

// Path returns the folder's absolute path.
func (f *Folder) Path() string { return f.path }

func (f *Folder) file(name string) (string, error) {
	if !ValidName(name) {
		return "", fmt.Errorf("backup: %q is not a name for a backup's file", name)
	}
	return filepath.Join(f.path, name), nil
}

// prepare creates the folder, or checks an existing one.
func (f *Folder) prepare() error {
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return f.check()
}

// check rejects a folder that is not safe. It accepts a folder that does not exist.
func (f *Folder) check() error {
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("backup: %s is a symbolic link, which can be turned elsewhere between two backups: name the folder that it leads to", f.path)
	}
	return private(f.path, info)
}

// Abilities returns all abilities that a storage can have.
func (f *Folder) Abilities() Abilities {
	return Abilities{
		Lock: f.lock, Replace: f.replace, Sweep: f.sweep, Folder: f.path,
		Free: func(context.Context) (int64, error) {
			if n := freeBytes(f.path); n >= 0 {
				return n, nil
			}
			return 0, errors.ErrUnsupported
		},
	}
}

// Put writes a hidden file and renames it.
func (f *Folder) Put(ctx context.Context, name string, write func(io.Writer) error) (size int64, err error) {
	path, err := f.file(name)
	if err != nil {
		return 0, err
	}
	if err := f.prepare(); err != nil {
		return 0, err
	}
	err = atomicfile.Create(path, 0o600, func(w io.Writer) error {
		counter := &countingWriter{to: contextWriter{ctx, w}}
		err := write(counter)
		size = counter.n
		if err == nil {
			err = ctx.Err()
		}
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return 0, fmt.Errorf("%w: %s", ErrExists, name)
	}
	if err != nil {
		return 0, fmt.Errorf("backup: %s: %w", name, err)
	}
	return size, nil
}

// replace writes a file, which may exist already.
func (f *Folder) replace(ctx context.Context, name string, data []byte) error {
	path, err := f.file(name)
	if err != nil {
		return err
	}
	if err := f.prepare(); err != nil {
		return err
	}
	err = atomicfile.Write(path, 0o600, func(w io.Writer) error {
		_, err := contextWriter{ctx, w}.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("backup: %s: %w", name, err)
	}
	return nil
}

// Open opens a file.
func (f *Folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	path, err := f.file(name)
	if err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("backup: %s is no regular file", path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return file, nil
}

// List lists the files that are not hidden.
func (f *Folder) List(context.Context) ([]Object, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	var objects []Object
	for _, entry := range entries {
		info, err := entry.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist) || !ValidName(entry.Name()):
			continue // deleted since, or hidden
		case err != nil: // a file that is left out would be a backup that is gone
			return nil, fmt.Errorf("backup: %w", err)
		case !info.Mode().IsRegular():
			continue // a foreign file
		}
		objects = append(objects, Object{entry.Name(), info.Size(), info.ModTime()})
	}
	return objects, nil
}

// Remove deletes a file permanently.
func (f *Folder) Remove(_ context.Context, name string) error {
	path, err := f.file(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("backup: %w", err)
	}
	if err := atomicfile.SyncFolder(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// lock locks the folder for one run.
func (f *Folder) lock(context.Context) (func() error, error) {
	if err := f.prepare(); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(f.path, lockName), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	if !ok {
		return nil, ErrLocked
	}
	return lock.Unlock, nil
}

// sweep removes partial files of a crash.
func (f *Folder) sweep(_ context.Context, before time.Time) ([]string, error) {
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	var swept []string
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !strings.HasPrefix(entry.Name(), atomicfile.TempPrefix) || !info.Mode().IsRegular() || info.ModTime().After(before) {
			continue
		}
		if err := os.Remove(filepath.Join(f.path, entry.Name())); err != nil {
			return swept, fmt.Errorf("backup: %w", err)
		}
		swept = append(swept, entry.Name())
	}
	return swept, nil
}

// contextWriter ends a long write when its context ends.
type contextWriter struct {
	ctx context.Context
	to  io.Writer
}

func (w contextWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}

type countingWriter struct {
	to io.Writer
	n  int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.n += int64(n)
	return n, err
}
