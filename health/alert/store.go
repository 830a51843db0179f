package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// Store keeps the state of an [Alerter], a document of some kilobytes.
//
// Update calls f with the stored document, or nil if there is none, and stores the
// document that f returns. It stores nothing if the document is the same or f failed.
// The store is locked during Update: no other f runs at the same time, in any process.
// f returns within milliseconds. If the store is unreachable, Update returns an error
// without calling f. If another process holds the store for too long, that error is
// [ErrBusy]. After a minute of it the alerter counts the store as unreachable. The alerter
// does not wait for an Update that hangs, and makes no further call until it returns.
type Store interface {
	Update(ctx context.Context, f func(state []byte) ([]byte, error)) error
}

// ErrBusy is the error of a [Store] that another process uses.
var ErrBusy = errors.New("alert: another process holds the store, and sends the messages")

// ErrStandby is the error of a [Store] of a process that must send nothing, because the service
// has chosen another one for it. The alerter waits for as long as the store returns it.
var ErrStandby = errors.New("alert: the service has chosen another process to send the messages")

// Memory returns a Store that keeps the state until the process ends.
func Memory() Store { return &memory{} }

type memory struct {
	mu    sync.Mutex
	state []byte
}

func (m *memory) Update(_ context.Context, f func([]byte) ([]byte, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	state, err := f(m.state)
	if err != nil {
		return err
	}
	m.state = state
	return nil
}

// File returns a Store in one file. Several processes on one host may share it, such as
// a server and a command that cron starts. A second file beside it is the lock. The
// file is replaced by rename, so a crash leaves the old or the new document. It is
// created with the mode 0600.
//
// The file has room to grow. If it cannot be replaced because the disk is full, the new
// document overwrites the old one in place. A command then does not repeat the alert
// about the full disk in each run.
func File(path string) Store {
	return &file{path: path, replace: func(b []byte) error {
		return atomicfile.Write(path, 0o600, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}}
}

type file struct {
	path    string
	replace func([]byte) error
	mu      sync.Mutex
}

const (
	maxDocument = 16 << 20 // far larger than any real document
	fileBlock   = 16 << 10 // the size of the file is a multiple of it
)

func (s *file) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("alert: the folder of the state: %w", err)
	}
	lock := flock.New(s.path+".lock", flock.SetPermissions(0o600))
	if ok, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil || !ok {
		if ctx.Err() != nil {
			return ErrBusy
		}
		return fmt.Errorf("alert: locking the state: %w", err)
	}
	defer func() { _ = lock.Unlock() }() // closing the file releases the lock in any case
	state, size, err := s.read()
	if err != nil {
		return fmt.Errorf("alert: reading the state: %w", err)
	}
	next, err := f(state)
	if err != nil {
		return err
	}
	if bytes.Equal(next, state) {
		return nil
	}
	padded := append(bytes.Clone(next), bytes.Repeat([]byte(" "), (fileBlock-len(next)%fileBlock)%fileBlock)...)
	if err := s.replace(padded); err != nil {
		if overErr := s.overwrite(next, size); overErr != nil {
			return fmt.Errorf("alert: writing the state: %w", errors.Join(err, overErr))
		}
	}
	return nil
}

// overwrite writes a document into the blocks that the file already has.
func (s *file) overwrite(next []byte, size int) error {
	if len(next) > size {
		return errors.New("the file has no room for it either")
	}
	out, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = out.Write(append(bytes.Clone(next), bytes.Repeat([]byte(" "), size-len(next))...))
	return errors.Join(err, out.Sync(), out.Close())
}

// read returns the document without its padding, and the size of the file.
func (s *file) read() (state []byte, size int, err error) {
	in, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxDocument))
	return bytes.TrimRight(b, " "), len(b), err
}
