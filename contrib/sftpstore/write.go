package sftpstore

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/mainstay-go/mainstay/backup"
)

// prepare creates the folder, or rejects one that other users can write to.
func (s *Store) prepare(w *session) error {
	info, err := w.Stat(s.folder)
	if errors.Is(err, fs.ErrNotExist) {
		if err = w.MkdirAll(s.folder); err == nil {
			err = w.Chmod(s.folder, 0o700)
		}
		return w.fail("create", s.folder, err)
	}
	if err != nil {
		return w.fail("look at", s.folder, err)
	}
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("sftpstore: others may write to %s: chmod go-w it, or choose another folder", s.folder)
	}
	return nil
}

// writer counts the bytes of a file. The stall time runs only during a write.
type writer struct {
	to      io.Writer
	session *session
	n       int64
}

func (w *writer) Write(p []byte) (int, error) {
	w.session.alive()
	n, err := w.to.Write(p)
	w.session.rest()
	w.n += int64(n)
	return n, err
}

// store writes a file under a hidden name. finish renames it.
func (s *Store) store(ctx context.Context, w *session, name string, write func(io.Writer) error, finish func(temp, final string) error) (size int64, err error) {
	final := path.Join(s.folder, name)
	var random [8]byte
	rand.Read(random[:])
	temp := path.Join(s.folder, tempPrefix+hex.EncodeToString(random[:])+"-"+name)
	file, err := w.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return 0, w.fail("create", name, err)
	}
	failed := func(what string, err error) (int64, error) {
		_ = file.Close()
		if w.Remove(temp) != nil { // the connection may have failed
			again, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.stall, 30*time.Second))
			defer cancel()
			if other, err := s.open(again); err == nil {
				_ = other.Remove(temp) // a later sweep removes the rest
				other.close()
			}
		}
		return 0, w.fail(what, name, err)
	}
	if err := file.Chmod(0o600); err != nil {
		return failed("protect", err)
	}
	w.rest()
	counted := &writer{to: file, session: w}
	buffered := bufio.NewWriterSize(counted, 256<<10)
	if err := write(buffered); err != nil {
		cause := w.cause()
		_, _ = failed("write", err)
		if cause != nil {
			return 0, fmt.Errorf("sftpstore: write %s: %w", name, errors.Join(cause, err))
		}
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return failed("write", err)
	}
	if err := buffered.Flush(); err != nil {
		return failed("write", err)
	}
	w.alive()
	if _, able := w.HasExtension("fsync@openssh.com"); able {
		if err := file.Sync(); err != nil {
			return failed("sync", err)
		}
	}
	if err := file.Close(); err != nil {
		return failed("close", err)
	}
	info, err := w.Stat(temp)
	if err == nil && info.Size() != counted.n {
		err = fmt.Errorf("the server keeps %d bytes of %d", info.Size(), counted.n)
	}
	if err != nil {
		return failed("look at", err)
	}
	if err := finish(temp, final); err != nil {
		if errors.Is(err, backup.ErrExists) {
			_, _ = failed("", err)
			return 0, err
		}
		return failed("rename", err)
	}
	return counted.n, nil
}

// Put stores a file. The rename of SFTP fails if the name exists.
func (s *Store) Put(ctx context.Context, name string, write func(io.Writer) error) (int64, error) {
	final, err := s.path(name)
	if err != nil {
		return 0, err
	}
	w, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	defer w.close()
	if err := s.prepare(w); err != nil {
		return 0, err
	}
	exists := fmt.Errorf("sftpstore: %s: %w", name, backup.ErrExists)
	if _, err := w.Lstat(final); err == nil {
		return 0, exists
	}
	return s.store(ctx, w, name, write, func(temp, final string) error {
		err := w.Rename(temp, final)
		if err != nil {
			if _, there := w.Lstat(final); there == nil {
				return exists
			}
		}
		return err
	})
}

func (s *Store) replace(ctx context.Context, name string, data []byte) error {
	if _, err := s.path(name); err != nil {
		return err
	}
	w, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	if err := s.prepare(w); err != nil {
		return err
	}
	_, err = s.store(ctx, w, name, func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	}, w.PosixRename)
	return err
}
