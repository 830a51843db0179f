// Package sftpstore stores backups on an SFTP server, for example a disk at another site or
// a rented storage box. It is a separate module, so that package backup links no SSH
// client.
package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup"
)

// Options configure a [Store]. The zero value and nil are valid.
type Options struct {
	// Stall is the time after which a call ends if the server moves no byte. The time that
	// a dump takes to produce its bytes does not count. Default: 2 min.
	Stall time.Duration
}

// Store is a [backup.Storage] in a folder of an SFTP server. A file appears complete or not
// at all. It is written under a hidden name, synced if the server supports it
// (fsync@openssh.com), and renamed. A crash leaves at most hidden files, which a job
// removes a day later.
//
// SFTP has no locks. Let only one host at a time back up into a folder. All methods are
// safe for concurrent use.
type Store struct {
	connect Connect
	folder  string
	stall   time.Duration
}

var _ backup.Storage = (*Store)(nil)

// tempPrefix is the prefix of the names of partial files.
const tempPrefix = ".tmp-"

// New returns the store in a folder. The first write creates the folder, or rejects one
// that other users can write to. New makes no connection. opts may be nil.
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

// Abilities returns that the store replaces small files and sweeps. It also reports the
// free space if the server supports it (statvfs@openssh.com). It has no lock.
func (s *Store) Abilities() backup.Abilities {
	return backup.Abilities{Replace: s.replace, Sweep: s.sweep, Free: s.free}
}

func (s *Store) path(name string) (string, error) {
	if !backup.ValidName(name) {
		return "", fmt.Errorf("sftpstore: %q is not a name for a backup's file", name)
	}
	return path.Join(s.folder, name), nil
}

// files returns the regular files of the folder, in an open session.
func (s *Store) files(w *session) ([]os.FileInfo, error) {
	infos, err := w.ReadDir(s.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, w.fail("list", s.folder, err)
	}
	var found []os.FileInfo
	for _, info := range infos {
		if info.Mode().IsRegular() {
			found = append(found, info)
		}
	}
	return found, nil
}

// List returns the files that are not hidden.
func (s *Store) List(ctx context.Context) ([]backup.Object, error) {
	w, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	infos, err := s.files(w)
	if err != nil {
		return nil, err
	}
	var found []backup.Object
	for _, info := range infos {
		if backup.ValidName(info.Name()) {
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

// sweep deletes the partial files of uploads that ended before a time.
func (s *Store) sweep(ctx context.Context, before time.Time) ([]string, error) {
	w, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	infos, err := s.files(w)
	if err != nil {
		return nil, err
	}
	var swept []string
	for _, info := range infos {
		if !strings.HasPrefix(info.Name(), tempPrefix) || !info.ModTime().Before(before) {
			continue
		}
		if err := w.Remove(path.Join(s.folder, info.Name())); err != nil {
			return swept, w.fail("remove", info.Name(), err)
		}
		swept = append(swept, info.Name())
	}
	return swept, nil
}

// free returns the free space of the server in bytes.
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
