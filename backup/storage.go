package backup

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// Storage keeps the files of one job. Package backuptest proves implementations. All
// methods are safe for concurrent use; names are plain, without folders.
type Storage interface {
	// Put stores what write produces, all or nothing: until it returns nil, nobody
	// sees a file of that name, and after an error of write nothing remains. It never
	// replaces a file (ErrExists). What it has stored survives a crash.
	Put(ctx context.Context, name string, write func(io.Writer) error) (size int64, err error)
	// Open reads a file (ErrNotFound).
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns all files that are complete, in any order.
	List(ctx context.Context) ([]Object, error)
	// Remove deletes a file; one that does not exist is no error.
	Remove(ctx context.Context, name string) error
}

// Object is a file in a [Storage].
type Object struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Locker is a [Storage] that lets one run at a time in. Lock returns ErrLocked at once
// if another process holds it. The lock ends with its process.
type Locker interface {
	Lock(ctx context.Context) (unlock func() error, err error)
}

// Replacer is a [Storage] that can replace a small file in one step: a reader finds the old
// one or the new one, also after a crash. Elsewhere a [Job] removes a file before it
// writes it anew.
type Replacer interface {
	Replace(ctx context.Context, name string, data []byte) error
}

// Sweeper is a [Storage] where a crash leaves partial files. Sweep removes those that
// nobody has written to since before, and returns their names.
type Sweeper interface {
	Sweep(ctx context.Context, before time.Time) ([]string, error)
}

// Errors of storages and jobs.
var (
	// ErrNotFound means that there is no such file or backup.
	ErrNotFound = errors.New("backup: not found")
	// ErrExists means that there is a file of that name already.
	ErrExists = errors.New("backup: the file exists already")
	// ErrLocked means that another run of the same job is going on.
	ErrLocked = errors.New("backup: another run of this job is going on: wait for it to end")
	// ErrRetained means that the storage refuses to delete a file before its time.
	ErrRetained = errors.New("backup: the file is locked against deletion")
)

// ValidName reports whether a storage must accept a name.
func ValidName(name string) bool {
	if name == "" || len(name) > 200 || name[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	})
}
