package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/mainstay-go/mainstay/backup"
)

// session is one connection. A timer closes it when the server stalls.
type session struct {
	*sftp.Client
	stall time.Duration

	mu    sync.Mutex
	timer *time.Timer
	cause error
	stop  func() bool
}

var errStalled = errors.New("the server has moved no byte for too long")

func (s *Store) open(ctx context.Context) (*session, error) {
	dialing, cancel := context.WithTimeoutCause(ctx, s.stall, errStalled)
	defer cancel()
	client, err := s.connect(dialing)
	if err != nil {
		if cause := context.Cause(dialing); cause != nil {
			err = errors.Join(cause, err)
		}
		return nil, fmt.Errorf("sftpstore: connect: %w", err)
	}
	w := &session{Client: client, stall: s.stall}
	w.timer = time.AfterFunc(s.stall, func() { w.end(errStalled) })
	w.stop = context.AfterFunc(ctx, func() { w.end(context.Cause(ctx)) })
	return w, nil
}

// end closes the connection. Every call on it then fails with the cause.
func (w *session) end(cause error) {
	w.mu.Lock()
	if w.cause == nil {
		w.cause = cause
	}
	w.mu.Unlock()
	_ = w.Client.Close()
}

// alive restarts the time of a stall. rest stops it while the server has no request.
func (w *session) alive() { w.timer.Reset(w.stall) }
func (w *session) rest()  { w.timer.Stop() }

func (w *session) close() {
	w.timer.Stop()
	w.stop()
	_ = w.Client.Close()
}

// fail adds the operation, the name and the cause to an error. A missing file is
// [backup.ErrNotFound].
func (w *session) fail(what, name string, err error) error {
	w.mu.Lock()
	cause := w.cause
	w.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case cause != nil:
		return fmt.Errorf("sftpstore: %s %s: %w", what, name, cause)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("sftpstore: %s: %w", name, backup.ErrNotFound)
	}
	return fmt.Errorf("sftpstore: %s %s: %w", what, name, err)
}
