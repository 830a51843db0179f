package sftpstore

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/pkg/sftp"
)

// download is an open file with its connection. The stall time runs only during a read.
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
	_ = d.file.Close() // read-only
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
