package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Storage stores the files of one job, for example in a folder, in a bucket, or on another
// server. A [Job] uses only these methods. Your own storage can therefore do all that a
// [Folder] can. Package backuptest tests implementations.
//
// All methods are safe for concurrent use. Names are plain, without folders: see
// [ValidName].
type Storage interface {
	// Put stores the bytes that write produces, all or nothing. Until it returns nil, no
	// method shows a file with that name. If write returns an error, no file remains. Put
	// never replaces a file (ErrExists). A stored file survives a crash.
	Put(ctx context.Context, name string, write func(io.Writer) error) (size int64, err error)
	// Open reads a file (ErrNotFound).
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns all complete files, in any order.
	List(ctx context.Context) ([]Object, error)
	// Remove deletes a file. It returns nil if the file does not exist.
	Remove(ctx context.Context, name string) error
	// Abilities returns the optional abilities of the storage. It makes no network call. A
	// storage that wraps another one returns the abilities of the wrapped one.
	Abilities() Abilities
}

// Abilities are the optional functions of a [Storage]. A nil or empty field means that the
// storage lacks the ability. A job also works with the zero value. The comments describe
// the fallback.
type Abilities struct {
	// Lock admits one run at a time. It returns ErrLocked at once if another process holds
	// the lock. The lock ends with its process. Without Lock, run the job on one host only.
	Lock func(ctx context.Context) (unlock func() error, err error)
	// Replace stores a small file, and atomically replaces an older file. A reader finds
	// one of the two, also after a crash. Files from Replace are never locked against
	// deletion. Without Replace, a job removes the older file and then puts the new one.
	Replace func(ctx context.Context, name string, data []byte) error
	// Sweep removes partial files of crashed processes that were last written before the
	// given time, and returns their names. Without Sweep, a crash must not leave partial
	// files.
	Sweep func(ctx context.Context, before time.Time) ([]string, error)
	// Free returns the free space in bytes. Without Free, a run does not check for space
	// before its dump.
	Free func(ctx context.Context) (int64, error)
	// Folder is the absolute path of the folder on this host that holds the files. A source
	// of files excludes this folder. It is empty for a remote storage.
	Folder string
}

// Object is a file in a [Storage].
type Object struct {
	Name     string    // as given to Put or Replace
	Size     int64     // bytes
	Modified time.Time // time of the last write
}

// Errors of storages and jobs.
var (
	// ErrNotFound means that the file or backup does not exist.
	ErrNotFound = errors.New("backup: not found")
	// ErrExists means that a file with that name already exists.
	ErrExists = errors.New("backup: the file exists already")
	// ErrLocked means that another run of the same job holds the lock.
	ErrLocked = driver.ErrLocked
	// ErrRetained means that the storage refuses to delete a file before its time.
	ErrRetained = errors.New("backup: the file is locked against deletion")
	// ErrDamaged means that a stored backup or its manifest is damaged.
	ErrDamaged = errors.New("backup: a stored backup is damaged")
	// ErrStale means that the newest good backup is too old, or that there is none.
	ErrStale = errors.New("backup: no recent backup")
	// ErrUnproven means that no backup has passed a restore test within the time limit.
	ErrUnproven = errors.New("backup: no recent restore test")
	// ErrTarget means that a target lacks backups that it should have.
	ErrTarget = errors.New("backup: a target is not up to date")
)

// readFrom reads a complete small file.
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

// replaceIn stores a small file, and replaces an older one if it exists.
func replaceIn(ctx context.Context, s Storage, name string, data []byte) error {
	if replace := s.Abilities().Replace; replace != nil {
		return replace(ctx, name, data)
	}
	if err := s.Remove(ctx, name); err != nil && !errors.Is(err, ErrRetained) {
		return err
	}
	return putIn(ctx, s, name, data)
}

func (j *Job) readFile(ctx context.Context, name string) ([]byte, error) {
	return readFrom(ctx, j.storage, name, maxManifest)
}

func (j *Job) writeFile(ctx context.Context, name string, data []byte) error {
	return putIn(ctx, j.storage, name, data)
}

func (j *Job) replaceFile(ctx context.Context, name string, data []byte) error {
	return replaceIn(ctx, j.storage, name, data)
}

var errLarge = errors.New("backup: the file is too large to be one of this program")

// readAll reads a small file of a storage.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = errLarge
	}
	return b.Bytes(), err
}
