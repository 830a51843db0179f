package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pkg/sftp"

	"github.com/mainstay-go/mainstay/backup"
)

// session is one connection. A timer closes it when the server stalls.
type session struct {
	*sftp.Client
	stall time.Duration
	timer *time.Timer

	ctx context.Context //nolint:containedctx // lives as long as the connection
	cut context.CancelCauseFunc
}

var errStalled = errors.New("the server has moved no byte for too long")

func (s *Store) open(ctx context.Context) (*session, error) {
	w := &session{stall: s.stall}
	w.ctx, w.cut = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(s.stall, func() { w.cut(errStalled) })
	client, err := s.connect(w.ctx)
	if err != nil {
		w.timer.Stop()
		if cause := context.Cause(w.ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		w.cut(nil)
		return nil, fmt.Errorf("sftpstore: connect: %w", err)
	}
	w.Client = client
	w.alive()
	return w, nil
}

// alive restarts the stall time. rest stops it while the server has no request.
func (w *session) alive() { w.timer.Reset(w.stall) }
func (w *session) rest()  { w.timer.Stop() }

func (w *session) close() {
	w.timer.Stop()
	w.cut(errClosed)
	_ = w.Client.Close() // the connection is already closed
}

var errClosed = errors.New("the call has ended")

// cause returns the reason why the connection was closed, nil while it is open.
func (w *session) cause() error { return context.Cause(w.ctx) }

// fail adds the operation, the name and the cause to an error. A missing file is
// [backup.ErrNotFound].
func (w *session) fail(what, name string, err error) error {
	cause := w.cause()
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
