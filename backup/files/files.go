// Package files backs up a folder of files.
package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// Source is a [driver.Source] of a folder with its whole content, as a tar archive. It
// stores regular files, folders and symbolic links with their permissions and times. It
// does not store owners and extended attributes. It skips other kinds of files (sockets,
// pipes, devices) with a warning. Hard links become separate files.
//
// A file or folder that the process may not read, or that the disk cannot read, is missing in
// the backup, which is suspect until an operator accepts it.
//
// It is no snapshot, because it reads one file after the other. A file that changes during
// the read is stored with the size that it had at the start, and is named in a warning. Do
// not use it for folders whose files must agree with each other, such as the folder of a
// database.
//
// It reads only within the folder, also while links change ([os.Root]).
type Source struct {
	root string
	opts Options
	skip []string // the folders of the backups and of their history
}

// Options configure [New]. The zero value and nil are valid.
type Options struct {
	// Exclude are patterns of [path.Match]. Matching files and folders are left out, with
	// their whole content. A pattern with a slash matches the path below the folder, with
	// forward slashes. Any other pattern matches a name at any depth. Default: nil.
	Exclude []string
}

// The kinds of entries in an archive. A manifest counts them as tables.
const (
	kindFiles   = "files"
	kindFolders = "folders"
	kindLinks   = "links"
)

// New returns the source of a folder. It reads no file. opts may be nil.
func New(folder string, opts *Options) (*Source, error) {
	if folder == "" {
		return nil, errors.New("backup: files.New needs a folder")
	}
	root, err := filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	f := &Source{root: root}
	if opts != nil {
		f.opts = *opts
	}
	for _, pattern := range f.opts.Exclude {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, fmt.Errorf("backup: %q is no pattern to exclude files by: see path.Match", pattern)
		}
	}
	return f, nil
}

// Describe returns the engine "files" and the folder.
func (f *Source) Describe() driver.Description {
	return driver.Description{Engine: "files", Extension: ".tar", Database: filepath.Base(f.root)}
}

// Abilities returns the optional functions of the source.
func (f *Source) Abilities() driver.Abilities {
	return driver.Abilities{Exclude: f.exclude, Restore: f.Restore, Discard: discard, Leftover: f.leftover, Original: f.original, Overwrite: f.Overwrite}
}

// exclude leaves out a folder inside the source, so that backups do not contain themselves.
func (f *Source) exclude(folder string) { f.skip = append(f.skip, folder) }

// inside returns the excluded folders that are inside the source, by their paths in it. It
// follows links in both paths.
func (f *Source) inside() (skip map[string]bool, err error) {
	skip = make(map[string]bool)
	root := resolved(f.root)
	for _, folder := range f.skip {
		relative, err := filepath.Rel(root, resolved(folder))
		if err != nil || !filepath.IsLocal(relative) {
			continue
		}
		if relative == "." {
			return nil, fmt.Errorf("backup: %s holds the backups or their history: keep them elsewhere", f.root)
		}
		skip[filepath.ToSlash(relative)] = true
	}
	return skip, nil
}

// resolved returns a path without links. The end of the path need not exist.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolved(parent), filepath.Base(path))
}

// excluded reports whether an entry matches a pattern of the options.
func (f *Source) excluded(name string) bool {
	for _, pattern := range f.opts.Exclude {
		subject := name
		if !strings.Contains(pattern, "/") {
			subject = path.Base(name)
		}
		if ok, _ := path.Match(strings.TrimPrefix(pattern, "/"), subject); ok {
			return true
		}
	}
	return false
}

// Dump writes the archive, sorted by name.
func (f *Source) Dump(ctx context.Context, w io.Writer) (driver.Contents, error) {
	skip, err := f.inside()
	if err != nil {
		return driver.Contents{}, err
	}
	root, err := os.OpenRoot(f.root)
	if err != nil {
		return driver.Contents{}, fmt.Errorf("backup: %w", err)
	}
	defer func() { _ = root.Close() }()
	p := packer{ctx: ctx, root: root, to: tar.NewWriter(w), buf: make([]byte, 256<<10)}
	err = walk(ctx, root, ".", func(name string, _ fs.FileInfo) error {
		if skip[name] || f.excluded(name) {
			return fs.SkipDir
		}
		return p.add(name)
	}, p.unread)
	if err == nil {
		err = p.to.Close()
	}
	if err != nil {
		return driver.Contents{}, fmt.Errorf("backup: pack %s: %w", f.root, err)
	}
	return p.contents(), nil
}

// walk calls visit for an entry of a folder and for all entries below it, sorted by name. It
// leaves out the content of an entry for which visit returns [fs.SkipDir]. It ends with the
// error of lost for an entry that cannot be read, unless that is nil. Unlike [fs.WalkDir], it
// accepts names that are not UTF-8.
func walk(ctx context.Context, root *os.Root, name string, visit func(name string, info fs.FileInfo) error, lost func(name string, err error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := root.Lstat(name)
	if err != nil {
		if name == "." {
			return err
		}
		return lost(name, err)
	}
	err = visit(name, info)
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	if err != nil || !info.IsDir() {
		return err
	}
	dir, err := root.Open(name)
	var names []string
	if err == nil {
		names, err = dir.Readdirnames(-1)
		err = errors.Join(err, dir.Close())
	}
	if err != nil {
		if name == "." {
			return err
		}
		if err := lost(name, err); err != nil {
			return err
		}
	}
	slices.Sort(names)
	for _, entry := range names {
		if err := walk(ctx, root, path.Join(name, entry), visit, lost); err != nil {
			return err
		}
	}
	return nil
}

// packer writes an archive.
type packer struct {
	ctx                   context.Context
	root                  *os.Root
	to                    *tar.Writer
	buf                   []byte
	files, folders, links int64
	odd, changed          []string
	skipped               []driver.Skipped
}

// unread leaves out an entry that cannot be read. Other errors concern the whole folder.
func (p *packer) unread(name string, err error) error {
	if !unreadable(err) {
		return gone(err)
	}
	p.skip(name, reason(err))
	return nil
}

func (p *packer) skip(name, why string) {
	p.skipped = append(p.skipped, driver.Skipped{Object: object(name), Reason: why})
}

// object is the name of an entry in [driver.Skipped].
func object(name string) string { return "file " + strings.ToValidUTF8(name, "\uFFFD") }

// unreadable reports whether an error concerns one file or folder alone.
func unreadable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EIO)
}

// reason returns the text of an error without the name of the file.
func reason(err error) string {
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return err.Error()
}

func (p *packer) add(name string) error {
	info, err := p.root.Lstat(name)
	if err != nil {
		return p.unread(name, err)
	}
	h := &tar.Header{Format: tar.FormatPAX, Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	switch mode := info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		p.folders++
		return p.to.WriteHeader(h)
	case mode&fs.ModeSymlink != 0:
		if h.Linkname, err = p.root.Readlink(name); err != nil {
			return p.unread(name, err)
		}
		h.Typeflag = tar.TypeSymlink
		p.links++
		return p.to.WriteHeader(h)
	case mode.IsRegular():
		return p.file(name, h, info)
	}
	p.odd = append(p.odd, name)
	return nil
}

// file writes a regular file, with the size that it had at the start.
func (p *packer) file(name string, h *tar.Header, seen fs.FileInfo) error {
	file, err := p.root.Open(name)
	if err != nil {
		return p.unread(name, err)
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(seen, before) || !before.Mode().IsRegular() {
		p.changed = append(p.changed, name) // replaced since; the next run stores the new file
		return nil
	}
	h.Typeflag, h.Size, h.ModTime = tar.TypeReg, before.Size(), before.ModTime()
	if err := p.to.WriteHeader(h); err != nil {
		return err
	}
	from := &failing{from: file}
	n, err := io.CopyBuffer(onlyWriter{server.ContextWriter{Ctx: p.ctx, To: p.to}}, io.LimitReader(from, h.Size), p.buf)
	switch {
	case from.err != nil && unreadable(from.err):
		p.skip(name, fmt.Sprintf("zeros replace all but its first %d bytes: %s", n, reason(from.err)))
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	if n < h.Size { // the archive needs the length in the header
		if _, err := io.CopyBuffer(onlyWriter{p.to}, io.LimitReader(zeros{}, h.Size-n), p.buf); err != nil {
			return err
		}
	}
	after, err := file.Stat()
	if err != nil {
		return err
	}
	if n < h.Size && from.err == nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		p.changed = append(p.changed, name)
	}
	p.files++
	return nil
}

func (p *packer) contents() driver.Contents {
	c := driver.Contents{
		Consistency: "none", Skipped: p.skipped,
		Tables: []driver.Table{{Name: kindFiles, Rows: p.files}, {Name: kindFolders, Rows: p.folders}, {Name: kindLinks, Rows: p.links}},
	}
	if len(p.changed) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d files changed while they were read: %s", len(p.changed), server.ShortList(p.changed)))
	}
	if len(p.odd) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d sockets, pipes or devices are left out: %s", len(p.odd), server.ShortList(p.odd)))
	}
	return c
}

// gone returns nil for a file that was deleted.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// onlyWriter hides all other methods, so that the buffer is used.
type onlyWriter struct{ io.Writer }

// failing remembers the error of a reader.
type failing struct {
	from io.Reader
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
