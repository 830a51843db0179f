// Package sftpstore keeps backups on a host that offers SFTP: a disk at another site, a
// rented storage box. It is a module of its own, so that package backup links no SSH.
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
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/mainstay-go/mainstay/backup"
)

// Connect opens a session of SFTP. A [Store] opens one for each call of a method and closes
// it at the end of the call.
type Connect func(ctx context.Context) (*sftp.Client, error)

// SSH returns a Connect to a host, address "host:22". The configuration must have a
// HostKeyCallback that checks the key of the host, such as ssh.FixedHostKey: without one
// ssh refuses to connect.
func SSH(address string, config *ssh.ClientConfig) Connect {
	return func(ctx context.Context) (*sftp.Client, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // a handshake knows no context
		defer stop()
		transport, channels, requests, err := ssh.NewClientConn(conn, address, config)
		if err != nil {
			conn.Close()
			return nil, err
		}
		client := ssh.NewClient(transport, channels, requests)
		session, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true))
		if err != nil {
			_ = client.Close()
			return nil, err
		}
		go func() {
			_ = session.Wait()
			_ = client.Close()
		}()
		return session, nil
	}
}

// Options tune a [Store]. The zero value and nil work.
type Options struct {
	// Stall ends a call in which the server has moved no byte for so long. The time that a
	// dump takes to produce its bytes does not count. Default: 2 min.
	Stall time.Duration
}

// Store is a [backup.Storage] in a folder of an SFTP server. A file appears whole or not at
// all: it is written under a hidden name, synced where the server can (fsync@openssh.com),
// and renamed. A crash leaves at most hidden files, which a job sweeps a day later.
//
// SFTP has no locks: let one host at a time back up into a folder. All methods are safe for
// concurrent use.
type Store struct {
	connect Connect
	folder  string
	stall   time.Duration
}

var _ backup.Storage = (*Store)(nil)

// tempPrefix begins the names of partial files.
const tempPrefix = ".tmp-"

// New returns the store in a folder, which is created when the first file is written. A
// folder that other users may write to is refused then. New connects to nothing. opts may
// be nil.
func New(connect Connect, folder string, opts *Options) (*Store, error) {
	s := &Store{connect: connect, folder: folder, stall: 2 * time.Minute}
	if connect == nil || folder == "" {
		return nil, errors.New("sftpstore: New needs a Connect and a folder")
	}
	if opts != nil && opts.Stall < 0 {
		return nil, errors.New("sftpstore: Options.Stall is negative")
	}
	if opts != nil && opts.Stall > 0 {
		s.stall = opts.Stall
	}
	return s, nil
}

// Abilities returns that the store replaces small files, sweeps, and knows the free space
// where the server tells it (statvfs@openssh.com). It has no lock.
func (s *Store) Abilities() backup.Abilities {
	return backup.Abilities{Replace: s.replace, Sweep: s.sweep, Free: s.free}
}

// session is one connection with its watchdog.
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

// end closes the connection, which every call on it then notices.
func (w *session) end(cause error) {
	w.mu.Lock()
	if w.cause == nil {
		w.cause = cause
	}
	w.mu.Unlock()
	_ = w.Client.Close()
}

// alive is called with each piece that has moved, and rest while nothing is asked of the
// server.
func (w *session) alive() { w.timer.Reset(w.stall) }
func (w *session) rest()  { w.timer.Stop() }

func (w *session) close() {
	w.timer.Stop()
	w.stop()
	_ = w.Client.Close()
}

// fail gives an error the meaning that package backup knows.
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

func (s *Store) path(name string) (string, error) {
	if !backup.ValidName(name) {
		return "", fmt.Errorf("sftpstore: %q is not a name for a backup's file", name)
	}
	return path.Join(s.folder, name), nil
}

// prepare makes the folder, or refuses one that others may write to.
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

// writer passes on pieces, and lets the watchdog sleep between them.
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

// store writes a file under a hidden name and hands it to finish, which gives it its own.
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
		if w.Remove(temp) != nil { // the connection may be what has failed
			again, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.stall, 30*time.Second))
			defer cancel()
			if other, err := s.open(again); err == nil {
				_ = other.Remove(temp) // what stays is swept later
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
		w.mu.Lock()
		cause := w.cause
		w.mu.Unlock()
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

// Put stores a file. The rename of SFTP refuses a name that exists.
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

// download is an open file with its connection.
type download struct {
	from    *bufio.Reader
	file    *sftp.File
	session *session
	name    string
}

func (d *download) Read(p []byte) (int, error) {
	d.session.alive()
	n, err := d.from.Read(p)
	d.session.rest()
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.session.fail("read", d.name, err)
	}
	return n, err
}

func (d *download) Close() error {
	_ = d.file.Close() // it was only read
	d.session.close()
	return nil
}

// Open reads a file.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	final, err := s.path(name)
	if err != nil {
		return nil, err
	}
	w, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	file, err := w.Open(final)
	if err != nil {
		defer w.close()
		return nil, w.fail("open", name, err)
	}
	w.rest()
	return &download{bufio.NewReaderSize(file, 1<<20), file, w, name}, nil
}

// List returns the files that are not hidden.
func (s *Store) List(ctx context.Context) ([]backup.Object, error) {
	w, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	infos, err := w.ReadDir(s.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, w.fail("list", s.folder, err)
	}
	var found []backup.Object
	for _, info := range infos {
		if info.Mode().IsRegular() && backup.ValidName(info.Name()) {
			found = append(found, backup.Object{Name: info.Name(), Size: info.Size(), Modified: info.ModTime()})
		}
	}
	return found, nil
}

// Remove deletes a file.
func (s *Store) Remove(ctx context.Context, name string) error {
	final, err := s.path(name)
	if err != nil {
		return err
	}
	w, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.Remove(final); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return w.fail("remove", name, err)
	}
	return nil
}

func (s *Store) sweep(ctx context.Context, before time.Time) ([]string, error) {
	w, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	infos, err := w.ReadDir(s.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, w.fail("list", s.folder, err)
	}
	var swept []string
	for _, info := range infos {
		if !info.Mode().IsRegular() || !strings.HasPrefix(info.Name(), tempPrefix) || !info.ModTime().Before(before) {
			continue
		}
		if err := w.Remove(path.Join(s.folder, info.Name())); err != nil {
			return swept, w.fail("remove", info.Name(), err)
		}
		swept = append(swept, info.Name())
	}
	return swept, nil
}

func (s *Store) free(ctx context.Context) (int64, error) {
	w, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	defer w.close()
	vfs, err := w.StatVFS(s.folder)
	if err != nil {
		return 0, w.fail("ask for the free space of", s.folder, err)
	}
	return int64(vfs.Bavail * vfs.Frsize), nil //nolint:gosec // no disk has 2^63 bytes
}
