package backup

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
	"strings"
	"time"
)

// Files is a [Source] of a folder with all that is in it, as a tar archive: regular files,
// folders and symbolic links with their permissions and times. Owners, extended attributes
// and what is neither of the three (sockets, pipes, devices) are left out, the latter with
// a warning; hard links become files of their own.
//
// It is no snapshot: files are read one after the other. One that changes while it is read
// is in the archive, with its size of when that began, and named in a warning. A folder
// whose files must agree with each other, such as that of a database, is not for it.
//
// Nothing outside the folder is read, whoever turns which link meanwhile ([os.Root]).
type Files struct {
	root string
	opts FilesOptions
	skip string // the folder of the backups, if it lies within
}

// FilesOptions configure [NewFiles]. The zero value and nil work.
type FilesOptions struct {
	// Exclude leaves out what one of these patterns of [path.Match] matches, with all
	// that is in it: a pattern with a slash is for the path below the folder, with
	// forward slashes, any other for a name at any depth. Default: none.
	Exclude []string
}

// The kinds of things in an archive, which a manifest counts as tables.
const (
	kindFiles   = "files"
	kindFolders = "folders"
	kindLinks   = "links"
)

// NewFiles returns the source of a folder. Nothing is read yet. opts may be nil.
func NewFiles(folder string, opts *FilesOptions) (*Files, error) {
	if folder == "" {
		return nil, errors.New("backup: NewFiles needs a folder")
	}
	root, err := filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	f := &Files{root: root}
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

// Describe says that it is files.
func (f *Files) Describe() Description {
	return Description{Engine: "files", Extension: ".tar", Database: filepath.Base(f.root)}
}

// leaveOut has a folder left out that lies within: backups are not backed up by themselves.
func (f *Files) leaveOut(folder string) {
	if relative, err := filepath.Rel(f.root, folder); err == nil && filepath.IsLocal(relative) && relative != "." {
		f.skip = filepath.ToSlash(relative)
	}
}

func (f *Files) excluded(name string) bool {
	if name == f.skip {
		return true
	}
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

// Dump writes the archive, in the order of names.
func (f *Files) Dump(ctx context.Context, w io.Writer) (Contents, error) {
	root, err := os.OpenRoot(f.root)
	if err != nil {
		return Contents{}, fmt.Errorf("backup: %w", err)
	}
	defer func() { _ = root.Close() }()
	p := packer{ctx: ctx, root: root, to: tar.NewWriter(w), buf: make([]byte, 256<<10)}
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist) && name != ".":
			return nil // gone meanwhile
		case err != nil:
			return err
		case name != "." && f.excluded(name):
			if info, err := root.Lstat(name); err == nil && info.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return p.add(name)
	})
	if err == nil {
		err = p.to.Close()
	}
	if err != nil {
		return Contents{}, fmt.Errorf("backup: pack %s: %w", f.root, err)
	}
	return p.contents(), nil
}

// packer writes an archive.
type packer struct {
	ctx                   context.Context
	root                  *os.Root
	to                    *tar.Writer
	buf                   []byte
	files, folders, links int64
	odd, changed          []string
}

func (p *packer) add(name string) error {
	info, err := p.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	h := &tar.Header{Format: tar.FormatPAX, Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	switch mode := info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		p.folders++
		return p.to.WriteHeader(h)
	case mode&fs.ModeSymlink != 0:
		if h.Linkname, err = p.root.Readlink(name); err != nil {
			return gone(err)
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

// file writes a regular file, as many bytes of it as there were at first.
func (p *packer) file(name string, h *tar.Header, seen fs.FileInfo) error {
	file, err := p.root.Open(name)
	if err != nil {
		return gone(err)
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(seen, before) || !before.Mode().IsRegular() {
		p.changed = append(p.changed, name) // replaced since: what it is now comes next time
		return nil
	}
	h.Typeflag, h.Size, h.ModTime = tar.TypeReg, before.Size(), before.ModTime()
	if err := p.to.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{contextWriter{p.ctx, p.to}}, io.LimitReader(file, h.Size), p.buf)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n < h.Size { // the archive must go on where the header said
		if _, err := io.CopyBuffer(onlyWriter{p.to}, io.LimitReader(zeros{}, h.Size-n), p.buf); err != nil {
			return err
		}
	}
	after, err := file.Stat()
	if err != nil {
		return err
	}
	if n < h.Size || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		p.changed = append(p.changed, name)
	}
	p.files++
	return nil
}

func (p *packer) contents() Contents {
	c := Contents{
		Consistency: "none",
		Tables:      []Table{{kindFiles, p.files}, {kindFolders, p.folders}, {kindLinks, p.links}},
	}
	if len(p.changed) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d files changed while they were read: %s", len(p.changed), shortList(p.changed)))
	}
	if len(p.odd) > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d sockets, pipes or devices are left out: %s", len(p.odd), shortList(p.odd)))
	}
	return c
}

// gone is nil for what is no longer there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// onlyWriter hides everything else, so that the buffer is used.
type onlyWriter struct{ io.Writer }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Restore unpacks an archive into a new folder, beside the original if target is "". It
// appears under its name when it is complete; nothing of a restore that failed stays.
// Names that lead out of it, names twice, and anything but files, folders and links are
// refused; links are made last, as they were, so that nothing is written through one.
// Who restores owns everything; setuid, setgid and sticky bits are not restored.
func (f *Files) Restore(ctx context.Context, r io.Reader, target string) (restored string, got Contents, err error) {
	if target == "" {
		target = f.root + "_restore_" + time.Now().UTC().Format(stampLayout)
	}
	if target, err = filepath.Abs(target); err != nil {
		return "", got, fmt.Errorf("backup: %w", err)
	}
	if _, err := os.Lstat(target); err == nil {
		return target, got, fmt.Errorf("backup: %s exists: a restore never overwrites; choose another target", target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return target, got, fmt.Errorf("backup: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(target), ".tmp-restore-") // 0700
	if err != nil {
		return target, got, fmt.Errorf("backup: %w", err)
	}
	got, err = unpack(ctx, r, dir)
	if err == nil {
		// A folder in the way that is empty would be replaced.
		if _, there := os.Lstat(target); there == nil {
			err = fmt.Errorf("%s exists meanwhile", target)
		} else {
			err = os.Rename(dir, target)
		}
	}
	if err != nil {
		return target, got, errors.Join(fmt.Errorf("backup: unpack: %w", err), removeTree(dir))
	}
	return target, got, nil
}

// removeTree removes also what folders without permissions hold.
func removeTree(dir string) error {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// unpacked is an entry that is finished when all are there.
type unpacked struct {
	name, link string
	mode       fs.FileMode
	modified   time.Time
}

func unpack(ctx context.Context, r io.Reader, dir string) (c Contents, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return c, err
	}
	defer func() { _ = root.Close() }()
	end := &zeroTail{from: r}
	in := tar.NewReader(end)
	var folders, links []unpacked
	var files int64
	for {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return c, err
		}
		name := strings.TrimSuffix(h.Name, "/")
		if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
			return c, fmt.Errorf("the archive names %q, which would not stay in the folder", h.Name)
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes that would fill the disk
				return c, fmt.Errorf("the archive holds %q as a sparse file, which this package never writes", h.Name)
			}
		}
		entry := unpacked{name: name, link: h.Linkname, mode: fs.FileMode(h.Mode) & fs.ModePerm, modified: h.ModTime}
		switch h.Typeflag {
		case tar.TypeDir:
			if name != "." {
				if err := root.Mkdir(name, 0o700); err != nil {
					return c, err
				}
			}
			folders = append(folders, entry)
		case tar.TypeReg:
			if err := unpackFile(ctx, root, in, entry); err != nil {
				return c, err
			}
			files++
		case tar.TypeSymlink:
			links = append(links, entry)
		default:
			return c, fmt.Errorf("the archive holds %q of kind %q, which is neither a file, a folder nor a link", h.Name, h.Typeflag)
		}
	}
	if _, err := io.Copy(io.Discard, end); err != nil {
		return c, err
	}
	if end.zeros < 1024 {
		return c, errors.New("the archive is cut: it has no end")
	}
	for _, l := range links {
		if err := root.Symlink(l.link, l.name); err != nil {
			return c, err
		}
	}
	for i := len(folders) - 1; i >= 0; i-- { // what is within comes before
		if err := finish(root, folders[i]); err != nil {
			return c, err
		}
	}
	c.Tables = []Table{{kindFiles, files}, {kindFolders, int64(len(folders))}, {kindLinks, int64(len(links))}}
	return c, nil
}

func unpackFile(ctx context.Context, root *os.Root, from io.Reader, e unpacked) error {
	file, err := root.OpenFile(e.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(contextWriter{ctx, file}, from)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return finish(root, e)
}

// finish gives an entry its permissions, whatever the umask, and its time.
func finish(root *os.Root, e unpacked) error {
	if err := root.Chtimes(e.name, e.modified, e.modified); err != nil {
		return err
	}
	return root.Chmod(e.name, e.mode)
}

// zeroTail knows how many zeros the last bytes were: an archive ends with 1024.
type zeroTail struct {
	from  io.Reader
	zeros int
}

func (z *zeroTail) Read(p []byte) (int, error) {
	n, err := z.from.Read(p)
	i := n
	for i > 0 && p[i-1] == 0 {
		i--
	}
	if i > 0 {
		z.zeros = 0
	}
	z.zeros = min(z.zeros+n-i, 1<<20)
	return n, err
}
