package bundle

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// endEntry is the last entry of an archive. An archive without it is truncated.
const endEntry = "bundle.json"

// pieceSize is the length of the pieces of a part.
const pieceSize = 4 << 20

var errCut = errors.New("backup: the bundle is damaged or truncated")

// Dump writes all parts.
func (s *Source) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	all := driver.Contents{Consistency: "parts", Tables: []driver.Table{}}
	stored := &watched{to: w}
	to := tar.NewWriter(stored)
	counted := driver.RowsTo(w)
	err := s.each(ctx, func(name string, source driver.Source) error {
		rows := all.Rows()
		p := &pieces{to: to, name: entryName(name, source), rows: func(n int64) { counted(rows + n) }}
		got, err := source.Dump(ctx, p)
		if err == nil {
			err = p.flush()
		}
		if err == nil {
			add(&all, name, got)
		}
		return err
	})
	if err != nil && stored.err == nil && ctx.Err() == nil {
		err = s.without(err)
	}
	if err != nil {
		return driver.Contents{}, err
	}
	if len(all.Parts) == 0 {
		return driver.Contents{}, errors.New("backup: the bundle has no parts")
	}
	end, err := json.Marshal(all.Parts)
	if err == nil {
		p := &pieces{to: to, name: endEntry, buf: end}
		err = p.flush()
	}
	if err == nil {
		err = to.Close()
	}
	return all, err
}

// watched remembers an error of the storage.
type watched struct {
	to  io.Writer
	err error
}

func (w *watched) Write(p []byte) (n int, err error) {
	n, w.err = w.to.Write(p)
	return n, w.err
}

// entryName is the name of a part in the archive.
func entryName(name string, source driver.Source) string {
	return url.PathEscape(name) + source.Describe().Extension
}

// add adds the contents of a part.
func add(all *driver.Contents, name string, got driver.Contents) {
	for _, t := range got.Tables {
		t.Name = name + "/" + t.Name
		all.Tables = append(all.Tables, t)
	}
	for _, skipped := range got.Skipped {
		skipped.Object = name + ": " + skipped.Object
		all.Skipped = append(all.Skipped, skipped)
	}
	for _, w := range got.Warnings {
		all.Warnings = append(all.Warnings, name+": "+w)
	}
	all.Views, all.Triggers, all.Routines, all.Events = all.Views+got.Views, all.Triggers+got.Triggers, all.Routines+got.Routines, all.Events+got.Events
	got.Tables, got.Skipped, got.Warnings = nil, nil, nil
	all.Parts = append(all.Parts, driver.Part{Name: name, Contents: got})
}

// partOf returns the contents of a part according to the manifest.
func partOf(all driver.Contents, name string) driver.Contents {
	var c driver.Contents
	for _, p := range all.Parts {
		if p.Name == name {
			c = p.Contents
		}
	}
	c.Tables = []driver.Table{}
	for _, t := range all.Tables {
		if table, is := strings.CutPrefix(t.Name, name+"/"); is {
			t.Name = table
			c.Tables = append(c.Tables, t)
		}
	}
	for _, s := range all.Skipped {
		if object, is := strings.CutPrefix(s.Object, name+": "); is {
			s.Object = object
			c.Skipped = append(c.Skipped, s)
		}
	}
	return c
}

// pieces writes a part as several entries of an archive, because the length of the part is
// not known in advance.
type pieces struct {
	to   *tar.Writer
	name string
	rows func(int64)
	buf  []byte
}

// RowsSoFar implements [driver.RowCounter].
func (p *pieces) RowsSoFar(n int64) { p.rows(n) }

func (p *pieces) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if p.buf == nil {
			p.buf = make([]byte, 0, pieceSize)
		}
		k := min(len(b), cap(p.buf)-len(p.buf))
		p.buf, b = append(p.buf, b[:k]...), b[k:]
		if len(p.buf) == cap(p.buf) {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes an entry.
func (p *pieces) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	err := p.to.WriteHeader(&tar.Header{Name: p.name, Size: int64(len(p.buf)), Mode: 0o600, ModTime: time.Now(), Format: tar.FormatPAX})
	if err == nil {
		_, err = p.to.Write(p.buf)
	}
	p.buf = p.buf[:0]
	return err
}

// archive reads the parts of a dump.
type archive struct {
	from *tar.Reader
	now  string // the name of the current entry
}

// next moves to the next entry.
func (a *archive) next() error {
	header, err := a.from.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, tar.ErrHeader):
		return errCut
	case err != nil:
		return err
	case header.Typeflag != tar.TypeReg:
		return errCut
	}
	a.now = header.Name
	return nil
}

// part returns a reader of a part, which must be the next one.
func (a *archive) part(entry string) *partReader { return &partReader{a: a, entry: entry} }

type partReader struct {
	a              *archive
	entry          string
	started, ended bool
}

func (r *partReader) Read(b []byte) (int, error) {
	for {
		switch {
		case r.ended:
			return 0, io.EOF
		case !r.started:
			r.started = true
			if r.a.now == "" {
				if err := r.a.next(); err != nil {
					return 0, err
				}
			}
			if r.a.now != r.entry {
				return 0, fmt.Errorf("%w: it has %q in the place of %q", errCut, r.a.now, r.entry)
			}
		}
		n, err := r.a.from.Read(b)
		if n > 0 || err == nil {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			return 0, cut(err)
		}
		if err := r.a.next(); err != nil {
			return 0, err
		}
		r.ended = r.a.now != r.entry
	}
}

// rest reads to the end of the part.
func (r *partReader) rest() error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// end returns an error unless all parts have been read.
func (a *archive) end() error {
	if a.now != endEntry {
		return errCut
	}
	if _, err := io.Copy(io.Discard, a.from); err != nil {
		return cut(err)
	}
	if _, err := a.from.Next(); !errors.Is(err, io.EOF) {
		return errCut
	}
	return nil
}
