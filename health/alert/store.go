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

// Store keeps the state of an [Alerter], a document of a few kilobytes.
//
// Update calls f with the stored document, nil if there is none, and stores what
// it returns, unless that is the same or f failed. Nobody else's f runs between
// the two. f may take as long as a delivery. When the store cannot be reached
// Update returns an error without calling f; when somebody else holds it for too
// long that error is [ErrBusy].
type Store interface {
	Update(ctx context.Context, f func(state []byte) ([]byte, error)) error
}

// ErrBusy is the error of a [Store] in use by somebody else.
var ErrBusy = errors.New("alert: another process is deciding; it will speak for this one")

// Memory returns a Store that lasts as long as the process.
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

// File returns a Store in one file, which several processes on one host may
// share: a server and a command that cron starts. It is locked with a second file
// beside it, and replaced by rename: a crash leaves the old document or the new
// one. The file is created with the mode 0600.
func File(path string) Store { return &file{path: path} }

type file struct {
	path string
	mu   sync.Mutex
}

const maxDocument = 16 << 20 // far more than any real one

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
	defer func() { _ = lock.Unlock() }() // closing the file ends the lock in any case
	state, err := s.read()
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
	err = atomicfile.Write(s.path, 0o600, func(w io.Writer) error {
		_, err := w.Write(next)
		return err
	})
	if err != nil {
		return fmt.Errorf("alert: writing the state: %w", err)
	}
	return nil
}

func (s *file) read() ([]byte, error) {
	in, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(in, maxDocument))
}
