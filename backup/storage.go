package backup

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Storage keeps the files of one job: a folder, a bucket, a server's disk. A [Job] uses
// no other methods than these, so that a storage of your own can do all that a [Folder]
// can. Package backuptest proves implementations.
//
// All methods are safe for concurrent use. Names are plain, without folders: see
// [ValidName].
type Storage interface {
	// Put stores the bytes that write produces, all or nothing. Until it returns nil, no
	// method shows a file with that name. After an error of write nothing remains. It never
	// replaces a file (ErrExists). A stored file survives a crash.
	Put(ctx context.Context, name string, write func(io.Writer) error) (size int64, err error)
	// Open reads a file (ErrNotFound).
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns all complete files, in any order.
	List(ctx context.Context) ([]Object, error)
	// Remove deletes a file. A file that does not exist is no error.
	Remove(ctx context.Context, name string) error
	// Abilities returns what else the storage can do. It asks no server. A storage that
	// wraps another one passes on the abilities of that one.
	Abilities() Abilities
}

// Abilities are what a [Storage] can do beside storing files. A field that is nil or empty
// is an ability that the storage lacks. The zero value lacks all of them, and a job still
// works: the comments say what it does instead.
type Abilities struct {
	// Lock lets one run at a time in. It returns ErrLocked at once if another process holds
	// the lock. The lock ends with its process. Without it, give the job to one host.
	Lock func(ctx context.Context) (unlock func() error, err error)
	// Replace stores a small file and replaces an older one in one step: a reader finds one
	// of the two, also after a crash. Files that came by Replace are never locked against
	// deletion. Without it, a job removes the older file and then puts the new one.
	Replace func(ctx context.Context, name string, data []byte) error
	// Sweep removes partial files of crashed processes that were last written before the
	// given time, and returns their names. Without it, no crash may leave any.
	Sweep func(ctx context.Context, before time.Time) ([]string, error)
	// Free returns how many bytes there is room for. Without it, a run does not ask for
	// room before its dump.
	Free func(ctx context.Context) (int64, error)
	// Folder is the absolute path of the folder on this host that holds the files. A source
	// of files leaves it out. Empty for a storage that is elsewhere.
	Folder string
}

// Object is a file in a [Storage].
type Object struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Errors of storages and jobs.
var (
	// ErrNotFound means that there is no such file or backup.
	ErrNotFound = errors.New("backup: not found")
	// ErrExists means that there is a file with that name already.
	ErrExists = errors.New("backup: the file exists already")
	// ErrLocked means that another run of the same job is at work.
	ErrLocked = driver.ErrLocked
	// ErrRetained means that the storage refuses to delete a file before its time.
	ErrRetained = errors.New("backup: the file is locked against deletion")
	// ErrDamaged means that a stored copy of an older backup was read again and is damaged.
	ErrDamaged = errors.New("backup: a stored backup is damaged")
	// ErrStale means that the newest good backup is too old, or that there is none.
	ErrStale = errors.New("backup: no recent backup")
	// ErrUnproven means that no backup has passed a restore test within its limit.
	ErrUnproven = errors.New("backup: no recent restore test")
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

// lockStorage takes the storage's lock, if it has one.
func (j *Job) lockStorage(ctx context.Context) (unlock func() error, err error) {
	if lock := j.storage.Abilities().Lock; lock != nil {
		return lock(ctx)
	}
	return func() error { return nil }, nil
}

// free returns how many bytes the storage has room for, -1 if that is unknown.
func (j *Job) free(ctx context.Context) int64 {
	if ask := j.storage.Abilities().Free; ask != nil {
		if n, err := ask(ctx); err == nil {
			return n
		}
	}
	return -1
}

// readFrom reads a small file whole.
func readFrom(ctx context.Context, s Storage, name string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readAll(r, limit)
}

// putIn stores a small file that does not exist yet.
func putIn(ctx context.Context, s Storage, name string, data []byte) error {
	_, err := s.Put(ctx, name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return err
}

// replaceIn stores a small file, whether or not there is an older one.
func replaceIn(ctx context.Context, s Storage, name string, data []byte) error {
	if replace := s.Abilities().Replace; replace != nil {
		return replace(ctx, name, data)
	}
	if err := s.Remove(ctx, name); err != nil && !errors.Is(err, ErrRetained) {
		return err
	}
	return putIn(ctx, s, name, data)
}
